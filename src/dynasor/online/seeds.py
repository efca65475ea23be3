"""Intervals over the seeds of a run: few values, so Student's t and no bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, isfinite, log
from statistics import fmean, stdev

from dynasor.core.errors import ConfigError, UserError
from dynasor.evaluate.paired import Interval

__all__ = ["over_seeds", "ratio_over_seeds"]

SHARE = 0.975
"""Of the distribution below an interval's upper end: it covers 95 %."""


def over_seeds(values: Sequence[float]) -> Interval:
    """Return the mean of one value a seed, with its 95 % interval from Student's t.

    One seed says nothing of the spread: its interval is without bounds. For two systems on the
    same seeds give the differences. Raises `UserError` for no value, or for one that is not
    finite, and `ConfigError` where scipy is not installed.
    """
    strange = [value for value in values if not isfinite(value)]
    if strange or not values:
        raise UserError(
            f"no interval over seeds from {strange[0] if strange else 'no value'}: give one finite "
            "value a seed; a rate or scale that was not found is a bound and has no mean"
        )
    mean = fmean(values)
    if len(values) == 1:
        return Interval(mean, -inf, inf)
    half = _student(len(values) - 1) * stdev(values) / len(values) ** 0.5
    return Interval(mean, mean - half, mean + half)


def ratio_over_seeds(left: Sequence[float], right: Sequence[float]) -> Interval:
    """Return the geometric mean of `left / right` over the same seeds, with its 95 % interval.

    The interval is that of the mean logarithm, as ratios of rates and scales multiply. Raises
    `UserError` unless both have one positive value a seed, else as `over_seeds` does.
    """
    if len(left) != len(right) or not all(value > 0 for value in (*left, *right)):
        raise UserError(
            f"no ratio of {len(left)} values to {len(right)}: give two lists of positive values "
            "over the same seeds"
        )
    found = over_seeds([log(above / below) for above, below in zip(left, right, strict=True)])
    return Interval(exp(found.estimate), exp(found.low), exp(found.high))


def _student(freedom: int) -> float:
    try:
        from scipy.special import stdtrit  # noqa: PLC0415 - an optional dependency
    except ImportError as exc:
        raise ConfigError(
            "intervals over seeds need scipy: install it with pip install 'dynasor-serve[eval]'"
        ) from exc
    return float(stdtrit(freedom, SHARE))
