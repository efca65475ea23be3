"""Replicas that are ill, drain or serve sessions; and what engines are told of a call."""

from __future__ import annotations

from math import inf

import pytest
from toys.stage import EVEN, in_order

from dynasor.core import admission
from dynasor.core.commands import Abort
from dynasor.core.config import SchedulerConfig
from dynasor.core.events import Observed, PoolChanged
from dynasor.core.types import Hints, PolicySpec, Replica

ONE_AT_A_TIME = PolicySpec("even", {"in_flight": 1}, False)


def replica(on, name="a", pool="generate"):
    return on.scheduler.dispatcher.pools[pool].replicas[name]


# Health.


def test_unhealthy(stage):
    """An unhealthy replica gets nothing until it is healthy; what waits runs elsewhere."""
    on = stage(config=in_order(retry_seconds=1.0), slots=0)
    on.pool(a=1, b=1)
    on.arrive("x", cap=3, policy=ONE_AT_A_TIME)
    assert on.replica_of("x#1") == "a"
    on.send(Observed("generate", "a", is_healthy=False))
    on.finish("x#1")
    assert on.replica_of("x#2") == "b"
    on.arrive("y", cap=1)
    assert on.calls == ["x#2"]
    on.send(Observed("generate", "a"))
    assert on.replica_of("y#1") == "a"
    assert on.fire("resume:generate/a", 60.0) == [], "its timer is not waited for any more"
    on.drain()


def test_unhealthy_until_its_timer(stage):
    """Without further news it is tried again after a while, and longer each time."""
    on = stage(config=in_order(retry_seconds=1.0), slots=1)
    on.send(Observed("generate", "a", is_healthy=False))
    on.send(Observed("generate", "a", is_healthy=False))
    assert on.timers == {"resume:generate/a": 2.0}, "one pause for the same trouble"
    on.arrive(cap=1)
    assert on.calls == []
    on.fire("resume:generate/a")
    assert on.calls == ["p0#1"]
    on.send(Observed("generate", "a", is_healthy=False))
    assert on.timers["resume:generate/a"] == on.now + 4.0
    on.drain()


def test_calls_of_a_dead_replica(stage):
    """What runs on a replica that stays ill is broken off and attempted on another one."""
    on = stage(config=in_order(retry_seconds=1.0), slots=0)
    on.pool(a=1, b=1)
    on.arrive("x", cap=1)
    assert on.replica_of("x#1") == "a"
    on.send(Observed("generate", "a", is_healthy=False))
    assert on.calls == ["x#1"], "it may have been late once"
    (abort,) = on.send(Observed("generate", "a", is_healthy=False))
    assert (abort.call, abort.attempt) == ("x#1", 1)
    assert on.send(Observed("generate", "a", is_healthy=False)) == [], "once is enough"
    for is_healthy in (True, False, False):
        commands = on.send(Observed("generate", "a", is_healthy=is_healthy))
        assert not any(isinstance(command, Abort) for command in commands), "it is told already"
    on.cancel("x#1")
    on.fire("retry:x#1:1")
    assert on.replica_of("x#1") == "b"
    on.drain()


def test_a_dead_replica_without_another(stage):
    """What runs on the only replica is waited for, however ill that is."""
    on = stage(slots=1)
    on.arrive("x", cap=1)
    for _ in range(3):
        assert not on.send(Observed("generate", "a", is_healthy=False))[1:]
    assert on.calls == ["x#1"]
    on.drain()


def test_ill_while_busy(stage):
    """A busy replica that turns out to be ill is waited for until it is healthy."""
    on = stage(config=in_order(retry_seconds=1.0), slots=1)
    on.arrive(cap=1)
    on.fail("p0#1", "EngineBusy")
    on.send(Observed("generate", "a", is_healthy=False))
    on.send(Observed("generate", "a", is_healthy=True))
    on.fire("retry:p0#1:1")
    assert on.calls == ["p0#1"]
    on.drain()


def test_unreachable_and_healthy_again(stage):
    """One that could not be reached is used again as soon as it is observed healthy."""
    on = stage(config=in_order(retry_seconds=8.0), slots=1)
    on.arrive(cap=2)
    on.fail("p0#1", "EngineUnreachable")
    assert on.calls == []
    on.send(Observed("generate", "a"))
    assert on.calls == ["p0#2"]
    on.fire("retry:p0#1:1")
    on.drain()


@pytest.mark.parametrize(("pool", "name"), [("generate", "b"), ("embed", "a")])
def test_observed_and_gone(stage, pool, name):
    """What is told of a replica that is not here is ignored and counted."""
    on = stage(slots=1)
    assert on.send(Observed(pool, name, is_healthy=False)) == []
    assert on.scheduler.ignored == 1


# Draining.


def test_draining(stage):
    """A draining replica ends what it runs and gets nothing new; what waited for it may run on."""
    on = stage(slots=0)
    on.pool(a=1, b=1)
    on.arrive("x", cap=3, policy=ONE_AT_A_TIME)
    on.arrive("y", cap=3, policy=ONE_AT_A_TIME)
    on.send(PoolChanged("generate", (Replica("a", 1, is_draining=True), Replica("b", 1))))
    assert on.scheduler.dispatcher.pools["generate"].slots == 1
    on.finish("x#1")
    assert on.calls == ["y#1"]
    on.finish("y#1")
    assert [on.replica_of(call) for call in on.calls] == ["b"]
    on.pool(a=1, b=1)
    assert [on.replica_of(call) for call in on.calls] == ["b", "a"]
    on.drain()


def test_everything_drains(stage):
    """While all replicas drain calls wait, speculative ones too."""
    on = stage(slots=1)
    on.send(PoolChanged("generate", (Replica("a", 1, is_draining=True),)))
    on.arrive(cap=2, policy=PolicySpec("beta", {"speculative": 1}))
    assert on.calls == []
    assert repr(replica(on)) == "<ReplicaState a 0/0 held>"
    on.pool(a=1)
    on.drain()


# Sessions.


def test_a_session_stays_on_its_replica(stage):
    """Programs of one affinity run where the first of them ran, also after that has ended."""
    on = stage(slots=0)
    on.pool(a=2, b=2)
    on.arrive("x", cap=1, affinity="s")
    on.arrive("y", cap=1)
    assert (on.replica_of("x#1"), on.replica_of("y#1")) == ("a", "b")
    on.finish("x#1")
    on.finish("y#1")
    on.arrive("busy", cap=1)
    assert on.replica_of("busy#1") == "a"
    on.arrive("z", cap=1, affinity="s")
    assert on.replica_of("z#1") == "a", "although the other one is emptier"
    assert on.submits[-1].call.affinity == "s"
    on.drain()


def test_a_session_is_a_wish(stage):
    """A session whose replica is full moves to one that would idle, and stays there."""
    on = stage(slots=0)
    on.pool(a=1, b=1)
    on.arrive("x", cap=1, affinity="s")
    on.arrive("y", cap=1, affinity="s")
    assert (on.replica_of("x#1"), on.replica_of("y#1")) == ("a", "b")
    assert dict(on.scheduler.dispatcher.pools["generate"]._sessions) == {"s": "b"}
    on.drain()


def test_sessions_are_forgotten(stage, monkeypatch):
    """The affinities of sessions are kept for the latest used ones only."""
    monkeypatch.setattr(admission, "SESSIONS", 3)
    on = stage(slots=0)
    on.pool(a=1, b=1)
    for session in "stusv":
        on.arrive(cap=1, affinity=session)
        on.drain()
    pool = on.scheduler.dispatcher.pools["generate"]
    assert list(pool._sessions) == ["u", "s", "v"]
    assert pool._homes == {}


def test_a_session_leaves_a_replica_that_failed(stage):
    """After a failure a session may settle elsewhere."""
    on = stage(slots=0)
    on.pool(a=1, b=1)
    on.arrive("x", cap=1, affinity="s")
    on.fail("x#1")
    assert dict(on.scheduler.dispatcher.pools["generate"]._sessions) == {}
    on.fire("retry:x#1:1")
    on.drain()


# Hints.


def test_hints(stage):
    """With hints each call says whose it is, what is left, how much time, and who comes first."""
    on = stage(config=in_order("gang", has_hints=True, tokens_per_knob=50.0), slots=2)
    on.arrive("x", cap=4, workload="w", deadline_seconds=100.0)
    demand = on.run("x").demand
    assert on.submits[0].hints == Hints("x", "w", 4.0, 50.0, 1, demand.latest_start)
    assert 0 < demand.latest_start < 100.0
    on.finish("x#1", tokens=20, after=3.0)
    hints = on.submits[-1].hints
    assert (hints.knob_left, hints.tokens_per_knob) == (3.0, 20.0)
    assert hints.slack_seconds == on.run("x").demand.latest_start - 3.0
    on.drain()


def test_hints_without_a_deadline(stage):
    """Without a deadline there is no slack; a later program has a higher rank."""
    on = stage(config=in_order(has_hints=True), slots=2)
    on.arrive("x", cap=1)
    on.arrive("y", cap=1)
    assert [one.hints.slack_seconds for one in on.submits] == [None, None]
    assert [one.hints.rank for one in on.submits] == [1, 2]
    assert on.run("x").demand.latest_start == inf
    on.drain()


def test_hints_of_speculative_calls(stage):
    """Speculative calls rank below all needed ones."""
    on = stage(config=in_order(has_hints=True), slots=2)
    on.arrive("x", cap=2, policy=PolicySpec("beta", {"in_flight": 1, "speculative": 1}))
    needed, speculative = (one.hints.rank for one in on.submits)
    assert needed < 2**30 < speculative < 2**31
    on.drain()


def test_no_hints(stage):
    """Engines are told nothing unless it is asked for."""
    on = stage(slots=1)
    on.arrive(cap=1, policy=EVEN)
    assert on.submits[0].hints is None
    assert not SchedulerConfig().has_hints
    on.drain()
