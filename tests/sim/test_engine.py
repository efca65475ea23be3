from __future__ import annotations

from math import inf
from types import SimpleNamespace

import pytest
from toys.visits import drive, make_attempt, visit
from toys.words import said

from dynasor.core.events import Cancelled, Failed, Finished, Progressed
from dynasor.core.types import Usage
from dynasor.sim import Outcome, SimpleEngine
from dynasor.sim.engine import Attempt, ending


def simple(*names, slots=1, tokens=10):
    """An engine of 5 tokens a second that has begun with these calls at 0."""
    engine = SimpleEngine(slots, 5.0)
    for name in names:
        assert engine.add(make_attempt(name, tokens), 0.0) is None
    engine.go_on(0.0)
    return engine


def taken(engine, now):
    """All that has happened by now."""
    return list(iter(lambda: engine.take(now), None))


def test_slots():
    """As many attempts run as there are slots; the others queue in order of arrival."""
    engine = SimpleEngine(2, 5.0)
    attempts = [make_attempt(name, tokens) for name, tokens in (("a", 10), ("b", 20), ("c", 5))]
    for one in attempts:
        engine.add(one, 1.0)
    engine.go_on(1.0)
    assert (list(engine.running), list(engine.queue), engine.wake) == (["a", "b"], ["c"], 3.0)
    assert taken(engine, 2.9) == []
    assert [end.call for end in taken(engine, 3.0)] == ["a"]
    engine.go_on(3.0)
    assert (list(engine.running), attempts[2].started, engine.wake) == (["b", "c"], 3.0, 4.0)


def test_abort_of_what_runs():
    """An aborted attempt costs what it had generated, in whole tokens, and frees its slot."""
    engine = simple("a", "b")
    assert engine.abort("a", 1.5) == Cancelled("a", 1, Usage(0, 7))
    engine.go_on(1.5)
    assert list(engine.running) == ["b"]
    assert taken(engine, 2.0) == [], "the planned end of what was aborted is nobody's"
    engine.go_on(2.0)
    assert engine.wake == 3.5


def test_abort_never_beyond_the_outcome():
    """An abort at the very end costs the whole completion and no more."""
    assert simple("a").abort("a", 99.0) == Cancelled("a", 1, Usage(0, 10))


def test_abort_of_what_queues():
    """An attempt that was never started costs nothing."""
    engine = simple("a", "b", "c")
    assert engine.abort("b", 1.0) == Cancelled("b", 1, Usage(0, 0))
    assert list(engine.queue) == ["c"]


def test_abort_of_what_has_ended():
    """There is nothing to abort in an attempt that has ended."""
    engine = simple("a")
    assert len(taken(engine, 2.0)) == 1
    assert engine.abort("a", 2.0) is None


def test_idle():
    """Nothing will happen by itself in an engine that has nothing to do."""
    engine = simple("a")
    taken(engine, 2.0)
    engine.go_on(2.0)
    assert engine.wake == inf


def test_reports():
    """A stream's text is spread evenly over its tokens, a report every so many."""
    engine = SimpleEngine(1, 5.0)
    engine.add(make_attempt("a", 10, report_every=4), 0.0)
    engine.go_on(0.0)
    assert taken(engine, 1.6) == [Progressed("a", 1, "0123", 4), Progressed("a", 1, "4567", 4)]
    assert [type(end) for end in taken(engine, 2.0)] == [Finished]


def test_reports_of_the_aborted():
    """An aborted stream reports no more."""
    engine = SimpleEngine(1, 5.0)
    engine.add(make_attempt("a", 10, report_every=4), 0.0)
    engine.go_on(0.0)
    engine.abort("a", 0.5)
    assert taken(engine, 2.0) == []


@pytest.mark.parametrize("is_retryable", [True, False])
def test_ends(is_retryable):
    """An attempt ends with its output, or with its error and the tokens that it cost."""
    submit = make_attempt("a").submit
    output = said("so x", 3)
    assert ending(Attempt(submit, Outcome(output, 3))) == Finished("a", 1, output)
    failing = Outcome(None, 3, "EngineTimeout", "too slow", is_retryable)
    failed = Failed("a", 1, "EngineTimeout", "too slow", is_retryable, Usage(0, 3))
    assert ending(Attempt(submit, failing)) == failed


def test_failures_report_nothing():
    """An attempt that comes to an error has no text to report."""
    submit = make_attempt("a", report_every=4).submit
    assert Attempt(submit, Outcome(None, 9, "EngineTimeout")).report_every == 0


def test_every_call_ends():
    """Calls that come at any time, and those that are aborted, end once each."""
    visits = [visit(n / 3, f"c{n}", n, abort=inf if n % 3 else n / 2) for n in range(12)]
    engine = SimpleEngine(2, 5.0)
    engine.cache = SimpleNamespace(used=0)  # it has none to look at
    ends = [end.call for _, end, _ in drive(engine, visits)]
    assert sorted(ends) == sorted(one.attempt.id for one in visits)


def test_repr():
    """An attempt says whose it is."""
    assert repr(make_attempt("a", 10)) == "<Attempt 1 of a, 10 tokens>"
