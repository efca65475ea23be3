from __future__ import annotations

import pytest

from dynasor.core.config import OrderingSpec
from dynasor.core.errors import ConfigError, UnknownName
from dynasor.core.ordering import AppFifo, Demand, Gang, Sjf, make_ordering, orderings


def demand(number, **rest):
    settings = {"arrived": float(number), "knob_left": 1, "tokens_per_knob": 10.0, **rest}
    return Demand(f"p{number}", number, "w", "", **settings)


def ranked(ordering, *demands):
    return [one.number for one in sorted(demands, key=ordering.key)]


def test_app_fifo():
    """App-FIFO ranks by arrival, whatever runs and however long it takes."""
    long, short = demand(0, knob_left=99), demand(1, running=3)
    assert ranked(AppFifo(), short, long) == [0, 1]


def test_gang():
    """Gang ranks programs that hold slots first, each group by arrival."""
    demands = [demand(0), demand(1, running=1), demand(2), demand(3, running=5)]
    assert ranked(Gang(), *reversed(demands)) == [1, 3, 0, 2]


def test_sjf():
    """Shortest job first ranks by knob left times tokens per knob."""
    demands = [
        demand(0, knob_left=4, tokens_per_knob=10.0),
        demand(1, knob_left=1, tokens_per_knob=39.0),
        demand(2, knob_left=20, tokens_per_knob=1.0),
    ]
    assert ranked(Sjf(), *demands) == [2, 1, 0]


@pytest.mark.parametrize("name", orderings())
def test_by_name(name):
    """Every ordering that ships is built from its name, and none changes by itself."""
    made = make_ordering(OrderingSpec(name), orderings())
    assert isinstance(made, orderings()[name])
    assert made.changes_at(demand(0)) is None


def test_unknown():
    """An unknown ordering is refused with those that are known."""
    with pytest.raises(UnknownName, match="unknown ordering 'gagn' .*app-fifo, gang, sjf.*'gang'"):
        make_ordering(OrderingSpec("gagn"), orderings())


def test_wrong_parameter():
    """A parameter that an ordering does not have is refused."""
    with pytest.raises(ConfigError, match="ordering 'sjf'.*least"):
        make_ordering(OrderingSpec("sjf", {"least": 1}), orderings())
