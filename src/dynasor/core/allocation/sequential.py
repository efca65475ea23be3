"""The sequential test, ours: docs/offline.md has what it saves on outputs of real models."""

from __future__ import annotations

from math import ceil
from typing import Literal

from msgspec import Struct

from dynasor.core.allocation.grants import Count, Share, refill, tally_of
from dynasor.core.allocation.policies import posterior
from dynasor.core.allocation.policy import Grant, Stop, View

__all__ = ["Sequential"]


class Sequential(Struct, frozen=True, forbid_unknown_fields=True):
    """Stop when going on to the cap is not worth it: the leader is safe enough, or nothing leads.

    Two bounds, as in a group-sequential trial (Anderson 1960; Jennison and Turnbull 2000):

    - *Efficacy*: the probability that the leader is ahead of the runner-up (the posterior of
      `beta`) must reach a confidence that falls from `confidence` at the first votes to `final`
      at the cap, by the square of the share of the cap that is used up. Near the cap little can
      change any more, so less is asked for; with `final` equal to `confidence` this is `beta`.
    - *Futility*: from `patience` votes on, a leader with less than `futility` of all votes
      will hardly become a right answer (0 switches this off).

    `order` and `in_flight` are those of `beta`. `dynasor calibrate` chooses all four numbers.
    """

    confidence: Share = 0.95
    final: Share = 0.6
    futility: Share = 0.0
    patience: Count = 15
    in_flight: Count | None = 4
    order: Literal["launch", "finish"] = "launch"

    def decide(self, view: View) -> Grant | Stop:
        """Stop at either bound; keep `in_flight` units running otherwise."""
        tally = tally_of(view, "sequential", self.order)
        if tally.size >= 2:
            first, second = tally.top_two()
            if first > 0 and posterior(int(first), ceil(second)) >= self._asked(view, tally.size):
                return Stop("certain", tally.leader())
            if tally.size >= self.patience and first < tally.size * self.futility:
                return Stop("hopeless", tally.leader())
        if view.knob >= view.cap:
            return Stop("cap", tally.leader())
        return refill(view, view.cap, self.in_flight)

    def _asked(self, view: View, votes: int) -> float:
        """Return the confidence asked for after so many votes."""
        used = min(1.0, votes / view.cap)
        return self.confidence + (self.final - self.confidence) * used * used
