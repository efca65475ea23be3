from __future__ import annotations

from toys.words import said

from dynasor.core.commands import Submit
from dynasor.core.types import Call, Generate, Prompt, Usage
from dynasor.sim import Outcome, SimpleEngine
from dynasor.sim.engine import Attempt


def attempt(name, tokens=10):
    call = Call(name, "p", "generate", Generate(Prompt(())), "p", "p")
    return Attempt(Submit(call, 1, "e", 0), Outcome(said("x", tokens), tokens))


def test_slots():
    """As many attempts run as there are slots; the others queue in order of arrival."""
    engine = SimpleEngine(2, 5.0)
    attempts = [attempt(name, tokens) for name, tokens in (("a", 10), ("b", 20), ("c", 5))]
    for one in attempts:
        engine.add(one)
    assert engine.start(1.0) == [(attempts[0], 3.0), (attempts[1], 5.0)]
    assert engine.start(1.0) == []
    assert engine.end("a") is attempts[0]
    assert engine.start(3.0) == [(attempts[2], 4.0)]
    assert attempts[2].started == 3.0


def test_abort_of_what_runs():
    """An aborted attempt costs what it had generated, in whole tokens, and frees its slot."""
    engine = SimpleEngine(1, 5.0)
    for name in "ab":
        engine.add(attempt(name))
    engine.start(0.0)
    assert engine.abort("a", 1.5) == Usage(0, 7)
    assert [one.submit.call.id for one, _ in engine.start(1.5)] == ["b"]
    assert engine.end("a") is None


def test_abort_never_beyond_the_outcome():
    """An abort at the very end costs the whole completion and no more."""
    engine = SimpleEngine(1, 5.0)
    engine.add(attempt("a", 10))
    engine.start(0.0)
    assert engine.abort("a", 99.0) == Usage(0, 10)


def test_abort_of_what_queues():
    """An attempt that was never started costs nothing."""
    engine = SimpleEngine(1, 5.0)
    for name in "abc":
        engine.add(attempt(name))
    engine.start(0.0)
    assert engine.abort("b", 1.0) == Usage(0, 0)
    assert [one.submit.call.id for one in engine.queue] == ["c"]


def test_abort_of_what_has_ended():
    """There is nothing to abort in an attempt that has ended."""
    assert SimpleEngine(1, 5.0).abort("a", 1.0) is None
