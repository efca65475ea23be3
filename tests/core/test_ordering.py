from __future__ import annotations

from math import inf, nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.stage import in_order

from dynasor.core.config import OrderingSpec
from dynasor.core.errors import ConfigError, UnknownName
from dynasor.core.ordering import (
    AgesSome,
    AppFifo,
    Deadline,
    Demand,
    Gang,
    Plas,
    Sjf,
    make_ordering,
    orderings,
)
from dynasor.core.types import PolicySpec


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


def test_plas():
    """Least attained service ranks by level of tokens, and by arrival within one."""
    demands = [
        demand(0, attained=300),
        demand(1, attained=255),
        demand(2, attained=0),
        demand(3, attained=511),
        demand(4, attained=512),
    ]
    assert ranked(Plas(), *reversed(demands)) == [1, 2, 0, 3, 4]


@pytest.mark.parametrize(
    ("attained", "level"), [(0, 1), (99, 1), (100, 2), (299, 2), (300, 3), (899, 3), (10**9, 3)]
)
def test_plas_levels(attained, level):
    """A level ends where the next begins, each is `growth` times as far, the last has no end."""
    assert Plas(first=100.0, growth=3.0, levels=3).key(demand(0, attained=attained))[0] == level


def test_plas_of_one_level():
    """With one level, least attained service is first come first served."""
    assert ranked(Plas(levels=1), demand(1), demand(0, attained=10**6)) == [0, 1]


def hurried(number, latest, **rest):
    return demand(number, latest_start=latest, **rest)


def test_deadline():
    """Who must start soonest goes first; then those in no hurry; last those that come too late."""
    demands = [
        hurried(0, 30.0, as_of=20.0),
        hurried(1, 25.0, as_of=20.0),
        demand(2, as_of=20.0, knob_left=2),
        demand(3, as_of=20.0),
        hurried(4, 19.0, as_of=20.0, knob_left=2),
        hurried(5, 10.0, as_of=20.0, knob_left=1),
    ]
    assert ranked(Deadline(), *demands) == [1, 0, 3, 2, 5, 4]


def test_deadlines_that_are_equal():
    """Of programs that must start within the same step, the one with least left goes first."""
    early, late = hurried(0, 21.0, knob_left=9), hurried(1, 24.0, knob_left=1)
    assert ranked(Deadline(slack_step=5.0), early, late) == [1, 0]
    assert ranked(Deadline(slack_step=0.0), early, late) == [0, 1]
    same = hurried(2, 21.0, knob_left=1)
    assert ranked(Deadline(slack_step=0.0), early, same) == [2, 0]


def test_deadline_margin():
    """A program is taken to need a share of its solo time more than estimated."""
    one = hurried(0, 10.0, solo_seconds=4.0, as_of=8.0)
    on_time, hopeless = (Deadline(margin=margin).key(one)[0] for margin in (0.5, 0.6))
    assert on_time < hopeless
    assert Deadline(margin=0.6).changes_at(one) == nextafter(7.6, inf)


def test_who_ages_under_deadline():
    """Only programs without a deadline age: the others end at theirs."""
    assert isinstance(Deadline(), AgesSome)
    assert Deadline().ages(demand(0))
    assert not Deadline().ages(hurried(0, 9.0))
    assert not any(isinstance(made(), AgesSome) for made in (AppFifo, Gang, Sjf, Plas))


times = st.floats(-100.0, 1e6)


@given(
    latest=times | st.just(inf),
    solo=st.floats(0.0, 1e3),
    looks=st.lists(times, min_size=2, max_size=2),
    step=st.sampled_from([0.0, 0.7, 5.0]),
)
def test_deadline_keys_change_when_they_say(latest, solo, looks, step):
    """Between two looks the key changes exactly if `changes_at` of the first lies between them."""
    ordering = Deadline(slack_step=step)
    first, then = sorted(looks)
    one = hurried(0, latest, solo_seconds=solo, as_of=first)
    before, changes = ordering.key(one), ordering.changes_at(one)
    one.as_of = then
    has_changed = ordering.key(one) != before
    assert has_changed == (changes is not None and first < changes <= then)


def test_deadline_before_any_look():
    """A program is ranked before its queue was ever looked at."""
    assert Deadline().key(hurried(0, 10.0, as_of=-inf))[0] == 0


# In a scheduler.


def test_latest_start_of_a_narrow_program(stage):
    """A program must start the earlier the fewer units it runs side by side."""
    on = stage(config=in_order(tokens_per_knob=100.0, seconds_per_token=0.01), slots=8)
    two_at_a_time = PolicySpec("even", {"in_flight": 2}, has_lock=False)
    on.arrive("narrow", cap=8, policy=two_at_a_time, deadline_seconds=50.0)
    demand = on.run("narrow").demand
    assert demand.latest_start == 50.0 - 1.0, "it has not shown yet how narrow it is"
    on.finish("narrow#1", tokens=100, after=1.0)
    assert demand.latest_start == pytest.approx(50.0 - 7 / 2)
    assert demand.solo_seconds == pytest.approx(1.0)
    on.drain()


def test_deadline_in_a_scheduler(stage):
    """With one slot the urgent program goes first, and one that has become hopeless last."""
    config = in_order("deadline", tokens_per_knob=10.0, seconds_per_token=0.1)
    on = stage(config=config, slots=1)
    on.arrive("busy", cap=1)
    on.arrive("calm", cap=1)
    on.arrive("hopeless", cap=1, deadline_seconds=10.0)
    on.arrive("urgent", cap=1, deadline_seconds=20.0)
    assert on.scheduler._runs["hopeless"].demand.latest_start == 9.0
    on.finish("busy#1", after=8.6)
    on.drain()
    assert on.started() == ["busy", "urgent", "calm", "hopeless"]


def test_plas_in_a_scheduler(stage):
    """A program that has had its first tokens lets one go first that has had none."""
    on = stage(config=in_order("plas"), slots=1)
    one_at_a_time = PolicySpec("even", {"in_flight": 1}, has_lock=False)
    on.arrive("first", cap=3, policy=one_at_a_time)
    on.arrive("second", cap=3, policy=one_at_a_time)
    for _ in range(6):
        on.finish(on.calls[0], tokens=200)
    assert on.started() == ["first", "first", "second", "second", "first", "second"]


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("plas", {"first": 0}),
        ("plas", {"growth": 1}),
        ("plas", {"levels": 0}),
        ("deadline", {"slack_step": -1}),
        ("deadline", {"margin": -0.1}),
    ],
)
def test_out_of_range(name, params):
    """A parameter out of range is refused in one line that names it."""
    with pytest.raises(ConfigError, match=f"ordering '{name}'.*{next(iter(params))}"):
        make_ordering(OrderingSpec(name, params), orderings())


@pytest.mark.parametrize("name", orderings())
def test_by_name(name):
    """Every ordering that ships is built from its name; none changes without a deadline."""
    made = make_ordering(OrderingSpec(name), orderings())
    assert isinstance(made, orderings()[name])
    assert made.changes_at(demand(0)) is None


def test_unknown():
    """An unknown ordering is refused with those that are known."""
    with pytest.raises(
        UnknownName, match="unknown ordering 'gagn' .*app-fifo, deadline, gang.*'gang'"
    ):
        make_ordering(OrderingSpec("gagn"), orderings())


def test_wrong_parameter():
    """A parameter that an ordering does not have is refused."""
    with pytest.raises(ConfigError, match="ordering 'sjf'.*least"):
        make_ordering(OrderingSpec("sjf", {"least": 1}), orderings())
