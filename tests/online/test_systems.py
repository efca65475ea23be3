"""Ways to serve, by name."""

from __future__ import annotations

import pytest

from dynasor.core.config import OrderingSpec
from dynasor.core.errors import UnknownName
from dynasor.core.ordering import make_ordering, orderings
from dynasor.core.types import PolicySpec
from dynasor.online.systems import make_system, system_names

OF_ENGINES = ("fcfs", "lpm", "lpm-128")


def test_names():
    """Baselines come first, and every name makes a system that is called so."""
    assert system_names() == (*OF_ENGINES, "app-fifo", "plas", "gang", "sjf", "deadline")
    assert [make_system(name).name for name in system_names()] == [*system_names()]


@pytest.mark.parametrize("name", OF_ENGINES)
def test_engine_orders(name):
    """Where the engine owns the order, nothing that is said of the scheduler's changes it."""
    system = make_system(name)
    assert (system.ordering, system.engine_order) == (None, name)
    assert system.config(3).ordering == OrderingSpec("app-fifo", aging_factor=0.0)
    assert system.config(3).seed == 3


@pytest.mark.parametrize("name", [one for one in system_names() if one not in OF_ENGINES])
def test_scheduler_orders(name):
    """Where the scheduler owns the order, the engine takes calls as they come."""
    system = make_system(name)
    assert (system.ordering.name, system.engine_order) == (name, "fcfs")
    assert make_ordering(system.config(0).ordering, orderings())


def test_aging():
    """Ours age unless told otherwise, baselines only if told so."""
    found = {name: make_system(name).ordering for name in system_names()[3:]}
    aged = [name for name, ordering in found.items() if ordering.aging_factor > 0]
    assert aged == ["gang", "sjf", "deadline"]
    assert make_system("sjf", aging_factor=0.0).ordering.aging_factor == 0
    assert make_system("plas", aging_factor=7.0).ordering.aging_factor == 7


def test_deadlines():
    """Only the order that looks at deadlines ends programs at them, unless told otherwise."""
    assert [name for name in system_names() if make_system(name).enforces_deadlines] == ["deadline"]
    assert make_system("fcfs", enforces_deadlines=True).enforces_deadlines
    assert not make_system("deadline", enforces_deadlines=False).enforces_deadlines


def test_given():
    """A policy and an ordering's parameters are passed on."""
    policy = PolicySpec("beta")
    assert make_system("plas", policy, params={"first": 5.0}).ordering.params == {"first": 5.0}
    assert make_system("lpm", policy).policy == policy


def test_unknown():
    """A system that nobody made is refused, with those that there are."""
    with pytest.raises(UnknownName, match=r"system 'sjff'.*sjf"):
        make_system("sjff")
