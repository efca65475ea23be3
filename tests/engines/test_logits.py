"""Rewards from the numbers of pooling servers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.engines.logits import NoReward, reward_of, rows_of

numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(numbers, min_size=1, max_size=2))
def test_every_number_becomes_a_reward(row):
    """One number or two, however large, give a reward in [0, 1]."""
    assert 0.0 <= reward_of(row) <= 1.0


@given(numbers, numbers)
def test_order_is_kept(one, other):
    """A larger number is never a smaller reward."""
    low, high = sorted((one, other))
    assert reward_of([low]) <= reward_of([high])
    assert reward_of([0.0, low]) <= reward_of([0.0, high]) or low == 1.0


@given(st.floats(0.0, 1.0))
def test_probabilities_stay(right):
    """Two numbers that add up to one are probabilities already."""
    assert reward_of([1.0 - right, right]) == right


def test_logits():
    """A logit goes through the logistic function, two through the softmax."""
    assert reward_of([2.0]) == pytest.approx(1 / (1 + math.exp(-2.0)))
    assert reward_of([-3, 1]) == pytest.approx(math.exp(1) / (math.exp(-3) + math.exp(1)))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([math.nan], "expected a number, got nan"),
        ([None], "got None"),
        ([0.1, math.inf], "got inf"),
        (["NaN"], "got 'NaN'"),
        ([True], "got True"),
        ([10**400], "expected a number"),
        ([], "0 numbers a text; expected one"),
        ([0.1] * 768, "768 numbers a text"),
    ],
)
def test_no_reward(row, message):
    """What is no number, or too many of them, is said to be none."""
    with pytest.raises(NoReward, match=message):
        reward_of(row)


@pytest.mark.parametrize(
    ("data", "rows"),
    [([0.5], [[0.5]]), ([[1], [2]], [[1], [2]]), ([], []), ([None], [[None]])],
)
def test_rows(data, rows):
    """One list of numbers is one row."""
    assert rows_of(data) == rows


@pytest.mark.parametrize("data", ["AAAA", None, 1.0, [[1], 2], {"a": 1}])
def test_no_rows(data):
    """An answer of another shape is refused."""
    with pytest.raises(NoReward, match="expected numbers"):
        rows_of(data)
