"""Intervals over seeds, against published values of Student's t."""

from __future__ import annotations

import builtins
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.core.errors import ConfigError, UserError
from dynasor.evaluate.paired import Interval
from dynasor.online.seeds import over_seeds, ratio_over_seeds

FIVE = [1.0, 2.0, 3.0, 4.0, 5.0]
POSITIVE = st.floats(0.01, 100)


def test_five_seeds():
    """For four degrees of freedom the interval is 2.776 standard errors to each side."""
    found = over_seeds(FIVE)
    half = 2.7764 * (2.5 / 5) ** 0.5
    assert found.estimate == 3.0
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half), rel=1e-4)


def test_equal_values():
    """Seeds that agree leave no width."""
    assert over_seeds([2.0] * 5) == Interval(2.0, 2.0, 2.0)


def test_one_seed():
    """One seed says nothing of the spread."""
    assert over_seeds([2.0]) == Interval(2.0, -inf, inf)
    assert ratio_over_seeds([3.0], [2.0]) == Interval(pytest.approx(1.5), 0.0, inf)


@pytest.mark.parametrize("values", [[], [1.0, inf], [nan, 1.0]])
def test_no_values(values):
    """A bound, or nothing at all, has no interval."""
    with pytest.raises(UserError, match="one finite value a seed"):
        over_seeds(values)


def test_ratio():
    """A ratio that is the same on every seed has no width, however the seeds differ."""
    found = ratio_over_seeds([2.0, 20.0, 200.0], [1.0, 10.0, 100.0])
    assert (found.estimate, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=2, max_size=6))
def test_ratio_turned_over(pairs):
    """The ratio turned over is the interval turned over, as an arithmetic mean's is not."""
    left, right = zip(*pairs, strict=True)
    found, turned = ratio_over_seeds(left, right), ratio_over_seeds(right, left)
    assert found.low <= found.estimate <= found.high
    assert turned.estimate == pytest.approx(1 / found.estimate)
    assert turned.low == pytest.approx(1 / found.high)


@pytest.mark.parametrize(("left", "right"), [([1.0], [1.0, 2.0]), ([0.0], [1.0]), ([1.0], [-1.0])])
def test_no_ratio(left, right):
    """What has no ratio on every seed is refused."""
    with pytest.raises(UserError, match="positive values over the same seeds"):
        ratio_over_seeds(left, right)


def test_no_scipy(monkeypatch):
    """Without scipy one line says what to install."""
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match="pip install 'dynasor-serve"):
        over_seeds(FIVE)
