"""What an allocation policy is: a pure function of what one program shows.

A policy is asked when a program wants units, and after every vote. It holds no state of its own:
everything it may use is in the `View`, so that one policy object serves all programs and a
replayed journal decides alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Protocol

from msgspec import Struct

from dynasor.core.certaindex import Votes

__all__ = ["Grant", "Policy", "Stop", "View"]


class View(Struct, frozen=True, gc=False):
    """What a policy sees of a program.

    `granted` counts the needed units handed out so far, `speculative` those handed out to fill
    idle slots and not settled yet, `knob` all that are settled; `cap` bounds them together.
    `tokens` are the completion tokens of its calls that ended well.
    `busy` is how many needed calls of *other* programs hold slots or wait for one, `slots` how
    many there are, in the pool that generates. `rounds` is how many of its units fit before its
    deadline, one after the other, as they have run so far; infinite without a deadline.
    `certaindex` maps signal names to values in [0, 1]; `votes` is None where the program does
    not vote.
    """

    cap: int
    granted: int
    speculative: int
    knob: int
    certaindex: Mapping[str, float]
    votes: Votes | None
    tokens: int = 0
    busy: int = 0
    slots: int = 0
    rounds: float = inf

    @property
    def load(self) -> float:
        """The others' calls for each slot: 0 when nobody else is here, above 1 when they queue."""
        return self.busy / self.slots if self.slots else 0.0

    @property
    def idle(self) -> int:
        """Slots that no other program needs now."""
        return max(0, self.slots - self.busy)


class Grant(Struct, frozen=True, gc=False):
    """So many more units may run: `needed` ones, and `speculative` ones in idle slots.

    `cap` lowers the program's cap from now on, so that policies and orderings know that it will
    not go further; it never goes below what is granted, and never rises.
    """

    needed: int = 0
    speculative: int = 0
    cap: int | None = None


class Stop(Struct, frozen=True, gc=False):
    """Run no more; `winner` is the class that the policy found certain, None to leave it open."""

    reason: str
    winner: int | None = None


class Policy(Protocol):
    """Decides how far a program may go."""

    def decide(self, view: View) -> Grant | Stop:
        """Return how many units *more* to grant, possibly none, or that it must stop.

        A policy that grants nothing while nothing runs would hang its program; the scheduler
        takes that for a stop.
        """
