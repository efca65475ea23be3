"""What is written down: starts, waits, bills, the course, by hand on engines of one slot."""

from __future__ import annotations

import numpy as np
from toys.experiments import engine, even_urn, experiment, mixed, urn

from dynasor.core.events import TimerFired
from dynasor.core.types import PolicySpec
from dynasor.online.cluster import Cluster
from dynasor.online.ledger import MOST_SAMPLES, Ledger
from dynasor.online.run import simulate
from dynasor.online.systems import make_system
from dynasor.online.workload import Deadline, Part
from dynasor.sim import BatchEngine

ONE = Cluster(engine(max_running=1))
FCFS = make_system("fcfs")


def seconds(tokens, prompt=20):
    """One call by itself."""
    step = engine().step
    return step.of(prompt, 0, 0) + step.stretch(tokens - 1, 0, 1, prompt + 1)


def test_in_turn():
    """Calls that run one by one start when those before have ended, and have waited until then."""
    found = simulate(experiment(even_urn(30), cluster=ONE, programs=3, cap=1), FCFS)
    starts = seconds(30) * np.arange(3)
    assert (found.first_start == starts).all()
    assert (found.longest_wait == starts).all()
    assert (found.finished == starts + seconds(30)).all()
    assert found.totals.end == found.finished[-1]


def test_longest_wait():
    """A program that has been served waits for one that has not, and that is its longest wait."""
    parts = Part("a", cap=3, prompt_tokens=20), Part("b", cap=1, prompt_tokens=20)
    one = mixed(parts, (even_urn(10), even_urn(50)), programs=2, rate=None, cluster=ONE)
    plas = make_system("plas", params={"first": 1.0})
    runs = (simulate(one, plas, seed) for seed in range(40))
    found = next(run for run in runs if run.part.tolist() == [0, 1])
    # The gateway sends two calls of a, then b's, then the third: a call and a tenth, so two.
    again = seconds(10, 4) + 9 * 16 / 1024  # a sibling finds a block of the prompt, and reads it
    assert found.first_start.tolist() == [0, seconds(10) + again]
    assert found.longest_wait.tolist() == [seconds(50), seconds(10) + again]
    assert found.finished.tolist() == [
        seconds(10) + again + seconds(50) + again,
        seconds(10) + again + seconds(50),
    ]


def test_wait_until_the_deadline():
    """A program that is ended before its first call has waited all its time, and never started."""
    deadline = Deadline(seconds(30) / 2, factors=(1.0, 1.0, 1.0))
    one = experiment(even_urn(30), cluster=ONE, programs=4, cap=1, deadline=deadline)
    found = simulate(one, make_system("app-fifo", enforces_deadlines=True))
    assert found.status.tolist() == ["deadline"] * 4
    assert np.isnan(found.first_start).tolist() == [False, True, True, True]
    assert found.longest_wait.tolist() == [0.0, *[seconds(30) / 2] * 3]
    assert (found.latency == seconds(30) / 2).all()
    # Its call is aborted at the end of the step in which the deadline came.
    assert found.tokens[0] == found.totals.generated_tokens > 0
    assert not found.tokens[1:].any()


def test_cut():
    """At the horizon a program has the tokens of its calls that have ended, and waits no longer."""
    end = seconds(30) + seconds(30, 4) / 2
    policy = PolicySpec("even", {"in_flight": 1}, has_lock=False)
    one = experiment(even_urn(30), cluster=ONE, programs=2, cap=3, horizon=end)
    found = simulate(one, make_system("app-fifo", policy))
    assert found.totals.is_cut
    assert found.totals.end == end
    assert found.status.tolist() == ["", ""]
    assert np.isnan(found.finished).all()
    assert 30 in found.tokens
    assert found.tokens.sum() <= found.totals.generated_tokens + 30
    assert found.knob.tolist() == [0, 0]


def test_course():
    """The course begins at 0 and ends, with nobody live, when the last program does."""
    deadline = Deadline(1e6, factors=(1.0, 1.0, 1.0))
    one = experiment(urn(), programs=30, rate=2.0, deadline=deadline)
    found = simulate(one, make_system("deadline"))  # its timers fire long after that
    course = found.course
    assert found.totals.end == found.finished.max() == course.seconds[-1]
    assert course.seconds[0] == 0
    assert (np.diff(course.seconds) >= 0).all()
    assert course.live[-1] == course.waiting[-1] == course.kv[-1] == 0
    assert course.live.max() <= 30
    assert course.generated[-1] == found.totals.generated_tokens == found.tokens.sum()
    weights = np.diff(course.seconds)
    assert found.totals.waiting_mean == np.average(course.waiting[:-1], weights=weights)


def test_thinned():
    """However long a run is, its course has few samples, spread evenly over all of it."""
    found = simulate(experiment(urn(), programs=1500, rate=0.05), FCFS)
    assert found.totals.decisions > 4 * MOST_SAMPLES
    seconds = found.course.seconds
    assert MOST_SAMPLES <= len(seconds) <= 2 * MOST_SAMPLES
    quarters = np.histogram(seconds, 4, (0, seconds[-1]))[0]
    assert quarters.max() < 2 * quarters.min()


def test_no_time():
    """A run that takes no time has no mean over it."""
    ledger = Ledger([BatchEngine(engine())])
    assert ledger.waiting_mean == 0
    for _ in range(2):
        ledger.sample(0.0, 5)
    assert ledger.waiting_mean == 0


def test_nobody_left():
    """Timers after the last program's end leave no trace in the course."""
    ledger = Ledger([BatchEngine(engine())])
    for number in range(5):
        ledger.see(TimerFired("late"), [], float(number), 0)
    assert [sample[0] for sample in ledger._samples] == [0.0]
    assert not ledger.is_cut
