"""The watch over the aging promise: nothing that ships breaks it, and what breaks it is told."""

from __future__ import annotations

from math import inf
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from toys.chain_of_thought import ToyChainOfThought
from toys.mcts import ToyMcts
from toys.stage import EVEN, Stage, catalog, in_order
from toys.words import compare, said

from dynasor.core.commands import Closed
from dynasor.core.events import Arrived, Configured, PoolChanged, TimerFired
from dynasor.core.line import Line
from dynasor.core.promise import STORIES, PromiseWatch
from dynasor.core.queue import ProgramQueue
from dynasor.core.scheduler import Scheduler
from dynasor.core.types import PolicySpec, ProgramSpec, Replica, Score, Scored, Usage
from dynasor.sim import Outcome, SimpleEngine, VirtualHost

KINDS = ["self-consistency", "self-consistency", "toy-mcts", "toy-chain"]
POLICIES = [
    EVEN,
    PolicySpec("even", {"in_flight": 1}, has_lock=False),
    PolicySpec("beta", {"in_flight": 2, "speculative": 2}),
]


def outcomes(random):
    """Calls of any length; one in six fails, so that replicas are paused and calls tried again."""

    def model(call, attempt):
        tokens = random.randint(1, 30)
        chance = random.random()
        if chance < 1 / 6:
            kind = "EngineUnreachable" if chance < 0.05 else "EngineTimeout"
            return Outcome(None, tokens, kind, "boo")
        if isinstance(call.work, Score):
            return Outcome(Scored(tuple(chance for _ in call.work.items), Usage(1, 0)), 0)
        return Outcome(said(random.choice(["so x", "so yy", "so X", "none"]), tokens), tokens)

    return model


class Run:
    """A scheduler in virtual time under a watch, with arrivals drawn by a seed."""

    def __init__(self, seed, config, slots, programs=40, has_deadlines=True):
        random = Random(seed)
        self.scheduler = Scheduler(config, catalog(ToyMcts, ToyChainOfThought))
        self.watch = PromiseWatch(self.scheduler)
        self.host = VirtualHost(
            self.scheduler,
            outcomes(random),
            compare,
            has_log=True,
            watch=lambda event, commands, now: self.watch.see(commands, now),
        )
        engines = {f"e{n}": SimpleEngine(count, 10.0) for n, count in enumerate(slots)}
        self.host.add_pool("generate", engines)
        self.host.add_pool("reward", {"r": SimpleEngine(1, 10.0)})
        for number in range(programs):
            self.arrive(random, number, has_deadlines)

    def arrive(self, random, number, has_deadlines):
        params = {"question": "q", "task": "words", "cap": random.randint(1, 9)}
        seconds = random.choice([None, None, 5.0, 40.0]) if has_deadlines else None
        arrived = Arrived(
            f"p{number}",
            ProgramSpec(random.choice(KINDS), params),
            random.choice(POLICIES),
            workload=random.choice("vw"),
            deadline_seconds=seconds,
        )
        self.host.at(random.uniform(0.0, 20.0), arrived)


def configured(ordering, factor, slack=0.0):
    return in_order(
        ordering,
        factor,
        window_slack=slack,
        tokens_per_knob=15.0,
        seconds_per_token=0.1,
        retry_seconds=0.1,
    )


orders = st.sampled_from(["app-fifo", "gang", "sjf", "plas", "deadline"])
factors = st.sampled_from([0.1, 0.5, 1.0, 3.0])
slots = st.lists(st.integers(1, 3), min_size=1, max_size=3)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    ordering=orders,
    factor=factors,
    slack=st.sampled_from([0.0, 0.5]),
    slots=slots,
    change=st.none() | st.tuples(orders, factors),
    lost=st.booleans(),
)
def test_no_run_breaks_it(seed, ordering, factor, slack, slots, change, lost):
    """No ordering breaks it: replicas may fail and go, settings may change, deadlines may pass."""
    run = Run(seed, configured(ordering, factor, slack), slots)
    if change is not None:
        run.host.at(7.0, Configured(configured(*change)))
    if lost and len(slots) > 1:
        run.host.at(5.0, PoolChanged("generate", (Replica("e0", slots[0]),)))
    run.host.run()
    run.scheduler.validate()
    closed = [one for _, _, commands in run.host.log for one in commands if type(one) is Closed]
    assert len(closed) == 40
    assert run.watch.stories == []
    assert run.watch.broken == 0


def test_it_has_something_to_watch():
    """In a crowd most programs cross, and the watch counts each of them once."""
    run = Run(1, configured("sjf", 1.0), [2], has_deadlines=False)
    run.host.run()
    assert run.watch.crossings > 20
    assert run.watch.broken == 0
    assert repr(run.watch) == f"<PromiseWatch {run.watch.crossings} crossings, broken 0 times>"


def test_watching_changes_nothing():
    """With and without a watch the same events give the same commands."""
    run = Run(2, configured("sjf", 1.0), [2, 1])
    run.host.run()
    alone = Scheduler(configured("sjf", 1.0), catalog(ToyMcts, ToyChainOfThought))
    assert [alone.handle(event, now) for now, event, _ in run.host.log] == [
        commands for _, _, commands in run.host.log
    ]


def test_without_aging():
    """Without aging nobody crosses and nothing is promised."""
    run = Run(3, configured("sjf", 0.0), [2])
    run.host.run()
    assert (run.watch.crossings, run.watch.broken) == (0, 0)


# What breaks it is found.


def test_a_queue_that_forgets_who_crossed(monkeypatch):
    """A queue that marks programs and ranks them as if they had not crossed is found."""
    monkeypatch.setattr(ProgramQueue, "_key", lambda self, demand: (1, *self._ordering.key(demand)))
    run = Run(1, configured("sjf", 1.0), [2])
    run.host.run()
    assert run.watch.broken > len(run.watch.stories) == STORIES


def test_a_queue_that_never_looks(monkeypatch):
    """A queue that never notices that a program has waited too long is found."""
    monkeypatch.setattr(ProgramQueue, "_changes_at", lambda self, demand: inf)
    run = Run(1, configured("sjf", 1.0), [2])
    run.host.run()
    assert run.watch.broken > 0


def test_a_queue_in_the_wrong_order(monkeypatch):
    """A queue in which the last to cross goes first is found."""

    def key(self, demand):
        crossed = demand.crossed_at
        return (1, *self._ordering.key(demand)) if crossed is None else (0, -crossed)

    monkeypatch.setattr(ProgramQueue, "_key", key)
    run = Run(1, configured("sjf", 0.5), [2])
    run.host.run()
    assert "which crossed at" in run.watch.stories[0].split(",", 1)[1]
    assert run.watch.broken > 0


def test_a_pool_that_keeps_calls_at_home(monkeypatch):
    """A pool whose replicas leave a crossed program's calls to the one they wait for is found."""
    monkeypatch.setattr(
        Line, "_best_elsewhere", lambda self, others, now, best, chosen: (best, chosen)
    )
    broken = 0
    for seed in range(10):
        run = Run(seed, configured("sjf", 0.5), [1, 1, 1])
        run.host.run()
        broken += run.watch.broken
    assert broken > 0


def told(monkeypatch, factor=2.0):
    """One slot, held by `busy`; `long` has crossed, `short` has not, and the queue forgot that."""
    monkeypatch.setattr(ProgramQueue, "_key", lambda self, demand: (1, *self._ordering.key(demand)))
    on = Stage(config=in_order("sjf", factor, tokens_per_knob=10.0, seconds_per_token=0.1), slots=1)
    watch = PromiseWatch(on.scheduler)
    on.arrive("busy", cap=1)
    on.arrive("long", cap=5)
    on.send(TimerFired("tick"), after=11.0)
    on.arrive("short", cap=1, workload="other")
    watch.see(on.finish("busy#1", tokens=10), on.now)
    return on, watch


def test_the_story(monkeypatch):
    """A story says who started what and where, who waited, and since when it had priority."""
    _, watch = told(monkeypatch)
    (story,) = watch.stories
    assert story == (
        "at 11 s short#1 of short, which has not crossed, started on generate/a while long, "
        "which crossed at 10 s, had a needed call waiting there"
    )
    assert watch.broken == 1


def test_not_before_its_time(monkeypatch):
    """A program that has not waited long enough is passed rightly."""
    _, watch = told(monkeypatch, factor=3.0)
    assert (watch.crossings, watch.broken) == (0, 0)


def test_within_one_event(monkeypatch):
    """Of the calls that one event starts, the earlier in the list may not pass the later."""
    on, watch = told(monkeypatch)
    on.arrive("shorter", cap=1, workload="third")
    before = watch.broken
    commands = on.pool(a=9)
    assert [command.call.program for command in commands] == ["shorter", *["long"] * 5]
    watch.see(commands, on.now)
    assert watch.broken == before + 1
    assert "shorter#1" in watch.stories[-1]


def test_speculative_calls_may_be_passed(stage):
    """Nothing is promised to a crossed program that has only speculative calls waiting."""
    on = stage(config=in_order("sjf", aging_factor=0.01), slots=2)
    watch = PromiseWatch(on.scheduler)
    on.arrive("busy", cap=1)
    eager = PolicySpec("beta", {"in_flight": 1, "speculative": 5, "confidence": 1.0}, False)
    on.arrive("eager", cap=20, policy=eager)
    watch.see(on.send(TimerFired("tick"), after=100.0), on.now)
    on.arrive("late", cap=1)
    watch.see(on.finish("busy#1"), on.now)
    assert on.calls == ["eager#1", "late#1"]
    watch.see(on.finish("late#1"), on.now)
    assert on.submits[-1].call.is_speculative
    assert (watch.crossings, watch.broken) == (1, 0)
    on.drain()


def test_begun_late():
    """A watch set on a scheduler in the midst of its work knows who waits already."""
    on = Stage(config=in_order("sjf", 2.0, tokens_per_knob=10.0, seconds_per_token=0.1), slots=1)
    on.arrive("busy", cap=1)
    on.arrive("long", cap=5)
    on.arrive("short", cap=1, workload="other")
    watch = PromiseWatch(on.scheduler)
    watch.see(on.finish("busy#1", after=30.0), on.now)
    assert on.calls == ["short#1"], "it crossed first, for it had less to wait"
    watch.see(on.finish("short#1"), on.now)
    assert on.calls == ["long#1"]
    assert (watch.crossings, watch.broken) == (2, 0)


def test_a_name_that_comes_again():
    """A program that takes the name of one that has ended is counted and judged for itself."""
    on = Stage(config=in_order("sjf", 0.1, tokens_per_knob=10.0, seconds_per_token=0.1), slots=1)
    watch = PromiseWatch(on.scheduler)
    for _ in range(2):
        on.arrive("busy", cap=1)
        on.arrive("again", cap=2, workload="another")
        watch.see(on.finish("busy#1", after=9.0), on.now)
        while on.live:
            watch.see(on.finish(on.calls[0]), on.now)
    assert (watch.crossings, watch.broken) == (2, 0)
