"""Events in turn, timers, comparisons, watchers, and the end."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the rigs

from rigs import call, turns

from dynasor.core.commands import Answered, Closed, Compare, Moved, SetTimer, Submit
from dynasor.core.events import Cancelled, Finished, Grouped, TimerFired, Withdrew
from dynasor.core.types import Spending
from dynasor.engines.scripted import Hang, ScriptedEngine

MOVED = Moved("p", 1, 1, {}, {}, 3, 0)
ANSWERED = Answered("p", "answered", "done", None, "", "", 1, 1, {}, {}, 0)
CLOSED = Closed("p", Spending(), 1, 0, 0, 0, 0)
COMPARE = Compare("p", 4, "math", ("x", "y"), ("a", "b", "c"), 0)


async def test_events_wait_their_turn(rig):
    """An event raised while another is handled waits until that one's commands are carried out."""
    on, log = rig(), []

    def watcher(news):
        log.append(type(news).__name__)
        if isinstance(news, Moved):
            on.driver.send(Cancelled("x", 1))
            log.append("sent")
            assert on.puppet.events == []

    on.driver.watch("p", watcher)
    on.do(MOVED, ANSWERED)
    assert log == ["Moved", "sent", "Answered"]
    assert on.puppet.events == [Cancelled("x", 1)]


async def test_events_in_order(rig):
    """Several events raised while one is handled are handled in the order they were raised."""
    on = rig()
    raised = [Cancelled(f"x#{n}", 1) for n in range(5)]
    on.driver.watch("p", lambda news: [on.driver.send(event) for event in raised])
    on.do(MOVED)
    assert on.puppet.events == raised


async def test_scheduler_that_raises(rig):
    """An event that the scheduler refuses raises at its sender, and later ones are handled."""
    on = rig()
    handle = on.puppet.handle

    def refuse(event, now):
        raise RuntimeError("no")

    on.puppet.handle = refuse
    with pytest.raises(RuntimeError, match="no"):
        on.driver.send(Cancelled("a", 1))
    on.puppet.handle = handle
    on.driver.send(Cancelled("b", 1))
    assert on.puppet.events == [Cancelled("b", 1)]


async def test_recorder(rig):
    """The recorder gets every event with its time and its commands, in order."""
    on = rig()
    submit = Submit(call(), 1, "e", 0)
    on.do(submit)
    (finished,) = await on.puppet.heard()
    first, second = on.recorder.lines
    assert first[1:] == (Withdrew("host"), [submit])
    assert second[1:] == (finished, [])
    assert 0.0 <= first[0] <= second[0]


# Watchers.


async def test_watcher(rig):
    """A watcher hears of its own program, until that is closed."""
    on, heard, other = rig(), [], []
    on.driver.watch("p", heard.append)
    on.driver.watch("q", other.append)
    on.do(MOVED, ANSWERED, CLOSED)
    on.do(MOVED)
    assert heard == [MOVED, ANSWERED, CLOSED]
    assert other == []


# Timers.


async def test_timer(rig):
    """A timer comes due once, no earlier than its time."""
    on = rig()
    at = on.clock.now() + 0.02
    on.do(SetTimer("t", at, 0))
    assert await on.puppet.heard() == [TimerFired("t")]
    assert on.puppet.times[0] >= at - 0.005  # the loop's clock has a resolution


async def test_timer_of_the_past(rig):
    """A timer whose time has passed comes at once, but not within the event that set it."""
    on = rig()
    on.do(SetTimer("t", -5.0, 0))
    assert on.puppet.events == []
    assert await on.puppet.heard() == [TimerFired("t")]


async def test_timer_replaced(rig):
    """A timer set anew forgets its old time, be it earlier or later."""
    on = rig()
    now = on.clock.now()
    on.do(SetTimer("sooner", now + 60, 0), SetTimer("later", now, 0))
    on.do(SetTimer("sooner", now, 0), SetTimer("later", now + 0.03, 0))
    assert await on.puppet.heard(2) == [TimerFired("sooner"), TimerFired("later")]
    assert on.puppet.times[1] >= now + 0.025
    assert on.driver._timers == {}


async def test_timer_set_again_when_it_fires(rig):
    """A timer may be set again by the very event that it causes."""
    on = rig()
    on.do(SetTimer("t", 0.0, 0))
    on.puppet.plan = [SetTimer("t", 0.0, 0)]
    assert await on.puppet.heard(2) == [TimerFired("t"), TimerFired("t")]
    await turns()
    assert len(on.puppet.events) == 2


async def test_deadline_timer_goes_with_its_program(rig):
    """The deadline timer of a program that is closed is forgotten, no other."""
    on = rig()
    later = on.clock.now() + 60
    on.do(*(SetTimer(name, later, 0) for name in ("deadline:p", "deadline:q", "retry:p#1:1")))
    on.do(ANSWERED)
    assert len(on.driver._timers) == 3
    on.do(CLOSED)
    assert set(on.driver._timers) == {"deadline:q", "retry:p#1:1"}


# Comparisons.


async def test_compare(rig):
    """A comparison becomes one Grouped with the workers' verdict."""
    on = rig()
    on.do(COMPARE)
    assert await on.puppet.heard() == [Grouped("p", 4, (0, 0), 0)]
    assert on.comparer.asked == [("math", ("a", "b", "c"), ("x", "y"))]


@pytest.mark.parametrize("error", [OSError("no process"), RuntimeError("closed"), KeyError("math")])
async def test_comparer_that_fails(rig, error):
    """Where workers fail every answer stays apart, each in its own class, and is counted."""
    on = rig()
    on.comparer.error = error
    on.do(COMPARE)
    assert await on.puppet.heard() == [Grouped("p", 4, (3, 4), 2)]


# The end.


async def test_close_with_work_in_flight(rig):
    """Closing cancels calls, comparisons and timers; afterwards nothing happens any more."""
    on = rig(ScriptedEngine(lambda work: "a", faults={n: Hang(0) for n in range(3)}))
    stuck = asyncio.Event()

    async def compare(*_):
        await stuck.wait()

    on.comparer.compare = compare
    submits = [Submit(call(f"p#{n}"), 1, "e", 0) for n in range(3)]
    on.do(*submits, COMPARE, SetTimer("t", on.clock.now() + 0.01, 0))
    await turns()
    assert on.engine.running == 3
    await on.driver.close()
    assert on.engine.running == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert (on.driver._timers, on.driver._attempts) == ({}, {})
    on.do(Submit(call("p#9"), 1, "e", 0))
    await turns()
    assert len(on.engine.asked) == 3
    assert on.puppet.events == []


async def test_close_before_the_first_step(rig):
    """Closing right after a Submit leaves nothing behind either."""
    on = rig()
    on.do(Submit(call(), 1, "e", 0))
    await on.driver.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert on.engine.asked == []


async def test_close_twice(rig):
    """Closing twice, or with nothing to close, is no error."""
    on = rig()
    await on.driver.close()
    await on.driver.close()


async def test_close_does_not_wait_for_ever(rig, monkeypatch):
    """Closing gives an engine that ignores cancellation only so long."""
    from dynasor.runtime import driver as driver_module

    monkeypatch.setattr(driver_module, "ABORT_SECONDS", 0.01)
    let_go = asyncio.Event()

    class Deaf(ScriptedEngine):
        async def generate(self, work, meter, on_report=None):
            while not let_go.is_set():
                try:
                    await let_go.wait()
                except asyncio.CancelledError:
                    continue
            return await super().generate(work, meter, on_report)

    on = rig(Deaf(lambda work: "a"))
    on.do(Submit(call(), 1, "e", 0))
    await turns()
    await on.driver.close()
    let_go.set()
    await turns()
    assert not any(isinstance(event, Finished) for event in on.puppet.events)
