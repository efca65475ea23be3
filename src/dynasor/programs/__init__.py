"""Reasoning algorithms. Each is a `Program`; none knows of scheduling, engines or time."""

from __future__ import annotations

from dynasor.core.program import Program
from dynasor.programs.beam import Beam
from dynasor.programs.best_of_n import BestOfN
from dynasor.programs.chain_of_thought import ChainOfThought
from dynasor.programs.mcts import Mcts
from dynasor.programs.rebase import Rebase
from dynasor.programs.self_consistency import SelfConsistency

__all__ = [
    "Beam",
    "BestOfN",
    "ChainOfThought",
    "Mcts",
    "Rebase",
    "SelfConsistency",
    "programs",
]


def programs() -> dict[str, type[Program]]:
    """Return the programs that ship, by name."""
    shipped = (SelfConsistency, BestOfN, Rebase, Beam, Mcts, ChainOfThought)
    return {kind.name: kind for kind in shipped}
