"""What a policy sees of the load: other programs' calls, slots, and rounds to the deadline."""

from __future__ import annotations

from math import inf

import pytest
from msgspec import Struct
from toys.stage import in_order

from dynasor.core.allocation import Grant, Stop, View, policies
from dynasor.core.types import PolicySpec

LOOKS: list[View] = []


class Watching(Struct, frozen=True):
    """Grants all, and keeps what it saw."""

    speculative: int = 0

    def decide(self, view: View) -> Grant | Stop:
        LOOKS.append(view)
        if view.knob >= view.cap:
            return Stop("cap")
        if self.speculative and not view.granted:
            return Grant(1, self.speculative)
        return Grant(view.cap - view.granted)


@pytest.fixture
def looks():
    """The views that watching policies saw in this test."""
    LOOKS.clear()
    return LOOKS


WATCHING = {"policies": {**policies(), "watching": Watching}}
WATCHED = PolicySpec("watching", {}, False)


def test_others_calls(stage, looks):
    """The load is the calls of others that run or wait, for each slot, and never one's own."""
    on = stage(slots=4, **WATCHING)
    on.arrive("first", cap=6, policy=WATCHED)
    assert (looks[-1].busy, looks[-1].slots, looks[-1].load, looks[-1].idle) == (0, 4, 0.0, 4)
    on.arrive("second", cap=3, policy=WATCHED)
    assert (looks[-1].busy, looks[-1].load, looks[-1].idle) == (6, 1.5, 0)
    on.finish("first#1")
    assert looks[-1].busy == 3
    on.drain()
    assert looks[-1].busy == 0


def test_speculative_calls_of_others(stage, looks):
    """Calls that only fill idle slots are no load, running or waiting, until they are needed."""
    on = stage(slots=4, **WATCHING)
    on.arrive("eager", cap=6, policy=PolicySpec("watching", {"speculative": 5}, False))
    on.arrive("other", cap=1, policy=WATCHED)
    assert looks[-1].busy == 1
    on.finish("eager#1")
    on.arrive("another", cap=1, policy=WATCHED)
    assert looks[-1].busy == 5 + 1
    on.drain()


def test_aborted_calls_of_others(stage, looks):
    """A call that is being aborted is a load until its slot is free."""
    on = stage(slots=4, **WATCHING)
    on.arrive("gone", cap=3)
    on.withdraw("gone")
    on.arrive("one", cap=1, policy=WATCHED)
    assert looks[-1].busy == 3
    for call in list(on.aborted):
        on.cancel(call)
    on.arrive("two", cap=1, policy=WATCHED)
    assert looks[-1].busy == 1
    on.drain()


def test_without_slots(stage, looks):
    """A pool without replicas has no load to speak of."""
    on = stage(slots=0, **WATCHING)
    on.pool()
    on.arrive(cap=2)
    on.arrive(cap=2, policy=WATCHED)
    assert (looks[-1].slots, looks[-1].load, looks[-1].idle) == (0, 0.0, 0)
    on.pool(a=1)
    on.drain()


def test_rounds(stage, looks):
    """Rounds are the units that fit before the deadline, at the estimates and then as measured."""
    config = in_order(tokens_per_knob=100.0, seconds_per_token=0.1)
    on = stage(config=config, slots=4, **WATCHING)
    on.arrive("free", cap=1, policy=WATCHED)
    assert looks[-1].rounds == inf
    on.arrive("hurried", cap=4, policy=WATCHED, deadline_seconds=30.0)
    assert looks[-1].rounds == pytest.approx(3.0)
    on.finish("hurried#1", tokens=20, after=10.0)
    assert looks[-1].rounds == pytest.approx(20.0 / (20 * 0.5))
    on.drain()
