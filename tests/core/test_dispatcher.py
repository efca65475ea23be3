"""Where calls go: replicas, windows, affinity, stealing; and what happens when they fail."""

from __future__ import annotations

import pytest
from toys.stage import in_order, toy

from dynasor.core.events import PoolChanged, TimerFired
from dynasor.core.program import Sample
from dynasor.core.types import Generate, PolicySpec, Prompt, Replica

WORK = Generate(Prompt(()))
ONE_AT_A_TIME = PolicySpec("even", {"in_flight": 1}, False)


def replicas_of(on, program):
    return [submit.replica for submit in on.submits if submit.call.program == program]


# Windows.


@pytest.mark.parametrize(("slots", "slack", "window"), [(1, 0.1, 2), (10, 0.1, 11), (8, 0.0, 8)])
def test_window(stage, slots, slack, window):
    """A replica takes its slots plus the slack, rounded up, and one more for each that ends."""
    on = stage(config=in_order(window_slack=slack), slots=slots)
    on.arrive(cap=20)
    assert len(on.calls) == window
    on.finish(on.calls[0])
    assert len(on.calls) == window
    on.drain()


def test_the_emptier_replica_first(stage):
    """Programs go to the replica with the greater share of room."""
    on = stage(slots=0)
    on.pool(small=2, large=4)
    for _ in range(6):
        on.arrive(cap=1)
    assert [submit.replica for submit in on.submits] == [
        "small",
        "large",
        "large",
        "small",
        "large",
        "large",
    ]
    on.drain()


def test_calls_of_one_program_stay_together(stage):
    """All first calls of a program go where its first one went; what has no room goes elsewhere."""
    on = stage(slots=0)
    on.pool(small=2, large=4)
    on.arrive(cap=2)
    on.arrive(cap=3)
    assert [submit.replica for submit in on.submits] == ["small"] * 2 + ["large"] * 3
    on.drain()
    full = stage(slots=0)
    full.pool(small=2, large=4)
    full.arrive(cap=6)
    assert [submit.replica for submit in full.submits] == ["small"] * 2 + ["large"] * 4
    full.drain()


def test_a_pool_without_replicas(stage):
    """Calls wait for a pool's first replica."""
    on = stage(slots=0)
    on.pool()
    program = on.arrive(cap=2)
    assert on.calls == []
    on.pool(a=2)
    assert on.calls_of(program) == ["p0#1", "p0#2"]
    on.drain()


def test_a_smaller_replica(stage):
    """A replica that shrinks finishes what it runs and takes nothing until it has room."""
    on = stage(slots=4)
    on.arrive(cap=8)
    on.pool(a=2)
    for left in (3, 2, 2):
        on.finish(on.calls[0])
        assert len(on.calls) == left
    on.drain()


# Affinity.


def test_affinity(stage):
    """A program's calls prefer the replica that it ran on, and its key is the program."""
    on = stage(slots=0)
    on.pool(a=1, b=1)
    on.arrive("x", cap=3, policy=ONE_AT_A_TIME)
    on.arrive("y", cap=3, policy=ONE_AT_A_TIME)
    for _ in range(3):
        on.finish(on.calls_of("x")[0])
        on.finish(on.calls_of("y")[0])
    assert replicas_of(on, "x") == ["a"] * 3
    assert replicas_of(on, "y") == ["b"] * 3


@pytest.fixture
def home_is_busy(stage):
    """Two replicas: `b` runs `other`, and `long` waits for `a`, which it left to a shorter one."""
    config = in_order("sjf", aging_factor=5.0, tokens_per_knob=10.0, seconds_per_token=0.1)
    on = stage(config=config, slots=0)
    on.pool(a=1, b=1)
    on.arrive("long", cap=9, policy=ONE_AT_A_TIME)
    on.arrive("other", cap=1)
    on.arrive("short", cap=1)
    on.finish("long#1", after=1.0)
    assert (on.replica_of("short#1"), on.replica_of("other#1")) == ("a", "b")
    return on


def test_stealing(home_is_busy):
    """A replica that would idle takes calls that wait for another."""
    on = home_is_busy
    on.finish("other#1", after=1.0)
    assert on.replica_of("long#2") == "b"
    assert on.replica_of("short#1") == "a"
    on.finish("long#2")
    assert on.replica_of("long#3") == "b", "which is its home now"
    on.drain()


def test_stealing_needs_an_idle_replica(home_is_busy):
    """A replica that has calls of its own to start leaves those that wait for another alone."""
    on = home_is_busy
    on.arrive("longer", cap=20)
    on.finish("other#1", after=1.0)
    assert on.replica_of("longer#1") == "b"
    on.finish("short#1")
    assert on.replica_of("long#2") == "a"
    on.drain()


def test_stealing_for_those_who_waited_too_long(home_is_busy):
    """A program that crossed goes first on whatever replica has room."""
    on = home_is_busy
    on.send(TimerFired("tick"), after=100.0)
    on.arrive("longer", cap=20)
    on.finish("other#1", after=1.0)
    assert on.replica_of("long#2") == "b"
    on.drain()


def test_lost_replica(stage):
    """Calls that wait for a replica that left go anywhere; those that run there end there."""
    on = stage(slots=0)
    on.pool(a=1, b=1)
    on.arrive("x", cap=3, policy=ONE_AT_A_TIME)
    on.arrive("y", cap=9)
    on.finish("x#1")
    on.pool(b=1)
    lost = [call for call in on.calls if on.replica_of(call) == "a"]
    assert len(lost) == 1
    on.fail(lost[0], "EngineUnreachable")
    on.fire(f"retry:{lost[0]}:1")
    on.drain()
    assert replicas_of(on, "x")[-1] == "b"
    assert set(on.answers) == {"x", "y"}


def test_replica_that_comes_back(stage):
    """A replica that left and returns while its calls run still holds them."""
    on = stage(slots=2)
    on.arrive(cap=4)
    on.pool(b=1)
    assert [on.replica_of(call) for call in on.calls] == ["a", "a", "b"]
    on.pool(a=2, b=1)
    assert len(on.calls) == 3
    on.finish("p0#1")
    assert on.replica_of("p0#4") == "a"
    on.drain()


def test_homeless_after_one_replica(stage):
    """With one replica left, its waiting calls stand where they are looked for."""
    on = stage(slots=0)
    on.pool(a=1, b=1)
    on.arrive("x", cap=6, policy=PolicySpec("even", {"in_flight": 3}, False))
    on.finish(on.calls[0])
    on.pool(a=1)
    on.drain()
    assert on.answers["x"].knob == 6


# Failures.


def test_backoff(stage):
    """A failed call is tried again after a delay that doubles, before its program's other calls."""
    on = stage(config=in_order(retry_seconds=0.5, max_attempts=4), slots=1)
    on.arrive(cap=2)
    on.arrive(cap=1)
    assert on.fail("p0#1")[0].at == 0.5
    assert on.calls == ["p0#2"], "the slot is free meanwhile"
    on.fire("retry:p0#1:1")
    assert on.calls == ["p0#2"]
    on.finish("p0#2")
    assert on.calls == ["p0#1"]
    assert on.live["p0#1"].attempt == 2
    on.fail("p0#1")
    assert on.timers["retry:p0#1:2"] == on.now + 1.0
    on.fire("retry:p0#1:2")
    on.drain()
    assert on.answers["p0"].knob == 2


def test_a_retry_goes_first(stage):
    """A call that is tried again goes before those of its program that were never sent."""
    on = stage(slots=1)
    on.arrive(cap=3)
    on.fail("p0#1")
    on.fire("retry:p0#1:1")
    on.finish("p0#2")
    assert on.calls == ["p0#1"]
    on.drain()


def test_no_more_attempts(stage):
    """After the last attempt the branch is lost, which self-consistency counts as settled."""
    on = stage(config=in_order(max_attempts=2), slots=2)
    program = on.arrive(cap=2)
    on.finish("p0#2")
    on.fail("p0#1", tokens=4)
    on.fire("retry:p0#1:1")
    on.fail("p0#1", tokens=4)
    answered, closed = on.answers[program], on.bills[program]
    assert (answered.status, answered.knob, answered.votes) == ("answered", 2, {"x": 1.0})
    assert (closed.failed_attempts, closed.spending.failed_tokens) == (2, 8)


def test_not_retryable(stage):
    """A call that failed for good is not tried again."""
    on = stage()
    on.arrive(cap=2)
    on.fail("p0#1", "EngineRefused", is_retryable=False)
    assert on.timers == {}
    on.drain()


def test_unasked_cancellation(stage):
    """A call that was cancelled though nobody asked is a failure, and tried again."""
    on = stage()
    program = on.arrive(cap=1)
    on.cancel("p0#1", tokens=3)
    assert program not in on.answers
    on.fire("retry:p0#1:1")
    on.finish("p0#1")
    bill = on.bills[program]
    assert (bill.spending.failed_tokens, bill.aborted_calls, bill.failed_attempts) == (3, 0, 1)


def test_unasked_cancellations_for_good(stage):
    """Cancelled at every attempt, a call fails with that as its kind."""
    on = stage(config=in_order(max_attempts=1))
    program = on.arrive(cap=1)
    on.cancel("p0#1")
    answered = on.answers[program]
    assert answered.error_kind == "Cancelled"
    assert "the call was cancelled" in answered.error


def test_stop_while_backing_off(stage):
    """A program that ends while a call backs off leaves no retry behind."""
    on = stage()
    program = on.arrive(cap=1)
    on.fail("p0#1")
    on.withdraw(program)
    assert program in on.bills
    assert on.fire("retry:p0#1:1") == []
    assert on.scheduler.ignored == 1


def test_pause_of_an_unreachable_replica(stage):
    """A replica that cannot be reached gets nothing for a while, longer each time."""
    on = stage(config=in_order(retry_seconds=1.0, max_attempts=99), slots=0)
    on.pool(a=1, b=1)
    on.arrive(cap=40)
    for seconds in (2.0, 4.0, 8.0, 16.0, 30.0, 30.0):
        here = next(call for call in on.calls if on.replica_of(call) == "a")
        on.fail(here, "EngineUnreachable")
        assert on.timers["resume:generate/a"] == on.now + seconds
        assert {on.replica_of(call) for call in on.calls} == {"b"}
        on.fire("resume:generate/a")
    here = next(call for call in on.calls if on.replica_of(call) == "a")
    on.finish(here)
    here = next(call for call in on.calls if on.replica_of(call) == "a")
    on.fail(here, "EngineUnreachable")
    assert on.timers["resume:generate/a"] == on.now + 2.0, "a success forgives"
    on.fire("resume:generate/a")
    retries = sorted((at, name) for name, at in on.timers.items() if name.startswith("retry"))
    for _, name in retries:
        on.fire(name)
    on.drain()


def test_another_replica_gets_the_next_attempt(stage):
    """A replica that cannot be reached is left alone for longer than the call waits."""
    on = stage(config=in_order(retry_seconds=1.0), slots=0)
    on.pool(a=4, b=4)
    on.arrive(cap=1)
    assert on.replica_of("p0#1") == "a"
    on.fail("p0#1", "EngineUnreachable")
    (retry,) = (name for name in on.timers if name.startswith("retry"))
    assert on.timers[retry] < on.timers["resume:generate/a"]
    on.fire(retry)
    assert on.replica_of("p0#1") == "b"
    on.drain()


def test_calls_do_not_wait_for_a_paused_replica(stage):
    """What waited for a replica that cannot be reached may run on any other, in its old place."""
    on = stage(config=in_order(retry_seconds=1.0), slots=0)
    on.pool(a=1, b=1)
    on.arrive(cap=9, policy=PolicySpec("even", {"in_flight": 3}, has_lock=False))
    on.finish("p0#1")
    assert on.calls == ["p0#2", "p0#3"], "the fourth waits for b, where the second runs"
    on.fail("p0#2", "EngineUnreachable")
    on.finish("p0#3")
    assert on.calls == ["p0#4"]
    on.fire("resume:generate/b")
    on.drain()


def test_one_pause_for_many_failures(stage):
    """Calls that fail together pause their replica once."""
    on = stage(config=in_order(retry_seconds=1.0), slots=2)
    on.arrive(cap=2)
    on.fail("p0#1", "EngineUnreachable")
    on.fail("p0#2", "EngineUnreachable")
    replica = on.scheduler._dispatcher.pools["generate"].replicas["a"]
    assert (replica.is_paused, replica.pauses) == (True, 1)
    on.fire("retry:p0#1:1")
    on.fire("retry:p0#2:1")
    assert on.calls == []
    on.fire("resume:generate/a")
    assert on.calls == ["p0#2", "p0#1"]
    on.drain()


def test_other_failures_do_not_pause(stage):
    """A replica that answers with an error can be reached."""
    on = stage(slots=1)
    on.arrive(cap=2)
    on.fail("p0#1", "EngineTimeout")
    assert on.calls == ["p0#2"]
    on.fire("retry:p0#1:1")
    on.drain()


def test_unreachable_after_it_left(stage):
    """The failure of a replica that is gone pauses nobody."""
    on = stage(slots=1)
    on.arrive(cap=1)
    on.pool(b=1)
    on.fail("p0#1", "EngineUnreachable")
    assert "resume:generate/a" not in on.timers
    on.fire("retry:p0#1:1")
    assert on.replica_of("p0#1") == "b"
    on.drain()


def test_hopeless(stage):
    """When the first branches are all lost the engine is at fault, and the program says so."""
    on = stage()
    program = on.arrive(cap=9)
    for call in on.calls[:3]:
        on.fail(call, "EngineRefused", is_retryable=False)
    answered = on.answers[program]
    assert (answered.status, answered.error_kind) == ("failed", "EngineRefused")
    on.drain()


def test_pools_are_apart(stage):
    """A full pool does not hold up the calls of another."""

    def execute(self, context):
        yield Sample(WORK, pool="second")

    on = stage(toy(execute), slots=1)
    on.send(PoolChanged("second", (Replica("s", 1),)))
    on.arrive(cap=5)
    on.arrive("t", spec="toy", params={})
    assert on.replica_of("t#1") == "s"
    on.drain()
