"""What is known of work that has not run yet: running means, published in steps.

Orderings read the *published* value, which moves only when the mean has left it by a tenth, so
that waiting programs are re-ranked a few times in a workload's life and not at every answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import log2

__all__ = ["RateEstimate", "UnitsEstimate", "WorkloadEstimate"]

STEP = 0.1
RATE_WEIGHT = 0.05
"""Weight of the newest call in the rate's moving mean: about the last twenty calls count."""
FEWEST = 4
"""Programs that must have been seen in some state before their mean says more than a prior."""
MEMORY = 200
"""Programs that a mean of units remembers, so that it follows a workload that changes."""
LEVELS = 4
"""Certaindex is told apart in quarters, full certainty for itself."""


class WorkloadEstimate:
    """Mean tokens per knob over all programs of one workload; `prior` until the first one."""

    __slots__ = ("knobs", "published", "tokens")

    def __init__(self, prior: float) -> None:
        self.tokens = 0
        self.knobs = 0
        self.published = prior

    def add(self, tokens: int, knobs: int) -> bool:
        """Count settled units and their tokens; return whether the published value moved."""
        self.tokens += tokens
        self.knobs += knobs
        if self.knobs == 0:
            return False
        mean = self.tokens / self.knobs
        if abs(mean - self.published) <= STEP * self.published:
            return False
        self.published = mean
        return True


class RateEstimate:
    """Seconds that one token of one call takes, as a moving mean; `prior` until measured."""

    __slots__ = ("_is_measured", "seconds_per_token")

    def __init__(self, prior: float) -> None:
        self.seconds_per_token = prior
        self._is_measured = False

    def add(self, seconds: float, tokens: int) -> None:
        """Count a finished call; calls without tokens say nothing."""
        if tokens <= 0:
            return
        sample = seconds / tokens
        if not self._is_measured:
            self.seconds_per_token, self._is_measured = sample, True
            return
        self.seconds_per_token += RATE_WEIGHT * (sample - self.seconds_per_token)


class _Mean:
    """A running mean that forgets."""

    __slots__ = ("count", "value")

    def __init__(self) -> None:
        self.count = 0
        self.value = 0.0

    def add(self, value: float) -> None:
        self.count = min(self.count + 1, MEMORY)
        self.value += (value - self.value) / self.count


class UnitsEstimate:
    """How many units programs of one workload still settle, once they stand where others stood.

    A program's cap says how far it may go; its policy mostly stops it before, the sooner the more
    certain it is. So the mean is kept of what earlier programs still settled, by how many units
    they had settled and how certain they were; too few of those, and certainty is left out; too
    few again, and the cap decides. Like the rank of a job by its expected remaining time (SERPT;
    Sevcik, Journal of the ACM 21, 1974), this lets new programs overtake one that has turned out
    to be hard.

    `published` is the mean of whole programs, moved as `WorkloadEstimate.published` is; None
    until enough have ended.
    """

    __slots__ = ("_means", "published")

    def __init__(self) -> None:
        self._means: dict[tuple[int, int], _Mean] = {}
        self.published: float | None = None

    def left(self, knob: int, certainty: float, cap: int) -> float:
        """Return how many units a program will still settle that has settled `knob` of `cap`.

        `certainty` in [0, 1] is its least certaindex.
        """
        most = float(max(0, cap - knob))
        if not knob:
            return most if self.published is None else min(most, self.published)
        stage = _stage(knob)
        for level in (_level(certainty), -1):
            mean = self._means.get((stage, level))
            if mean is not None and mean.count >= FEWEST:
                return min(most, mean.value)
        return most

    def learn(self, trail: Iterable[tuple[int, float]], knob: float) -> bool:
        """Count a program that ended after `knob` units; return whether `published` moved.

        `trail` is where it stood on its way: units settled and certainty, after each of them.
        """
        for settled, certainty in trail:
            stage = _stage(settled)
            for level in (_level(certainty), -1):
                self._means.setdefault((stage, level), _Mean()).add(knob - settled)
        whole = self._means.setdefault((0, -1), _Mean())
        whole.add(knob)
        if whole.count < FEWEST:
            return False
        if (
            self.published is not None
            and abs(whole.value - self.published) <= STEP * self.published
        ):
            return False
        self.published = whole.value
        return True


def _stage(knob: int) -> int:
    """Return a number for so many units: each its own up to eight, then four for each doubling."""
    return knob if knob < 8 else 8 + int(4 * log2(knob / 8))


def _level(certainty: float) -> int:
    return int(certainty * LEVELS)
