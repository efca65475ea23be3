"""Dynasor serves reasoning queries: compute where the answer is open, none where it is settled.

Names are imported on first use, so that `import dynasor.core` inside an engine loads the core
alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynasor.api import Dynasor, Extensions, Handle, Result, SyncDynasor
    from dynasor.core.program import Program
    from dynasor.programs import Beam, BestOfN, Mcts, Rebase, SelfConsistency
    from dynasor.programs.chain_of_thought import ChainOfThought

__all__ = [
    "Beam",
    "BestOfN",
    "ChainOfThought",
    "Dynasor",
    "Extensions",
    "Handle",
    "Mcts",
    "Program",
    "Rebase",
    "Result",
    "SelfConsistency",
    "SyncDynasor",
]

_HOMES = {
    "Beam": "dynasor.programs",
    "BestOfN": "dynasor.programs",
    "ChainOfThought": "dynasor.programs",
    "Dynasor": "dynasor.api",
    "Extensions": "dynasor.api",
    "Handle": "dynasor.api",
    "Mcts": "dynasor.programs",
    "Program": "dynasor.core.program",
    "Rebase": "dynasor.programs",
    "Result": "dynasor.api",
    "SelfConsistency": "dynasor.programs",
    "SyncDynasor": "dynasor.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dynasor' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
