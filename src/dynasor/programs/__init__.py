"""Reasoning algorithms. Each is a `Program`; none knows of scheduling, engines or time."""

from __future__ import annotations

from dynasor.core.program import Program
from dynasor.programs.best_of_n import BestOfN
from dynasor.programs.self_consistency import SelfConsistency

__all__ = ["BestOfN", "SelfConsistency", "programs"]


def programs() -> dict[str, type[Program]]:
    """Return the programs that ship, by name."""
    return {kind.name: kind for kind in (SelfConsistency, BestOfN)}
