"""`Rescue`: least remaining work first, except for programs that are about to be too late."""

from __future__ import annotations

from math import inf, nextafter
from typing import Annotated, Any

from msgspec import Meta, Struct

from dynasor.core.ordering import Demand

__all__ = ["Rescue"]

Key = tuple[Any, ...]
NotNegative = Annotated[float, Meta(ge=0)]
URGENT, OTHERS = range(2)


class Rescue(Struct, frozen=True, forbid_unknown_fields=True):
    """Least remaining work first; a program goes before all others while its slack runs out.

    That is from `margin` of its solo time and `lead_seconds` before its latest start until that
    start. Later it can no longer be saved, and stands where its remaining work puts it, so that
    a crowd of late programs does not make further ones late (see `Deadline`). Without deadlines
    it is `Sjf`.
    """

    lead_seconds: NotNegative = 1.0
    margin: NotNegative = 1.0

    def key(self, demand: Demand) -> Key:
        """Rank urgent programs by latest start, all others by estimated tokens to go."""
        if self._begins(demand) <= demand.as_of <= demand.latest_start < inf:
            return (URGENT, demand.latest_start)
        return (OTHERS, demand.knob_left * demand.tokens_per_knob)

    def changes_at(self, demand: Demand) -> float | None:
        """Return when it becomes urgent, or else the first instant after its latest start."""
        if demand.latest_start == inf:
            return None
        begins = self._begins(demand)
        return begins if demand.as_of < begins else nextafter(demand.latest_start, inf)

    def _begins(self, demand: Demand) -> float:
        return demand.latest_start - self.lead_seconds - self.margin * demand.solo_seconds
