"""Orderings: whose calls run next.

An ordering turns a program's `Demand` into a key, least first. Keys change only at the program's
own events, at the time that `changes_at` names, or when the estimate of their workload moves, so
nothing ever evaluates all keys at some "now".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor, inf, nextafter
from typing import Annotated, Any, Protocol, runtime_checkable

from msgspec import Meta, Struct

from dynasor.core.allocation import build
from dynasor.core.config import OrderingSpec

__all__ = [
    "AgesSome",
    "AppFifo",
    "Deadline",
    "Demand",
    "Gang",
    "Ordering",
    "Plas",
    "Sjf",
    "make_ordering",
    "orderings",
]

Key = tuple[Any, ...]
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
ON_TIME, WITHOUT_DEADLINE, HOPELESS = range(3)
"""The ranks of the ordering `deadline`, best first."""


@dataclass(slots=True)
class Demand:
    """All that an ordering sees of a program.

    `number` counts arrivals; about `knob_left` units are still to settle, each of `tokens_per_knob`
    tokens (the program's own mean, its workload's where `has_history` is False); `attained`
    tokens were generated for it so far; `running` of its calls hold slots now, `waiting` do not.
    `latest_start` is when it must start to meet its deadline, if its units take their mean time
    and it runs as many side by side as it did last (infinite without a deadline), `solo_seconds`
    how long its whole cap would take alone on its pool. Two fields are the queue's: `as_of` is
    the time of this look at the demand, `crossed_at` when the program had waited too long
    (aging), None before that.
    """

    program: str
    number: int
    workload: str
    tenant: str
    arrived: float
    knob_left: float
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


@runtime_checkable
class AgesSome(Ordering, Protocol):
    """An ordering under which not every program ages; under all others each one does."""

    def ages(self, demand: Demand) -> bool:
        """Return whether a program that waits too long joins the FIFO above all others.

        The answer must stay the same for the whole life of a program.
        """


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


class Plas(Struct, frozen=True, forbid_unknown_fields=True):
    """Least attained service first, by levels, and first come first served within one.

    PLAS of Autellix (arXiv 2502.13965, section 4.2): it needs no estimate, and favours programs
    that have been given little so far, most of which are short. Level 1 holds programs with less
    than `first` completion tokens, each further one those with up to `growth` times as many, the
    last of `levels` all others. The paper has levels of growing ranges and gives no numbers;
    these are ours.

    Ours differs in this: service is counted in tokens when a call has ended, not in seconds of
    the engine's time, as an engine's batch decides how long a token takes. Calls that run are
    neither preempted nor demoted, since nothing above an engine can take a slot back without
    losing the tokens. First come is by the program's arrival, not by the call's. Starvation is
    met by the queue's aging (time in the system over solo time), not by their ratio of waiting
    time to service. Their ATLAS, which counts the longest thread of a program instead of the
    sum, is not this.
    """

    first: Positive = 256.0
    growth: Annotated[float, Meta(gt=1)] = 2.0
    levels: Annotated[int, Meta(ge=1, le=64)] = 8

    def key(self, demand: Demand) -> Key:
        """Rank by level, then by arrival."""
        level, end = 1, self.first
        while demand.attained >= end and level < self.levels:
            level += 1
            end *= self.growth
        return (level, demand.arrived)

    def changes_at(self, demand: Demand) -> float | None:
        """Never."""
        return None


class Deadline(Struct, frozen=True, forbid_unknown_fields=True):
    """The latest possible start that comes soonest first, least remaining work among equals.

    Programs that cannot make it any more yield: while others could still be in time, work on
    them is lost (the domino effect of earliest deadline first under overload: Locke, Best-Effort
    Decision Making for Real-Time Scheduling, 1986). In order: programs that can make it;
    programs without a deadline, which lose nothing by waiting and age; programs that cannot make
    it, which have their best answer so far to return. The last two stand by remaining work.

    Latest starts are equal if they fall into the same `slack_step` seconds (0: only if they are
    exactly equal). A program is taken to need `margin` of its solo time more than estimated: the
    estimate is a mean, and a program ends with its longest branch.

    Only programs without a deadline age. The others end at their deadline whatever happens, so
    none of them can starve; the hopeless would otherwise come back above all others by waiting.
    """

    slack_step: NotNegative = 1.0
    margin: NotNegative = 0.5

    def key(self, demand: Demand) -> Key:
        """Rank by whether it can make it, by latest start, by estimated tokens to go."""
        work = demand.knob_left * demand.tokens_per_knob
        if demand.latest_start == inf:
            return (WITHOUT_DEADLINE, 0.0, work)
        latest = self._latest(demand)
        if latest < demand.as_of:
            return (HOPELESS, 0.0, work)
        step = self.slack_step
        return (ON_TIME, floor(latest / step) if step else latest, work)

    def changes_at(self, demand: Demand) -> float | None:
        """Return the first instant after the latest start."""
        return None if demand.latest_start == inf else nextafter(self._latest(demand), inf)

    def ages(self, demand: Demand) -> bool:
        """Return whether it has no deadline."""
        return demand.latest_start == inf

    def _latest(self, demand: Demand) -> float:
        return demand.latest_start - self.margin * demand.solo_seconds


def orderings() -> dict[str, type[Ordering]]:
    """Return the orderings that ship, by name."""
    return {"app-fifo": AppFifo, "gang": Gang, "sjf": Sjf, "plas": Plas, "deadline": Deadline}


def make_ordering(spec: OrderingSpec, known: Mapping[str, type[Ordering]]) -> Ordering:
    """Build an ordering from its description; raises as `make_policy` does."""
    return build("ordering", spec.name, spec.params, known)
