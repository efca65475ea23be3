"""Running one program: results, progress, deadlines, taking it back."""

from __future__ import annotations

import asyncio

import pytest
from plays import Gate, Raiser, Single, answers, boxed, even, one, sums

from dynasor import Dynasor, SelfConsistency
from dynasor.core.errors import (
    ConfigError,
    DeadlineExceeded,
    DynasorError,
    EngineRefused,
    ProgramFailed,
    Withdrawn,
)
from dynasor.core.types import Spending, Usage
from dynasor.engines.scripted import Drop, Hang, Lie, ScriptedEngine


async def turns(count=50):
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_result(tmp_path):
    """A result says what was asked, answered, voted and spent."""
    async with even(sums()) as dynasor:
        result = await dynasor.run(one("41+1"), program_id="mine")
    assert result.program == "mine"
    assert result.question == "41+1"
    assert (result.answer, result.text) == ("42", boxed(42))
    assert (result.status, result.reason) == ("answered", "cap")
    assert (result.knob, result.cap, result.votes) == (3, 3, {"42": 3.0})
    assert result.certaindex == {"entropy": 1.0}
    assert (result.calls, result.aborted_calls, result.failed_attempts) == (3, 0, 0)
    prompt_tokens = result.spending.prompt_tokens
    assert result.spending == Spending(prompt_tokens=prompt_tokens, finished_tokens=15)
    assert 0.0 <= result.seconds <= result.closed_seconds
    assert result.error is None
    assert result.raise_for_status() is result


async def test_majority():
    """The answer of most branches wins, and its text is one of theirs."""
    engine = answers("7", "9", "9", "9", "7", "8")
    async with even(engine) as dynasor:
        result = await dynasor.run(SelfConsistency("q", cap=60))
    assert sum(result.votes.values()) == 60
    assert result.answer == max(result.votes, key=result.votes.get)
    assert result.text == boxed(result.answer)


async def test_no_answer():
    """A program none of whose branches has an answer ends without one, and without an error."""
    async with even(ScriptedEngine(lambda work: "I do not know")) as dynasor:
        result = await dynasor.run(one("q"))
    assert (result.status, result.knob) == ("answered", 3)
    assert (result.answer, result.text, result.error, result.votes) == (None, None, None, {})


async def test_tokens_are_counted_once():
    """Aborted, failed and finished tokens are apart and add up to what the engine spent."""
    faults = {0: Hang(2), 1: Lie(Usage(0, 100)), 2: Lie(Usage(0, 10))}
    async with Dynasor(answers("1", faults=faults), policy="beta:confidence=0.5") as dynasor:
        result = await dynasor.run(one("q", cap=3))
    spending = result.spending
    assert spending.aborted_tokens == 2
    assert spending.finished_tokens == 110
    assert spending.completion_tokens == 112
    assert (result.aborted_calls, result.calls) == (1, 3)


async def test_failed_attempts_are_billed():
    """An attempt that is made again is billed as failed, and the result counts it."""
    faults = {0: Drop(2)}
    async with even(answers("1", faults=faults)) as dynasor:
        result = await dynasor.run(one("q", cap=1))
    assert (result.answer, result.failed_attempts) == ("1", 1)
    spending = result.spending
    assert (spending.failed_tokens, spending.finished_tokens) == (2, 5)


async def test_same_seed_same_result():
    """One seed gives one program the same branches again; another seed gives others."""

    async def votes(seed):
        async with even(answers(*map(str, range(50))), seed=seed) as dynasor:
            return (await dynasor.run(one("q", cap=10), program_id="x")).votes

    assert await votes(1) == await votes(1)
    assert await votes(1) != await votes(2)


# The policy.


async def test_policy_of_one_run():
    """A run's own policy counts for it alone."""
    async with even(answers("1")) as dynasor:
        short = await dynasor.run(one("q", cap=9), policy="threshold:detect=2,at=0.5")
        full = await dynasor.run(one("q", cap=9))
    assert (short.knob, full.knob) == (2, 9)


async def test_lock_of_the_settings():
    """A policy given as text takes its lock from the settings."""
    async with Dynasor(answers("1"), lock=True) as dynasor:
        locked = await dynasor.run(one("q", cap=9), policy="even:in_flight=1")
    async with Dynasor(answers("1"), lock=False) as dynasor:
        full = await dynasor.run(one("q", cap=9), policy="even:in_flight=1")
    assert (locked.reason, locked.knob) == ("locked", 5)
    assert (full.reason, full.knob) == ("cap", 9)


# Progress.


async def test_progress():
    """Progress comes step by step, in order, and ends with the answer."""
    async with even(answers("1")) as dynasor:
        handle = dynasor.submit(one("q", cap=4))
        knobs = [step.knob async for step in handle.progress()]
        result = await handle
    assert knobs == [1, 2, 3, 4]
    assert handle.latest.votes == result.votes
    assert handle.is_done


async def test_progress_twice():
    """Whoever asks for progress when all is over is told so at once."""
    async with even(answers("1")) as dynasor:
        handle = dynasor.submit(one("q"))
        await handle
        first = [step.knob async for step in handle.progress()]
        again = [step.knob async for step in handle.progress()]
    assert (first, again) == ([1, 2, 3], [])


async def test_on_progress():
    """`run` calls its watcher at every step."""
    seen = []
    async with even(answers("1")) as dynasor:
        await dynasor.run(one("q"), on_progress=lambda step: seen.append(step.knob))
    assert seen == [1, 2, 3]


async def test_watcher_that_raises():
    """A watcher that raises is reported, is not called again, and disturbs no program."""
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    calls = []

    def watcher(step):
        calls.append(step)
        raise ZeroDivisionError("mine")

    async with even(answers("1")) as dynasor:
        result = await dynasor.run(one("q"), on_progress=watcher)
    assert result.answer == "1"
    assert len(calls) == 1
    assert [str(context["exception"]) for context in reported] == ["mine"]


async def test_await_twice():
    """A handle may be awaited again, and by several at once: the same result."""
    async with even(answers("1")) as dynasor:
        handle = dynasor.submit(one("q"))
        first, second = await asyncio.gather(_wait(handle), _wait(handle))
        third = await handle
    assert first is second is third


async def _wait(handle):
    return await handle


async def test_one_waiter_gives_up():
    """Cancelling one that waits for a handle takes nothing from the others."""
    gate = Gate()
    async with even(gate) as dynasor:
        handle = dynasor.submit(one("q"))
        waiter = asyncio.create_task(_wait(handle))
        await turns()
        waiter.cancel()
        await asyncio.wait([waiter])
        gate.open("q")
        assert (await handle).answer == "1"


async def test_repr():
    """A handle says which program it is and whether that is done."""
    async with even(answers("1")) as dynasor:
        handle = dynasor.submit(one("q"))
        assert repr(handle) == "<Handle p1 running>"
        await handle
        assert repr(handle) == "<Handle p1 done>"


# Taking it back.


async def test_withdraw():
    """A withdrawn program has its calls aborted; its result says so and what was spent."""
    gate = Gate()
    async with even(gate) as dynasor:
        handle = dynasor.submit(one("q"))
        await turns()
        handle.withdraw()
        result = await handle
        handle.withdraw()
    assert (result.status, result.answer) == ("withdrawn", None)
    assert isinstance(result.error, Withdrawn)
    assert gate.aborted == ["q"] * 3
    assert (result.aborted_calls, result.spending.aborted_tokens) == (3, 6)


async def test_cancelled_run():
    """Cancelling `run` withdraws its program and aborts its calls, and those of no other."""
    gate = Gate()
    async with even(gate) as dynasor:
        run = asyncio.create_task(dynasor.run(one("mine")))
        other = dynasor.submit(one("other"))
        await turns()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await turns()
        assert gate.aborted == ["mine"] * 3
        gate.open("other")
        assert (await other).answer == "1"


# Deadlines.


async def test_deadline_with_an_answer():
    """When time runs out the best answer so far is returned and marked as such."""
    faults = {2: Hang(1)}
    async with even(answers("5", faults=faults)) as dynasor:
        result = await dynasor.run(one("q"), deadline_seconds=0.05)
    assert (result.status, result.reason, result.answer) == ("deadline", "deadline", "5")
    assert (result.knob, result.aborted_calls) == (2, 1)
    assert result.error is None
    assert result.seconds >= 0.04


async def test_deadline_without_an_answer():
    """When time runs out before the first answer that is a DeadlineExceeded."""
    async with even(Gate()) as dynasor:
        with pytest.raises(DeadlineExceeded, match="before its first answer"):
            await dynasor.run(one("q"), deadline_seconds=0.02)


async def test_deadline_not_reached():
    """A deadline that is not reached changes nothing and leaves no timer behind."""
    async with even(answers("5")) as dynasor:
        result = await dynasor.run(one("q"), deadline_seconds=60)
        assert dynasor.machine.driver._timers == {}
    assert result.status == "answered"


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
async def test_bad_deadline(seconds):
    """A deadline that is not positive is refused at once."""
    async with even(answers("1")) as dynasor:
        with pytest.raises(ConfigError, match="must be positive"):
            dynasor.submit(one("q"), deadline_seconds=seconds)


# Failures.


async def test_refused_by_the_engine():
    """A program whose calls are refused raises the engine's own words from `run`."""
    engine = ScriptedEngine({})
    async with even(engine) as dynasor:
        with pytest.raises(EngineRefused, match="its script has no output for 'q'"):
            await dynasor.run(one("q"))


async def test_error_of_a_program():
    """A program whose code raises fails with its story, from `run` and in the handle's result."""
    async with even(answers("1")) as dynasor:
        with pytest.raises(ProgramFailed, match=r"Raiser.*ZeroDivisionError: my own fault"):
            await dynasor.run(Raiser("q"))
        result = await dynasor.submit(Raiser("q"))
    assert (result.status, result.answer) == ("failed", None)
    assert isinstance(result.error, ProgramFailed)
    with pytest.raises(ProgramFailed):
        result.raise_for_status()


async def test_error_disturbs_no_other():
    """Programs beside one whose code raises get what they would have got."""
    async with even(sums()) as dynasor:
        handles = [dynasor.submit(one(f"{n}+1")) for n in range(10)]
        with pytest.raises(ProgramFailed):
            await dynasor.run(Raiser("1+1"))
        results = await asyncio.gather(*map(_wait, handles))
    assert [result.answer for result in results] == [str(n + 1) for n in range(10)]


async def test_comparer_fails(monkeypatch):
    """Answers that cannot be compared stay apart, and the result counts them."""
    async with even(answers("x+1", "1+x")) as dynasor:

        async def compare(*_):
            raise OSError("no process")

        monkeypatch.setattr(dynasor.machine.workers, "compare", compare)
        result = await dynasor.run(one("q", cap=12))
    assert set(result.votes) == {"x+1", "1+x"}
    assert result.grouping_failures > 0


@pytest.mark.process
async def test_comparer_compares():
    """Answers that are the same mathematics are one class."""
    async with even(answers("x+1", "1+x")) as dynasor:
        result = await dynasor.run(one("q", cap=12))
    assert list(result.votes.values()) == [12.0]
    assert result.grouping_failures == 0


# Many at once.


async def test_many_at_once():
    """A thousand programs at once each get their own answer."""
    async with even(sums()) as dynasor:
        handles = [dynasor.submit(one(f"{n}+1")) for n in range(1000)]
        results = await asyncio.gather(*map(_wait, handles))
    assert [result.answer for result in results] == [str(n + 1) for n in range(1000)]
    assert len({result.program for result in results}) == 1000


async def test_single():
    """A program of one's own runs without being registered."""
    async with even(answers("1")) as dynasor:
        result = await dynasor.run(Single("q"))
    assert (result.answer, result.reason, result.certaindex) == ("1", "done", {"done": 1.0})


# The end.


async def test_closed_while_running():
    """Closing ends what runs: whoever waits gets an error, and no task is left."""
    gate = Gate()
    dynasor = even(gate, slots=None)
    async with dynasor:
        handle = dynasor.submit(one("q", cap=200))
        waiter = asyncio.create_task(_wait(handle))
        steps = asyncio.create_task(_progress(handle))
        await turns()
        asked = len(gate.arrived)
    with pytest.raises(DynasorError, match="closed before the program had ended"):
        await waiter
    assert await steps == []
    await turns()
    assert (gate.running, len(gate.arrived)) == (0, asked)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def _progress(handle):
    return [step.knob async for step in handle.progress()]


async def test_error_in_the_block():
    """An error in the block closes everything and comes out as it is."""
    gate = Gate()

    async def block():
        async with even(gate) as dynasor:
            dynasor.submit(one("q"))
            await turns()
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await block()
    assert gate.is_closed
    assert asyncio.all_tasks() == {asyncio.current_task()}
