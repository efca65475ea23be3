"""Comparing two trials of the same questions: paired bootstrap over questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dynasor.core.errors import UserError

__all__ = ["Interval", "paired_mean", "ratio_of_sums"]

Values = np.ndarray[tuple[int], np.dtype[np.float64]]
RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval (percentile bootstrap; Efron and Tibshirani, 1993)."""

    estimate: float
    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def paired_mean(left: Sequence[float], right: Sequence[float], seed: int = 0) -> Interval:
    """Return the mean of `left - right` over questions, with its interval.

    Raises `UserError` unless both have one value a question, and there is a question.
    """
    above, below = _pairs(left, right)
    difference = above - below
    means = difference[_draws(len(difference), seed)].mean(axis=1)
    return _interval(float(difference.mean()), means)


def ratio_of_sums(left: Sequence[float], right: Sequence[float], seed: int = 0) -> Interval:
    """Return `sum(left) / sum(right)` over the same questions, with its interval.

    Raises as `paired_mean` does.
    """
    above, below = _pairs(left, right)
    draws = _draws(len(above), seed)
    ratios = above[draws].sum(axis=1) / below[draws].sum(axis=1)
    return _interval(float(above.sum() / below.sum()), ratios)


def _pairs(left: Sequence[float], right: Sequence[float]) -> tuple[Values, Values]:
    if not 0 < len(left) == len(right):
        raise UserError(
            f"{len(left)} values cannot be paired with {len(right)}: give two lists over the "
            "same questions, at least one"
        )
    return np.asarray(left, dtype=float), np.asarray(right, dtype=float)


def _draws(count: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    return np.random.default_rng(seed).integers(0, count, size=(RESAMPLES, count))


def _interval(estimate: float, values: Values) -> Interval:
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(estimate, float(low), float(high))
