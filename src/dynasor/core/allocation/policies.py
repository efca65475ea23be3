"""The allocation policies of the core: even, threshold, stepwise, beta, and the lossless lock.

Each is a frozen struct whose fields are its parameters. `in_flight` is how many units a program
keeps running at once, None for as many as the rule allows: what is in flight when a policy stops
is aborted, so narrow grants save tokens and wide ones save time.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, comb
from typing import Literal

from msgspec import Struct

from dynasor.core.allocation.grants import (
    Count,
    Extra,
    Share,
    is_boundary,
    is_certain,
    refill,
    tally_of,
)
from dynasor.core.allocation.policy import Grant, Policy, Stop, View

__all__ = ["Beta", "Even", "Lock", "Stepwise", "Threshold", "posterior"]


class Even(Struct, frozen=True, forbid_unknown_fields=True):
    """Give every program its whole cap, whatever it answers (the paper's baseline)."""

    in_flight: Count | None = None

    def decide(self, view: View) -> Grant | Stop:
        """Grant up to the cap; stop when all of it is settled."""
        if view.knob >= view.cap:
            return Stop("cap")
        return refill(view, view.cap, self.in_flight)


class Threshold(Struct, frozen=True, forbid_unknown_fields=True):
    """Measure once: after `detect` units stop if certain enough, else go on to the cap.

    `at` is the least certaindex that stops: a number for the signal `entropy`, or one number for
    each of several signals, all of which must be reached (paper, sections 3.1 and 3.2; table 1
    has its thresholds).
    """

    detect: Count = 5
    at: Share | dict[str, Share] = 0.7
    in_flight: Count | None = None

    def decide(self, view: View) -> Grant | Stop:
        """Grant `detect` units, measure, then stop or grant the rest."""
        if view.knob >= view.cap:
            return Stop("cap")
        if view.knob == view.granted == self.detect and is_certain(view, self.at):
            return Stop("certain")
        end = self.detect if view.knob < self.detect else view.cap
        return refill(view, end, self.in_flight)


class Stepwise(Struct, frozen=True, forbid_unknown_fields=True):
    """Measure after every `every` units (paper, section 6.4): threshold, again and again."""

    every: Count = 5
    at: Share | dict[str, Share] = 0.7
    in_flight: Count | None = None

    def decide(self, view: View) -> Grant | Stop:
        """Grant one block, measure when it is settled, stop or grant the next."""
        if view.knob >= view.cap:
            return Stop("cap")
        if is_boundary(view, self.every) and is_certain(view, self.at):
            return Stop("certain")
        end = (view.knob // self.every + 1) * self.every
        return refill(view, end, self.in_flight)


class Beta(Struct, frozen=True, forbid_unknown_fields=True):
    """Stop when the leading answer very probably stays ahead of the runner-up.

    Adaptive-Consistency (arXiv 2305.11860): with a uniform prior, the probability that the
    leader is the more frequent of the two is at least `confidence`; asked from the second vote
    on. `order` says which votes count: those of the first launches (`launch`, unbiased), or all
    as they finish (`finish`). `speculative` units beyond `in_flight` may fill idle slots.
    """

    confidence: Share = 0.95
    in_flight: Count | None = 4
    order: Literal["launch", "finish"] = "launch"
    speculative: Extra = 0

    def decide(self, view: View) -> Grant | Stop:
        """Stop on the posterior; keep `in_flight` units running otherwise."""
        tally = tally_of(view, "beta", self.order)
        if tally.size >= 2:
            first, second = tally.top_two()
            if first > 0 and posterior(int(first), ceil(second)) >= self.confidence:
                return Stop("certain", tally.leader())
        if view.knob >= view.cap:
            return Stop("cap", tally.leader())
        return refill(view, view.cap, self.in_flight, self.speculative)


class Lock(Struct, frozen=True):
    """Stop when the leader cannot be overtaken any more, else do as `inner` says.

    Lossless: the full vote would have the same winner. Votes count as they finish. With weighted
    votes the weight still to come is bounded by the largest possible one.
    """

    inner: Policy

    def decide(self, view: View) -> Grant | Stop:
        """Stop if the outcome is certain; ask `inner` otherwise."""
        votes = view.votes
        if votes is not None and votes.finished.size > 0:
            first, second = votes.finished.top_two()
            left = view.cap - votes.finished.size - votes.lost
            if left > 0 and first - second > left * votes.max_weight:
                return Stop("locked", votes.finished.leader())
        return self.inner.decide(view)


@lru_cache(maxsize=65536)
def posterior(leader: int, runner_up: int) -> float:
    """Return the probability that the leader's true share exceeds the runner-up's.

    `1 - I_{1/2}(leader + 1, runner_up + 1)` with the regularised incomplete beta function: the
    chance, under a uniform prior, that the leader is the more frequent of the two. For integer
    counts it is a binomial tail, computed exactly.
    """
    trials = leader + runner_up + 1
    tail = sum(comb(trials, k) for k in range(leader + 1))
    return tail / (1 << trials)
