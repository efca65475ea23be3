"""Searches for the highest rate, or the tightest deadlines, at which enough programs are in time.

Each value tried is a run, or several. A search halves its bracket on the logarithm, makes a
bounded number of runs, and says where the answer lies beyond all that it has tried.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, inf, isnan, log, log2
from typing import Literal

from msgspec import Struct

from dynasor.core.errors import UserError

__all__ = ["Found", "Trial", "Within", "rate_at", "tightest"]

STEP = 2.0
"""Factor by which a bracket grows that does not hold the answer."""


class Within(Struct, frozen=True):
    """Where to search: first between `low` and `high`, then `widenings` doublings beyond.

    It ends when the bracket's ends differ by less than the share `tolerance`. Raises `UserError`
    for what is no bracket.
    """

    low: float
    high: float
    tolerance: float = 0.02
    widenings: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < inf:
            raise UserError(
                f"cannot search from {self.low:g} to {self.high:g}: give two positive numbers, the "
                "lower one first"
            )
        if not 0 < self.tolerance < inf:
            raise UserError(
                f"a search to within {self.tolerance:g} never ends: give a share above 0, such as "
                "0.02"
            )
        if self.widenings < 0:
            raise UserError(f"a bracket cannot be widened {self.widenings} times: give 0 or more")


class Trial(Struct, frozen=True):
    """One value tried, a rate or a scale, and the attainment there, in [0, 1]."""

    value: float
    attainment: float


class Found(Struct, frozen=True):
    """What a search found.

    `verdict` `found`: `value` attains the target, and beyond it, within the tolerance, lies one
    that does not. `all`: every value tried attains it, and `value` is the hardest of them: a bound.
    `none`: no value tried attains it, and `value` is None. `tried` is in the order of trial.
    """

    verdict: Literal["found", "all", "none"]
    value: float | None
    target: float
    tried: tuple[Trial, ...]

    def __str__(self) -> str:
        values = sorted(trial.value for trial in self.tried)
        tried = f"{values[0]:.4g} to {values[-1]:.4g}"
        if self.value is None:
            return f"none: all of {tried} attain less than {self.target:.0%}"
        if self.verdict == "all":
            return f"{self.value:.4g} or beyond: all of {tried} attain {self.target:.0%}"
        return f"{self.value:.4g}"


def rate_at(attainment_of: Callable[[float], float], within: Within, target: float = 0.9) -> Found:
    """Return the highest rate at which the attainment is at least `target`, in (0, 1].

    `attainment_of(rate)` makes the run; the attainment is taken to fall as the rate rises. Raises
    `UserError` for a target that is none, or where no program has a deadline (nan).
    """
    return _search(attainment_of, within, target, (within.low, within.high))


def tightest(attainment_of: Callable[[float], float], within: Within, target: float = 0.9) -> Found:
    """Return the least scale of deadlines at which the attainment is at least `target`.

    For runs whose deadlines end programs or order them; else one run tells
    (`dynasor.online.measures.tightest_scale`). The attainment is taken to rise with the scale.
    Raises as `rate_at` does.
    """
    return _search(attainment_of, within, target, (within.high, within.low))


def _search(
    attainment_of: Callable[[float], float],
    within: Within,
    target: float,
    ends: tuple[float, float],
) -> Found:
    """Bracket the answer between a value that attains and a harder one that misses; halve that.

    `ends` are those of the first bracket, the easier one first.
    """
    if not 0 < target <= 1:
        raise UserError(f"the target attainment is {target:g}: give a share above 0, at most 1")
    tried: list[Trial] = []

    def attains(value: float) -> bool:
        share = attainment_of(value)
        if isnan(share):
            raise UserError(
                "no attainment to search by: give the workload deadlines and at least one program"
            )
        tried.append(Trial(value, share))
        return share >= target

    good, bad = _bracket(attains, ends, within.widenings)
    if good is None or bad is None:
        return Found("none" if good is None else "all", good, target, tuple(tried))
    halvings = log2(abs(log(bad / good)) / log(1 + within.tolerance))
    for _ in range(ceil(halvings)):  # none where the bracket is narrow enough
        middle = good**0.5 * bad**0.5
        good, bad = (middle, bad) if attains(middle) else (good, middle)
    return Found("found", good, target, tuple(tried))


def _bracket(
    attains: Callable[[float], bool], ends: tuple[float, float], widenings: int
) -> tuple[float | None, float | None]:
    """Return a value that attains and a harder one that does not; None for what was not found."""
    easy, hard = ends
    step = STEP if hard > easy else 1 / STEP
    if attains(easy):
        good = easy
        for doublings in range(widenings + 1):
            value = hard * step**doublings
            if not attains(value):
                return good, value
            good = value
        return good, None
    bad = easy
    for doublings in range(1, widenings + 1):
        value = easy / step**doublings
        if attains(value):
            return value, bad
        bad = value
    return None, bad
