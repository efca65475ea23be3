"""Requests that are passed on, hints of calls, and the ends that engines hear of."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path

import pytest
from toys.sinks import Sink

sys.path.insert(0, str(Path(__file__).parent))  # for the rigs

from rigs import Recorder, call, turns

from dynasor.core.commands import Abort, Closed, Submit
from dynasor.core.errors import ConfigError, EngineBusy, EngineUnreachable
from dynasor.core.events import Failed, Finished
from dynasor.core.types import Generate, Hints, Message, Prompt, Relay, Sampling, Spending
from dynasor.engines.scripted import Drop, Fail, Hang, ScriptedEngine

BODY = json.dumps({"messages": [{"role": "user", "content": "q"}], "stream": True})
RELAY = Relay("/chat/completions", BODY)
SUBMIT = Submit(call(work=RELAY), 1, "e", 0)
HINTS = Hints("p", "w", 1.0, 2.0, 3)
CLOSED = Closed("p", Spending(), 1, 0, 0, 0, 0)


async def test_answer_goes_to_the_sink(rig):
    """The answer goes to the program's sink, its status and cost to the scheduler."""
    on, sink = rig(), Sink()
    on.driver.pour("p", sink)
    on.do(SUBMIT)
    (event,) = await on.puppet.heard()
    assert isinstance(event, Finished)
    assert (event.output.status, event.output.usage.completion_tokens) == (200, 2)
    assert sink.body.endswith(b"[DONE]\n\n")
    assert sink.is_whole


async def test_failure_before_the_first_byte(rig):
    """What fails before the client has seen anything may be tried again."""
    on = rig(ScriptedEngine(faults={0: Fail(EngineBusy("e", "later"))}))
    on.driver.pour("p", Sink())
    on.do(SUBMIT)
    (event,) = await on.puppet.heard()
    assert (event.kind, event.is_retryable) == ("EngineBusy", True)


async def test_failure_after_the_first_byte(rig):
    """What fails after that has failed for good: no client can take back what it read."""
    on, sink = rig(ScriptedEngine(lambda work: "a b c", faults={0: Drop(2)})), Sink()
    on.driver.pour("p", sink)
    on.do(SUBMIT)
    (event,) = await on.puppet.heard()
    assert (event.kind, event.is_retryable) == ("EngineUnreachable", False)
    assert event.usage.completion_tokens == 2
    assert not sink.is_whole


async def test_cancelled_after_the_first_byte(rig):
    """What is cancelled then, whoever did it, cannot be made again elsewhere."""
    on, sink = rig(ScriptedEngine(lambda work: "a b c", faults={0: Hang(2)})), Sink()
    on.driver.pour("p", sink)
    on.do(SUBMIT)
    while not sink.has_begun:
        await asyncio.sleep(0)
    on.do(Abort(SUBMIT.call.id, 1, 2))
    (event,) = await on.puppet.heard()
    assert (event.kind, event.is_retryable) == ("EngineUnreachable", False)
    assert event.usage.completion_tokens == 2


async def test_nobody_reads(rig):
    """A request whose client nobody named has failed, and its engine never hears of it."""
    on = rig()
    on.do(SUBMIT)
    (event,) = await on.puppet.heard()
    assert isinstance(event, Failed)
    assert "nobody reads the answer" in event.message
    assert on.engine.asked == []


async def test_closed_program_has_no_sink(rig):
    """A program that has ended lets go of its client."""
    on = rig()
    on.driver.pour("p", Sink())
    on.do(CLOSED)
    on.do(SUBMIT)
    (event,) = await on.puppet.heard()
    assert isinstance(event, Failed)


async def test_engine_that_cannot(rig):
    """An engine that passes nothing on refuses, with its address."""

    class Plain:
        address = "http://plain"

    on = rig(Plain())
    on.driver.pour("p", Sink())
    on.do(SUBMIT)
    (event,) = await on.puppet.heard()
    assert (event.kind, event.is_retryable) == ("EngineRefused", False)
    assert "http://plain" in event.message


@pytest.mark.parametrize("seed", [None, 3])
async def test_hints_go_with_the_work(rig, seed):
    """What the scheduler says of a program reaches the engine with each kind of work."""
    on = rig()
    on.driver.pour("p", Sink())
    work = Generate(Prompt((Message("user", "q"),)), Sampling(seed=seed))
    on.do(
        Submit(call("p#1", work), 1, "e", 0, HINTS),
        Submit(call("p#2", RELAY), 1, "e", 0, HINTS),
        Submit(call("p#3", work), 1, "e", 0),
    )
    await on.puppet.heard(3)
    assert [work.hints for work in on.engine.asked] == [HINTS, HINTS, None]
    assert on.engine.asked[0].sampling.seed == (7 if seed is None else 3)


async def test_several_recorders(rig):
    """Each recorder gets every event from when it came."""
    on, second = rig(), Recorder()
    on.do()
    on.driver.record_in(second)
    on.do()
    assert len(on.recorder.lines) == 2
    assert second.lines == on.recorder.lines[1:]


async def test_program_id_in_use(rig):
    """A program that is watched already is nobody else's."""
    on = rig()
    on.driver.watch("p", lambda news: None)
    with pytest.raises(ConfigError, match="'p' is in use"):
        on.driver.watch("p", lambda news: None)
    on.do(CLOSED)
    on.driver.watch("p", lambda news: None)


class Holding(ScriptedEngine):
    """An engine that holds something of each program in `held`."""

    def __init__(self, *held, error=None):
        super().__init__()
        self.held, self.error, self.released = set(held), error, []
        self.may_go = asyncio.Event()
        self.may_go.set()

    def holds(self, program):
        return program in self.held

    async def release(self, program):
        await self.may_go.wait()
        self.released.append(program)
        if self.error is not None:
            raise self.error


async def test_end_is_told(rig):
    """An engine that holds something of a program hears of its end, and nobody waits."""
    on = rig(Holding("p"))
    on.engine.may_go.clear()
    on.do(CLOSED, Closed("other", Spending(), 1, 0, 0, 0, 0))
    await turns()
    assert on.engine.released == []
    on.engine.may_go.set()
    await turns()
    assert on.engine.released == ["p"]
    assert on.driver.failed_releases == 0


async def test_end_that_cannot_be_told(rig, caplog):
    """Failures are counted, and told once."""
    on = rig(Holding("p", "r", error=EngineUnreachable("http://x", "no")))
    with caplog.at_level(logging.WARNING):
        on.do(CLOSED, Closed("r", Spending(), 1, 0, 0, 0, 0))
        await turns()
    assert on.driver.failed_releases == 2
    (record,) = caplog.records
    assert "engine http://x: no" in record.getMessage()


async def test_shut_down_while_telling(rig):
    """A driver that is closed does not wait for an engine that hears nothing."""
    on = rig(Holding("p"))
    on.engine.may_go.clear()
    on.do(CLOSED)
    await turns()
    await on.driver.close()
    assert on.engine.released == []
