"""A policy of one's own, importable by name in the processes that a replay starts."""

from __future__ import annotations

from msgspec import Struct

from dynasor.core.allocation import Grant, Stop


class StopAfter(Struct, frozen=True):
    """Run so many branches, one after the other."""

    branches: int = 2

    def decide(self, view):
        """Stop at the number; grant one otherwise."""
        if view.knob >= min(self.branches, view.cap):
            return Stop("enough")
        return Grant(1 - (view.granted - view.knob))
