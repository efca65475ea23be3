from __future__ import annotations

from math import inf, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.core.certaindex import Tally, Votes, entropy_certaindex

sizes = st.lists(st.integers(1, 40), min_size=1, max_size=8)


def direct(sizes):
    """The paper's formula, term by term."""
    total = sum(sizes)
    entropy = -sum(size / total * log(size / total) for size in sizes)
    return (log(total) - entropy) / log(total)


@given(sizes.filter(lambda sizes: sum(sizes) >= 2))
def test_formula(sizes):
    """The certaindex is the paper's (log n - H) / log n."""
    assert entropy_certaindex(sizes) == pytest.approx(direct(sizes), abs=1e-12)


@given(sizes)
def test_range(sizes):
    """The certaindex lies in [0, 1]."""
    assert 0.0 <= entropy_certaindex(sizes) <= 1.0


@pytest.mark.parametrize("size", range(2, 50))
def test_extremes(size):
    """Full agreement is exactly 1, no agreement at all exactly 0."""
    assert entropy_certaindex([size]) == 1.0
    assert entropy_certaindex([1] * size) == 0.0


@pytest.mark.parametrize("sizes", [[], [0], [1], [0, 1]])
def test_too_few(sizes):
    """Fewer than two answers say nothing: 0."""
    assert entropy_certaindex(sizes) == 0.0


def test_empty_classes():
    """Classes of size 0 do not count."""
    assert entropy_certaindex([3, 0, 2, 0]) == entropy_certaindex([3, 2])


def tally(*groups):
    made = Tally()
    for group in groups:
        made.add(*group) if isinstance(group, tuple) else made.add(group)
    return made


def test_nulls_are_one_class():
    """Nulls are one class of their own for the entropy, and nobody's votes."""
    counted = tally(0, None, 0, None, 1)
    assert counted.certaindex() == pytest.approx(direct([2, 2, 1]))
    assert (counted.size, counted.nulls) == (5, 2)
    assert counted.weights == {0: 2.0, 1: 1.0}


def test_null_never_wins():
    """The leader is a class that somebody voted for, however many nulls there are."""
    assert tally(None, None, None, 4).leader() == 4
    assert tally(None, None).leader() is None
    assert tally().leader() is None


def test_ties():
    """Ties go to the class that was seen first."""
    assert tally(7, 2, 2, 7).leader() == 7
    assert tally(2, 7, 7, 2).leader() == 2


def test_weights():
    """Weights decide the leader, counts the certaindex."""
    weighed = tally((0, 0.2), (0, 0.2), (1, 0.9))
    assert weighed.leader() == 1
    assert weighed.sizes == {0: 2, 1: 1}
    assert weighed.certaindex() == pytest.approx(direct([2, 1]))


@given(st.lists(st.integers(0, 4), max_size=12))
def test_top_two(groups):
    """The top two are the greatest weight and the next, 0 where there is none."""
    counted = tally(*groups)
    weights = sorted(counted.weights.values(), reverse=True)
    assert counted.top_two() == tuple([*weights, 0.0, 0.0][:2])


@given(st.data())
def test_settled_is_a_prefix(data):
    """The settled votes are those of the longest finished run of launches from the first on."""
    groups = data.draw(st.lists(st.one_of(st.none(), st.integers(0, 3), st.just("lost"))))
    order = data.draw(st.permutations(range(len(groups))))
    votes, done = Votes(), set()
    assert [votes.launch() for _ in groups] == list(range(len(groups)))
    for ticket in order:
        group = groups[ticket]
        votes.lose(ticket) if group == "lost" else votes.record(ticket, group)
        done.add(ticket)
        prefix = next((n for n in range(len(groups)) if n not in done), len(groups))
        expected = [group for group in groups[:prefix] if group != "lost"]
        assert votes.settled.size == len(expected)
        assert votes.settled.weights == tally(*expected).weights
        assert list(votes.settled.weights) == list(tally(*expected).weights)
    assert votes.finished.size == len(groups) - groups.count("lost")
    assert votes.lost == groups.count("lost")


def test_leader_by_launch_when_all_finished():
    """Once every vote is settled a tie goes to the first launch, whoever finished first."""
    votes = Votes()
    first, second = votes.launch(), votes.launch()
    votes.record(second, 5)
    assert votes.leader() == 5
    votes.record(first, 3)
    assert votes.leader() == 3


def test_leader_of_all_that_finished():
    """While an early launch is out, the leader is that of all finished votes."""
    votes = Votes()
    tickets = [votes.launch() for _ in range(4)]
    votes.record(tickets[0], 0)
    votes.record(tickets[2], 1)
    votes.record(tickets[3], 1)
    assert votes.leader() == 1


def test_choice_wins():
    """The class that the policy chose wins over any count."""
    votes = Votes()
    votes.record(votes.launch(), 0)
    votes.choice = 9
    assert votes.leader() == 9


def test_max_weight():
    """A vote's greatest weight is 1 unless the program says otherwise."""
    assert Votes().max_weight == 1.0
    assert Votes(max_weight=inf).max_weight == inf
