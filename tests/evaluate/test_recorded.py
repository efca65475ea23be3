"""Recorded questions as numbers, against direct computations."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.recorded import recorded, recordings

from dynasor.core.certaindex import entropy_certaindex
from dynasor.core.errors import UserError
from dynasor.evaluate.recorded import check_cap, trajectory


def leader_of(votes):
    """The most frequent class, the first seen among equals, by counting anew."""
    counts = Counter(vote for vote in votes if vote is not None)
    return max(counts, key=lambda group: (counts[group], -votes.index(group)), default=None)


@given(recordings(), st.integers(0, 3), st.data())
def test_trajectory(question, seed, data):
    """After each sample stand its leader, certaindex, tokens and quality."""
    cap = data.draw(st.integers(1, len(question.tokens)))
    order = question.order(seed)[:cap]
    found = trajectory(question, cap, seed)
    for knob in range(1, cap + 1):
        votes = [question.classes[place] for place in order[:knob]]
        leader = leader_of(votes)
        assert found.leaders[knob - 1] == (-1 if leader is None else leader)
        assert found.quality[knob - 1] == (0 if leader is None else question.quality[leader])
        assert found.tokens[knob - 1] == sum(question.tokens[place] for place in order[:knob])
        expected = entropy_certaindex(Counter(votes).values())
        assert found.certaindex[knob - 1] == pytest.approx(expected)
    assert len(found.leaders) == cap


@given(recordings(), st.integers(0, 3))
def test_needed_and_settled(question, seed):
    """`needed` is the first vote as good as the whole, `settled` the first after the last worse."""
    found = trajectory(question, len(question.tokens), seed)
    quality = found.quality.tolist()
    good = [knob for knob, worth in enumerate(quality, start=1) if worth >= quality[-1]]
    worse = [knob for knob, worth in enumerate(quality, start=1) if worth < quality[-1]]
    assert found.needed == (good[0] if quality[-1] > 0 else None)
    assert found.settled == max(worse, default=0) + 1
    if found.needed is not None:
        assert found.needed <= found.settled <= len(quality)


def test_needed_is_before_settled():
    """A vote that is right, then wrong, then right again was needed once and settled later."""
    question = recorded("abbaa", right=(0,))
    paths = [trajectory(question, 5, seed) for seed in range(50)]
    assert any(path.needed == 1 and path.settled > 1 for path in paths)


def test_all_null():
    """Without any answer nobody leads, all agree, and nothing is needed."""
    found = trajectory(recorded("---"), 3, 0)
    assert found.leaders.tolist() == [-1, -1, -1]
    assert found.certaindex.tolist() == [0.0, 1.0, 1.0]
    assert (found.needed, found.settled) == (None, 1)


@given(st.integers(0, 20), st.integers(0, 100))
def test_order(count, seed):
    """A shuffle is a permutation, the same each time."""
    question = recorded("a" * count)
    assert sorted(question.order(seed)) == list(range(count))
    assert question.order(seed) == question.order(seed)


def test_orders_differ():
    """Shuffles differ by seed and by question."""
    one, other = recorded("a" * 20, name="one"), recorded("a" * 20, name="other")
    assert one.order(0) != one.order(1)
    assert one.order(0) != other.order(0)


@pytest.mark.parametrize(
    ("questions", "cap", "match"),
    [
        ([recorded("ab")], 0, "the cap is 0; at least 1"),
        ([], 3, "no question"),
        (
            [recorded("abc"), recorded("ab", name="few"), recorded("a", name="least")],
            3,
            "cap 3 is beyond what was recorded: 2 of 3 questions .* 'least' has 1; ",
        ),
        ([recorded("")], 1, "'q' has 0"),
    ],
)
def test_bad_cap(questions, cap, match):
    """A cap that cannot be had is one line that says how many samples there are."""
    with pytest.raises(UserError, match=match) as caught:
        check_cap(questions, cap)
    assert "\n" not in str(caught.value)


def test_good_cap():
    """The cap may be all that every question has."""
    check_cap([recorded("abc"), recorded("abcd")], 3)
