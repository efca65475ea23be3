"""Policies as others published them, to compare with: length, ESC, and the skyline.

As in `policies`, the fields are the parameters and `in_flight` bounds what runs at once.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

from msgspec import Struct

from dynasor.core.allocation.grants import (
    Count,
    Extra,
    Share,
    is_boundary,
    refill,
    signal_of,
    votes_of,
)
from dynasor.core.allocation.policy import Grant, Stop, View

__all__ = ["Curve", "Esc", "Length", "Skyline"]

Curve = tuple[tuple[Share, Count], ...]
"""Points `(certaindex, units)` by rising certaindex: how far to go at most."""


class Length(Struct, frozen=True, forbid_unknown_fields=True):
    """Go on after `detect` units only if they took more than `tokens` tokens in all.

    The paper's other baseline (section 6.1): a question that needs long answers is taken for a
    hard one. `tokens` has to be tuned for each workload and model.
    """

    tokens: Extra
    detect: Count = 5
    in_flight: Count | None = None

    def decide(self, view: View) -> Grant | Stop:
        """Grant `detect` units, count their tokens, then stop or grant the rest."""
        if view.knob >= view.cap:
            return Stop("cap")
        if view.knob == view.granted == self.detect and view.tokens <= self.tokens:
            return Stop("short")
        end = self.detect if view.knob < self.detect else view.cap
        return refill(view, end, self.in_flight)


class Esc(Struct, frozen=True, forbid_unknown_fields=True):
    """Stop when all answers of one window are the same and none is missing.

    Early-stopping self-consistency (arXiv 2401.10480): windows of `window` branches, one after
    the other, in launch order. A branch whose call failed for good belongs to no window's vote.
    """

    window: Count = 5
    in_flight: Count | None = None

    def decide(self, view: View) -> Grant | Stop:
        """Grant one window, compare its answers when it is settled, stop or grant the next."""
        if view.knob >= view.cap:
            return Stop("cap")
        votes = votes_of(view, "esc")
        if is_boundary(view, self.window) and len(votes.sequence) >= self.window:
            first, *others = votes.sequence[-self.window :]
            if first is not None and all(other == first for other in others):
                return Stop("certain")
        end = (view.knob // self.window + 1) * self.window
        return refill(view, end, self.in_flight)


class Skyline(Struct, frozen=True, forbid_unknown_fields=True):
    """Go as far as any solvable question of that certaindex needed to go (paper, section 3.2).

    The first curve is read after `detect` units. With `every` None that is all: the program
    stops where the curve says (the paper's "initial step curve fitting"). Otherwise the next
    curve is read after `every` units more, and so on, the last one from then on ("dynamic curve
    fitting", section 6.4). A curve is read at the least of its certaindices that is not below
    the program's; above all of them nothing more is granted. `dynasor calibrate` fits curves.
    """

    curves: tuple[Curve, ...]
    detect: Count = 5
    every: Count | None = None
    signal: str = "entropy"
    in_flight: Count | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` for curves that cannot be read."""
        if not self.curves:
            raise ValueError("curves is empty; give one curve for each time of reading")
        for curve in self.curves:
            if any(left[0] >= right[0] for left, right in pairwise(curve)):
                raise ValueError("the points of a curve must stand by rising certaindex")

    def decide(self, view: View) -> Grant | Stop:
        """Grant up to the next reading of a curve; with one reading, lower the cap to it."""
        if view.knob >= view.cap:
            return Stop("cap")
        if view.knob < self.detect:
            return refill(view, self.detect, self.in_flight)
        since = view.knob - self.detect
        is_reading = view.knob == view.granted and since % (self.every or view.cap) == 0
        allowed = self._read(view) if is_reading else view.cap
        if view.knob >= allowed:
            return Stop("skyline")
        if self.every is None:
            grant = refill(view, allowed, self.in_flight)
            return Grant(grant.needed, cap=allowed)
        end = self.detect + (since // self.every + 1) * self.every
        return refill(view, end, self.in_flight)

    def _read(self, view: View) -> int:
        reading = 0 if self.every is None else (view.knob - self.detect) // self.every
        curve = self.curves[min(reading, len(self.curves) - 1)]
        place = bisect_left(curve, signal_of(view, self.signal), key=lambda point: point[0])
        return curve[place][1] if place < len(curve) else 0
