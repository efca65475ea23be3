"""What is known of work that has not run yet: running means, published in steps.

Orderings read the *published* value, which moves only when the mean has left it by a tenth, so
that waiting programs are re-ranked a few times in a workload's life and not at every answer.
"""

from __future__ import annotations

__all__ = ["RateEstimate", "WorkloadEstimate"]

STEP = 0.1
RATE_WEIGHT = 0.05
"""Weight of the newest call in the rate's moving mean: about the last twenty calls count."""


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
