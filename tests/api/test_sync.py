"""The synchronous front door."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from plays import Gate, Raiser, answers, one, sums

from dynasor import SyncDynasor
from dynasor.core.errors import (
    ConfigError,
    DynasorError,
    EngineUnreachable,
    ProgramFailed,
    UnknownName,
)
from dynasor.engines.scripted import ScriptedEngine


def even(engine, **settings):
    """A SyncDynasor that spends every program's whole cap."""
    return SyncDynasor(engine, policy="even", lock=False, **settings)


def dynasor_threads():
    """The threads that SyncDynasor has started and not ended."""
    return [thread for thread in threading.enumerate() if thread.name == "dynasor"]


class Announcing(Gate):
    """A gate that tells other threads that calls have come, and that they were aborted."""

    def __init__(self):
        super().__init__()
        self.has_come = threading.Event()
        self.has_gone = threading.Semaphore(0)

    async def generate(self, work, meter, on_report=None):
        self.has_come.set()
        try:
            return await super().generate(work, meter, on_report)
        finally:
            self.has_gone.release()


def test_run():
    """`run` returns the result."""
    with even(sums()) as dynasor:
        result = dynasor.run(one("41+1"), program_id="x")
    assert (result.answer, result.program, result.knob) == ("42", "x", 3)
    assert dynasor_threads() == []


def test_map():
    """`map` yields every result once."""
    with even(sums()) as dynasor:
        results = list(dynasor.map([one(f"{n}+1") for n in range(50)], live=7))
    assert {r.question: r.answer for r in results} == {f"{n}+1": str(n + 1) for n in range(50)}
    assert len(results) == 50


def test_map_abandoned():
    """Leaving the loop withdraws what still runs; the next program runs as ever."""
    gate = Announcing()
    gate.open("a")
    with even(gate) as dynasor:
        for result in dynasor.map([one("a", cap=1), one("b", cap=1), one("c", cap=1)]):
            assert result.question == "a"
            break
        for _ in range(3):
            assert gate.has_gone.acquire(timeout=10)
        assert sorted(gate.aborted) == ["b", "c"]
        gate.open("d")
        assert dynasor.run(one("d", cap=1)).answer == "1"


def test_map_is_lazy_about_errors():
    """An error of the source comes out of the iteration."""

    def programs():
        yield one("1+1")
        raise KeyError("mine")

    with even(sums()) as dynasor, pytest.raises(KeyError, match="mine"):
        list(dynasor.map(programs()))


def test_two_threads():
    """Several threads share one, each with its own results."""
    with even(sums()) as dynasor, ThreadPoolExecutor(8) as pool:

        def work(base):
            programs = [one(f"{n}+1") for n in range(base, base + 10)]
            mapped = {result.answer for result in dynasor.map(programs)}
            return mapped, dynasor.run(one(f"{base}+1")).answer

        found = list(pool.map(work, range(0, 80, 10)))
    for base, (mapped, single) in zip(range(0, 80, 10), found, strict=True):
        assert mapped == {str(n + 1) for n in range(base, base + 10)}
        assert single == str(base + 1)


def test_exceptions():
    """Errors come out where they belong, and harm nothing."""
    with even(sums()) as dynasor:
        with pytest.raises(ProgramFailed, match="my own fault"):
            dynasor.run(Raiser("1+1"))
        with pytest.raises(UnknownName, match="unknown policy 'x'"):
            dynasor.run(one("1+1"), policy="x")
        with pytest.raises(ConfigError, match="live is 0"):
            list(dynasor.map([one("1+1")], live=0))
        (failed,) = dynasor.map([Raiser("1+1")])
        assert isinstance(failed.error, ProgramFailed)
        assert dynasor.run(one("1+1")).answer == "2"


def test_bad_settings():
    """Settings are checked when it is made; no thread is started."""
    with pytest.raises(UnknownName, match="unknown policy"):
        SyncDynasor(sums(), policy="x")
    assert dynasor_threads() == []


def test_engine_down():
    """An engine that cannot be started fails the start and leaves no thread."""

    class Down(ScriptedEngine):
        async def start(self):
            raise EngineUnreachable("http://x:1", "no connection")

    with pytest.raises(EngineUnreachable, match="http://x:1"), even(Down()):
        raise AssertionError
    assert dynasor_threads() == []


@pytest.mark.parametrize("was_open", [False, True])
def test_not_open(was_open):
    """Nothing runs before `with`, nor after it."""
    dynasor = even(answers("1"))
    if was_open:
        with dynasor:
            assert dynasor.run(one("q")).answer == "1"
    with pytest.raises(ConfigError, match="not open"):
        dynasor.run(one("q"))
    with pytest.raises(ConfigError, match="not open"):
        list(dynasor.map([one("q")]))


def test_called_from_its_own_loop():
    """A source that itself waits for this SyncDynasor is an error, no deadlock."""
    with even(sums()) as dynasor:
        chained = (one(f"{result.answer}+1") for result in dynasor.map([one("1+1")]))
        with pytest.raises(ConfigError, match="make a list of it first"):
            list(dynasor.map(chained))
        first = [one(f"{result.answer}+1") for result in dynasor.map([one("1+1")])]
        assert [result.answer for result in dynasor.map(first)] == ["3"]


def test_closed_while_another_thread_waits():
    """Closing ends what other threads wait for with an error; nobody hangs."""
    gate = Announcing()
    with ThreadPoolExecutor(2) as pool:
        with even(gate) as dynasor:
            inner = dynasor._dynasor.run

            async def slow_to_end(program):
                try:
                    return await inner(program)
                finally:
                    for _ in range(2000):
                        await asyncio.sleep(0)

            dynasor._dynasor.run = slow_to_end
            running = pool.submit(dynasor.run, one("q"))
            mapping = pool.submit(lambda: list(dynasor.map([one("r")])))
            assert gate.has_come.wait(10)
        for future in (running, mapping):
            with pytest.raises(DynasorError, match="closed before|not open"):
                future.result(timeout=10)
    assert dynasor_threads() == []


def test_error_in_the_block():
    """An error in the block closes everything and comes out as it is."""
    engine = answers("1")
    with pytest.raises(KeyError, match="mine"), even(engine):
        raise KeyError("mine")
    assert engine.is_closed
    assert dynasor_threads() == []
