"""The priced policy, ours: a program goes on while that is worth what its tokens cost just now."""

from __future__ import annotations

import math
from math import inf
from typing import Annotated, Literal

from msgspec import Meta, Struct

from dynasor.core.allocation.grants import Count, refill, tally_of, votes_of
from dynasor.core.allocation.policy import Grant, Stop, View
from dynasor.core.allocation.worth import worth

__all__ = ["Priced"]

TOKENS = 1000.0
"""A price is for so many tokens."""
LAST = 2.0
"""Rounds left below which no second round would be over in time."""
EARLY = 0.5
"""The share of the rounds before a deadline in which a program had better be done."""
LATE = 0.5
"""Rounds left below which nothing is started: a branch of half the mean length would be late."""

Amount = Annotated[float, Meta(ge=0.0, le=1e6)]
Power = Annotated[float, Meta(ge=0.0, le=8.0)]
Part = Annotated[float, Meta(ge=0.0, lt=1.0)]


class Priced(Struct, frozen=True, forbid_unknown_fields=True):
    """Stop when a further branch is worth less than its tokens cost at the present load.

    What a branch is worth is said in `dynasor.core.allocation.worth`: a gain in the probability
    of a right answer. What it costs is the mean of tokens that the program's own branches took,
    times one price for all programs. So compute goes where it brings most, from the settled and
    the hopeless to those that are close.

    `price` is what a thousand tokens must bring at load 1, where the calls of others fill all
    slots. Up to a load of `free` tokens cost nothing, and a program goes on to its cap; beyond,
    the price grows with the power `steepness` of the load. With a deadline it is not the load
    that is dear but the time: the rounds that the branches left would take, `in_flight` at a time
    and behind those that wait, over half the rounds that there are until the deadline. The price
    grows with the power `urgency` of that, so that it is low while everybody is early, however
    many they are, and high before anybody is late.

    At least `in_flight` branches run at once, and more in idle slots: all of those where tokens
    are free, half of them elsewhere. Before a deadline's last round the whole block of branches
    that is worth most may run; half a round before it nothing is started.

    `load` sets the load by hand, for replays: they have slots for everything, so that all tokens
    would be free. `order` is that of `beta`.
    """

    price: Amount = 0.001
    free: Part = 0.5
    steepness: Power = 2.0
    urgency: Power = 4.0
    in_flight: Count | None = 4
    order: Literal["launch", "finish"] = "launch"
    load: Amount | None = None

    def decide(self, view: View) -> Grant | Stop:
        """Weigh worth and cost from the second vote on; refill what runs otherwise."""
        votes, tally = votes_of(view, "priced"), tally_of(view, "priced", self.order)
        if view.knob >= view.cap:
            return Stop("cap", tally.leader())
        if view.rounds < LATE and tally.leader() is not None:
            return Grant() if view.granted > view.knob else Stop("late", tally.leader())
        left = view.cap - tally.size - votes.lost
        price = self._price(view, left)
        if not price and view.rounds >= LAST:
            return refill(view, view.cap, self._width(view, is_free=True))
        first, second = (int(weight / votes.max_weight) for weight in tally.top_two())
        each, block = worth(tally.size, first, second, left)
        if tally.size >= 2 and each < price * view.tokens / (view.knob * TOKENS):
            return Stop("price", tally.leader())
        width = self._width(view, is_free=not price)
        if width is not None and view.rounds < LAST:
            width = max(width, block)
        return refill(view, view.cap, width)

    def _price(self, view: View, left: int) -> float:
        """Return what a thousand tokens must bring now."""
        load = view.load if self.load is None else self.load
        if load <= self.free:
            return 0.0
        if view.rounds == inf:
            return self.price * math.pow((load - self.free) / (1.0 - self.free), self.steepness)
        needed = left / (self.in_flight or max(1, left)) + max(0.0, load - 1.0)
        pressure = needed / (EARLY * max(view.rounds, LATE))
        return self.price * math.pow(pressure, self.urgency)

    def _width(self, view: View, *, is_free: bool) -> int | None:
        """Return how many branches may run at once, None for all of them."""
        if self.in_flight is None:
            return None
        if self.load is not None:  # the slots of a replay say nothing
            return None if is_free else self.in_flight
        return max(self.in_flight, view.idle if is_free else view.idle // 2)
