"""Paired intervals, against a direct computation."""

from __future__ import annotations

import random

import numpy as np
import pytest

from dynasor.core.errors import UserError
from dynasor.evaluate import Interval, paired_mean, ratio_of_sums
from dynasor.evaluate.paired import RESAMPLES

LEFT = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0]
RIGHT = [2.0, 7.0, 1.0, 8.0, 2.0, 8.0, 1.0, 8.0]


def quantile(values, share):
    """The quantile of sorted values, interpolated linearly, by hand."""
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (place - low) * (values[high] - values[low])


def by_hand(statistic, seed):
    """The percentile interval of a statistic over resampled questions, with loops."""
    draws = np.random.default_rng(seed).integers(0, len(LEFT), size=(RESAMPLES, len(LEFT)))
    values = sorted(statistic([int(place) for place in draw]) for draw in draws)
    return quantile(values, 0.025), quantile(values, 0.975)


def mean_difference(places):
    return sum(LEFT[n] - RIGHT[n] for n in places) / len(places)


def ratio(places):
    return sum(LEFT[n] for n in places) / sum(RIGHT[n] for n in places)


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize(
    ("interval", "statistic"), [(paired_mean, mean_difference), (ratio_of_sums, ratio)]
)
def test_against_a_direct_computation(interval, statistic, seed):
    """Estimate and interval are those that loops over the same draws give."""
    found = interval(LEFT, RIGHT, seed)
    assert found.estimate == pytest.approx(statistic(range(len(LEFT))))
    assert (found.low, found.high) == pytest.approx(by_hand(statistic, seed))


def test_against_the_normal_approximation():
    """For many questions the interval of a mean is about 1.96 standard errors to each side."""
    source = random.Random(1)
    left = [source.gauss(1.0, 2.0) for _ in range(2000)]
    right = [source.gauss(0.5, 1.0) for _ in range(2000)]
    differences = np.asarray(left) - np.asarray(right)
    error = differences.std(ddof=1) / len(left) ** 0.5
    found = paired_mean(left, right)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.05)
    assert found.estimate == pytest.approx(differences.mean())


def test_pairs_matter():
    """The interval is that of the differences: a constant gap has no width."""
    found = paired_mean([x + 2.0 for x in RIGHT], RIGHT)
    assert found == Interval(2.0, 2.0, 2.0)


def test_same_seed():
    """One seed gives one interval, another seed another."""
    source = random.Random(3)
    left = [source.random() for _ in LEFT]
    assert paired_mean(left, RIGHT, 1) == paired_mean(left, RIGHT, 1)
    assert paired_mean(left, RIGHT, 1) != paired_mean(left, RIGHT, 2)


def test_truth_values():
    """Right and wrong are one and nought."""
    assert paired_mean([True, True, False, True], [False] * 4).estimate == 0.75


def test_contains():
    """An interval contains its ends and what is between."""
    interval = Interval(0.5, 0.25, 0.75)
    assert 0.25 in interval
    assert 0.75 in interval
    assert 0.2 not in interval
    assert 0.8 not in interval


@pytest.mark.parametrize(("left", "right"), [([1.0], [1.0, 2.0]), ([1.0, 2.0], [1.0]), ([], [])])
@pytest.mark.parametrize("interval", [paired_mean, ratio_of_sums])
def test_no_pairs(interval, left, right):
    """What is no list of pairs is refused."""
    with pytest.raises(UserError, match="same questions, at least one"):
        interval(left, right)
