"""Which unit of the knob a step of a recorded search belongs to, and which knobs that is exact at.

Steps that are searched level by level (Rebase, beam search) are made for a whole width at once: a
smaller width would have made other ones. What a recording can say is which steps its first
finished paths needed, and that the searches it is made of are independent.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from dynasor.programs.searching import Step

__all__ = ["exact_knobs", "ranked"]


def ranked(steps: Sequence[Step], cap: int) -> list[Step]:
    """Rank steps by the first finished path that needs them, within the search they are of.

    `unit` of the steps given is the first unit of their search. A step that no finished path
    needs gets the last unit of its search.
    """
    ends = exact_knobs(steps, cap)
    firsts = [1, *(end + 1 for end in ends)]
    last = dict(zip(firsts, ends, strict=False))
    units = [last[step.unit] for step in steps]
    following = {first: first for first in last}
    for place, step in enumerate(steps):
        if not step.is_finished:
            continue
        rank = following[step.unit]
        following[step.unit] += 1
        needed: int | None = place
        while needed is not None and (needed == place or units[needed] > rank):
            units[needed] = min(units[needed], rank)
            needed = steps[needed].parent
    return [replace(step, unit=unit) for step, unit in zip(steps, units, strict=True)]


def exact_knobs(steps: Sequence[Step], cap: int) -> list[int]:
    """Return the knobs at which one of the independent searches of a recording ends."""
    firsts = sorted({step.unit for step in steps})
    return [*(first - 1 for first in firsts[1:]), cap]
