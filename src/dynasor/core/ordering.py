"""Orderings: whose calls run next.

An ordering turns a program's `Demand` into a key, least first. Keys change only at the program's
own events, at the time that `changes_at` names, or when the estimate of their workload moves, so
nothing ever evaluates all keys at some "now".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

from msgspec import Struct

from dynasor.core.allocation import build
from dynasor.core.config import OrderingSpec

__all__ = ["AppFifo", "Demand", "Gang", "Ordering", "Sjf", "make_ordering", "orderings"]

Key = tuple[Any, ...]


@dataclass(slots=True)
class Demand:
    """All that an ordering sees of a program.

    `number` counts arrivals; `knob_left` units are still to settle, each of `tokens_per_knob`
    tokens (the program's own mean, its workload's where `has_history` is False); `attained`
    tokens were generated for it so far; `running` of its calls hold slots now, `waiting` do not.
    `latest_start` is when it must start to meet its deadline (infinite without one),
    `solo_seconds` how long it would take alone on its pool. Two fields are the queue's: `as_of`
    is the time of this look at the demand, `crossed_at` when the program had waited too long
    (aging), None before that.
    """

    program: str
    number: int
    workload: str
    tenant: str
    arrived: float
    knob_left: int
    tokens_per_knob: float
    attained: int = 0
    running: int = 0
    waiting: int = 0
    latest_start: float = inf
    solo_seconds: float = 0.0
    has_history: bool = False
    as_of: float = 0.0
    crossed_at: float | None = None


class Ordering(Protocol):
    """Puts programs in order."""

    def key(self, demand: Demand) -> Key:
        """Return the program's rank, least first; equal keys run in order of arrival."""

    def changes_at(self, demand: Demand) -> float | None:
        """Return when the key changes although nothing happens to the program; None for never."""


class AppFifo(Struct, frozen=True, forbid_unknown_fields=True):
    """Programs in order of arrival, all calls of one before those of the next (Parrot's)."""

    def key(self, demand: Demand) -> Key:
        """Rank by arrival."""
        return (demand.arrived,)

    def changes_at(self, demand: Demand) -> float | None:
        """Never."""
        return None


class Gang(Struct, frozen=True, forbid_unknown_fields=True):
    """Programs that hold slots first, then by arrival (paper, section 5.3)."""

    def key(self, demand: Demand) -> Key:
        """Rank running programs before waiting ones, each by arrival."""
        return (demand.running == 0, demand.arrived)

    def changes_at(self, demand: Demand) -> float | None:
        """Never."""
        return None


class Sjf(Struct, frozen=True, forbid_unknown_fields=True):
    """Least remaining work first: knob still to run times tokens per knob (paper, 5.3)."""

    def key(self, demand: Demand) -> Key:
        """Rank by estimated tokens to go."""
        return (demand.knob_left * demand.tokens_per_knob,)

    def changes_at(self, demand: Demand) -> float | None:
        """Never."""
        return None


def orderings() -> dict[str, type[Ordering]]:
    """Return the orderings that ship, by name."""
    return {"app-fifo": AppFifo, "gang": Gang, "sjf": Sjf}


def make_ordering(spec: OrderingSpec, known: Mapping[str, type[Ordering]]) -> Ordering:
    """Build an ordering from its description; raises as `make_policy` does."""
    return build("ordering", spec.name, spec.params, known)
