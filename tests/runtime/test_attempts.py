"""Every Submit ends in exactly one event, whatever the engine does."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the rigs

from rigs import call, turns

from dynasor.core.commands import Abort, Submit
from dynasor.core.errors import (
    EngineBusy,
    EngineError,
    EngineGarbage,
    EngineRefused,
    EngineTimeout,
    EngineUnreachable,
)
from dynasor.core.events import Cancelled, Failed, Finished, Progressed
from dynasor.core.types import (
    Embed,
    Embedded,
    Generate,
    Generated,
    Message,
    Prompt,
    Sampling,
    Score,
    Scored,
    Usage,
)
from dynasor.engines.scripted import Drop, Fail, Hang, ScriptedEngine
from dynasor.runtime import driver as driver_module

SUBMIT = Submit(call(), 1, "e", 0)
ABORT = Abort("p#1", 1, 0)


class Stubborn(ScriptedEngine):
    """An engine that goes on when it is cancelled, until it is let go."""

    def __init__(self):
        super().__init__(lambda work: "late")
        self.let_go = asyncio.Event()
        self.was_cancelled = asyncio.Event()

    async def generate(self, work, meter, on_report=None):
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                self.was_cancelled.set()
        return await super().generate(work, meter, on_report)


class Buggy(ScriptedEngine):
    """An engine whose `generate` does what it was made with."""

    def __init__(self, does):
        super().__init__()
        self.does = does

    async def generate(self, work, meter, on_report=None):
        return self.does()


def raises(error):
    def do():
        raise error

    return do


async def test_finish(rig):
    """An attempt that ends well is one Finished with its output and tokens."""
    on = rig()
    on.do(SUBMIT)
    output = Generated("two words", Usage(1, 2))
    assert await on.puppet.heard() == [Finished("p#1", 1, output)]


@pytest.mark.parametrize(
    "kind",
    [
        EngineError,
        EngineUnreachable,
        EngineTimeout,
        EngineBusy,
        EngineRefused,
        EngineGarbage,
    ],
)
async def test_engine_error(rig, kind):
    """Each engine error is one Failed with its name, its line and whether to try again."""
    on = rig(ScriptedEngine(faults={0: Fail(kind("http://x", "no"))}))
    on.do(SUBMIT)
    (event,) = await on.puppet.heard()
    is_retryable = kind is not EngineRefused
    assert event == Failed(
        "p#1", 1, kind.__name__, "engine http://x: no", is_retryable, Usage(1, 0)
    )


async def test_tokens_of_a_failure(rig):
    """What was generated before the connection broke is in the event."""
    on = rig(ScriptedEngine(lambda work: "a b c d", faults={0: Drop(3)}))
    on.do(SUBMIT)
    (event,) = await on.puppet.heard()
    assert event.usage == Usage(1, 3)


@pytest.mark.parametrize("error", [ZeroDivisionError("oh"), KeyError("x"), TimeoutError("mine")])
async def test_adapter_bug(rig, error):
    """Whatever else an adapter raises ends its attempt for good, with the engine's address."""
    on = rig(Buggy(raises(error)))
    on.do(SUBMIT)
    (event,) = await on.puppet.heard()
    kind = type(error).__name__
    assert (event.kind, event.is_retryable) == (kind, False)
    assert event.message.startswith(f"engine scripted: its adapter raised {kind}: ")


@pytest.mark.parametrize("output", [None, "text", Scored((1.0,))])
async def test_wrong_output(rig, output):
    """An adapter that returns something else than was asked for has failed."""
    on = rig(Buggy(lambda: output))
    on.do(SUBMIT)
    (event,) = await on.puppet.heard()
    assert event.kind == "TypeError"
    assert f"expected Generated, got {type(output).__name__}" in event.message


async def test_adapter_cancels_itself(rig):
    """An adapter that raises CancelledError although nobody asked is one Cancelled."""
    on = rig(Buggy(raises(asyncio.CancelledError())))
    on.do(SUBMIT)
    assert await on.puppet.heard() == [Cancelled("p#1", 1, Usage(is_counted=False))]


async def test_cancelled_before_the_first_step(rig):
    """An attempt that is aborted at once is one Cancelled, and its engine never hears of it."""
    on = rig()
    on.do(SUBMIT, ABORT)
    assert await on.puppet.heard() == [Cancelled("p#1", 1)]
    assert on.engine.asked == []


async def test_cancelled_midway(rig):
    """An attempt that is aborted while it runs is one Cancelled with the tokens it has cost."""
    on = rig(ScriptedEngine(lambda work: "a b c d", faults={0: Hang(2)}))
    on.do(SUBMIT)
    await turns()
    on.do(ABORT)
    assert await on.puppet.heard() == [Cancelled("p#1", 1, Usage(1, 2))]
    assert on.engine.running == 0


async def test_abort_after_the_end(rig):
    """An abort that comes when the attempt has ended does nothing."""
    on = rig()
    on.do(SUBMIT)
    await on.puppet.heard()
    on.do(ABORT)
    await turns()
    assert [type(event) for event in on.puppet.events] == [Finished]


async def test_deaf_engine(rig, monkeypatch):
    """An engine that ignores cancellation loses its slot after a while; its end comes too late."""
    monkeypatch.setattr(driver_module, "ABORT_SECONDS", 0.01)
    on = rig(Stubborn())
    on.do(SUBMIT)
    await turns()
    on.do(ABORT)
    assert await on.puppet.heard() == [Cancelled("p#1", 1)]
    assert on.engine.was_cancelled.is_set()
    on.engine.let_go.set()
    await turns()
    assert len(on.puppet.events) == 1
    assert on.driver.late == 1


async def test_given_up_name_is_used_again(rig, monkeypatch):
    """A later attempt of the same name gets its own event, not that of the one given up."""
    monkeypatch.setattr(driver_module, "ABORT_SECONDS", 0.01)
    stubborn = Stubborn()
    on = rig(stubborn)
    on.do(SUBMIT)
    await turns()
    on.do(ABORT)
    await on.puppet.heard()
    on.driver._engines = {"e": ScriptedEngine(lambda work: "fresh", faults={0: Hang(1)})}
    on.do(SUBMIT)
    await turns()
    stubborn.let_go.set()
    await turns()
    assert len(on.puppet.events) == 1
    on.do(ABORT)
    assert (await on.puppet.heard(2))[1] == Cancelled("p#1", 1, Usage(1, 1))


async def test_prompt_engine_has_no_watchdog(rig, monkeypatch):
    """Nothing is left waiting once an aborted attempt has ended by itself."""
    monkeypatch.setattr(driver_module, "ABORT_SECONDS", 0.02)
    on = rig(ScriptedEngine(lambda work: "a", faults={0: Hang(0)}))
    on.do(SUBMIT)
    await turns()
    on.do(ABORT)
    await on.puppet.heard()
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, done.set)
    await done.wait()
    assert len(on.puppet.events) == 1
    assert on.driver.late == 0


async def test_time_limit(rig, monkeypatch):
    """A call that takes too long has failed, however steadily it drips; it may be tried again."""
    monkeypatch.setattr(driver_module, "CALL_SECONDS", 0.01)
    on = rig(ScriptedEngine(lambda work: "a b", faults={0: Hang(1)}))
    on.do(SUBMIT)
    (event,) = await on.puppet.heard()
    assert (event.kind, event.is_retryable, event.usage) == ("EngineTimeout", True, Usage(1, 1))
    assert "engine scripted: one call took more than" in event.message


async def test_many_at_once(rig):
    """Attempts of many calls run side by side, each with its own end."""
    on = rig(ScriptedEngine(lambda work: "a", faults={n: Drop(0) for n in range(0, 100, 2)}))
    on.do(*(Submit(call(f"p#{n}"), 1, "e", 0) for n in range(100)))
    events = await on.puppet.heard(100)
    assert {event.call for event in events} == {f"p#{n}" for n in range(100)}
    assert on.engine.peak == 100
    assert sum(isinstance(event, Failed) for event in events) == 50


async def test_reports(rig):
    """An open call's reports come before its end and make up its text."""
    work = Generate(Prompt((Message("user", "q"),)), report_every=2)
    on = rig(ScriptedEngine(lambda work: "a b c d e"))
    on.do(Submit(call(work=work), 1, "e", 0))
    events = await on.puppet.heard(3)
    assert events[:2] == [Progressed("p#1", 1, "a b", 2), Progressed("p#1", 1, " c d", 2)]
    assert events[2].output.text == "a b c d e"


async def test_no_reports_unasked(rig):
    """A call that wants no reports gets no function to report with."""
    given = []

    class Nosy(ScriptedEngine):
        async def generate(self, work, meter, on_report=None):
            given.append(on_report)
            return await super().generate(work, meter, on_report)

    on = rig(Nosy(lambda work: "a b"))
    on.do(SUBMIT)
    await on.puppet.heard()
    assert given == [None]


@pytest.mark.parametrize(("own", "used"), [(None, 7), (3, 3), (0, 0)])
async def test_seed(rig, own, used):
    """A work without a seed is sampled with the call's, one with a seed with its own."""
    work = Generate(Prompt((Message("user", "q"),)), Sampling(seed=own))
    on = rig()
    on.do(Submit(call(work=work, seed=7), 1, "e", 0))
    await on.puppet.heard()
    assert on.engine.asked[0].sampling.seed == used


async def test_score_and_embed(rig):
    """Scoring and embedding go to the engine's own methods."""
    on = rig(ScriptedEngine(reward=lambda item: 0.5, vector=lambda text: (1.0, 2.0)))
    on.do(
        Submit(call("p#1", Score((Prompt((), "x"),))), 1, "e", 0),
        Submit(call("p#2", Embed(("x",))), 1, "e", 0),
    )
    first, second = await on.puppet.heard(2)
    assert isinstance(first.output, Scored)
    assert first.output.rewards == (0.5,)
    assert isinstance(second.output, Embedded)
    assert second.output.vectors == ((1.0, 2.0),)
