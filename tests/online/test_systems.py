"""Ways to serve, by name."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from toys.experiments import experiment, urn

from dynasor.core.config import OrderingSpec
from dynasor.core.errors import ConfigError, UnknownName
from dynasor.core.ordering import make_ordering, orderings
from dynasor.core.types import PolicySpec
from dynasor.online.run import simulate
from dynasor.online.systems import has_aging, make_system, system_names

OF_ENGINES = ("fcfs", "lpm", "lpm-128")
LAST_COME = """
from msgspec import Struct

class LastCome(Struct, frozen=True, forbid_unknown_fields=True):
    sign: float = -1.0

    def key(self, demand):
        return (self.sign * demand.arrived,)

    def changes_at(self, demand):
        return None
"""


def test_names():
    """Baselines come first, and every name makes a system that is called so."""
    assert system_names() == (*OF_ENGINES, "app-fifo", "plas", "gang", "sjf", "deadline")
    assert [make_system(name).name for name in system_names()] == [*system_names()]
    assert system_names(orderings()) == system_names(), "nothing else is installed"


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
    assert aged == ["gang", "sjf", "deadline"] == [*filter(has_aging, system_names())]
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


def test_wrong_parameters():
    """Parameters that an ordering does not take are refused, and any of an engine's own order."""
    with pytest.raises(ConfigError, match=r"ordering 'deadline': .*`step`.* slack_step, margin"):
        make_system("deadline", params={"step": 2.0})
    match = "^system 'lpm' is the engine's own order and has no parameters; leave out first, last$"
    with pytest.raises(ConfigError, match=match):
        make_system("lpm", params={"first": 1, "last": 2})


@pytest.fixture
def last_come(tmp_path, monkeypatch):
    """Install a package whose ordering `last-come` puts the latest arrival first."""
    info = tmp_path / "x-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: x\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dynasor.orderings]\nlast-come = x_mod:LastCome\n")
    (tmp_path / "x_mod.py").write_text(LAST_COME)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("x_mod", None)


@pytest.mark.usefixtures("last_come")
def test_installed_ordering():
    """An ordering that a package registers is a system like ours, and decides who is served."""
    assert system_names() == (*system_names(orderings()), "last-come")
    system = make_system("last-come", params={"sign": -2.0})
    aging = OrderingSpec().aging_factor
    assert system.ordering == OrderingSpec("last-come", {"sign": -2.0}, aging)
    assert (system.engine_order, system.enforces_deadlines) == ("fcfs", False)
    one = experiment(urn(), programs=20, rate=50.0)
    last, first = (
        simulate(one, make_system("last-come", params={"sign": sign}, aging_factor=0.0))
        for sign in (-1.0, 1.0)
    )
    assert first.has_ended.all()
    assert (np.diff(first.first_start) >= 0).all()
    assert last.has_ended.all()
    assert last.first_start[-1] < first.first_start[-1]


def test_unknown():
    """A system that nobody made is refused, with those that there are."""
    with pytest.raises(UnknownName, match=r"system 'sjff'.*sjf"):
        make_system("sjff")
