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
    from dynasor.programs import SelfConsistency

__all__ = [
    "Dynasor",
    "Extensions",
    "Handle",
    "Program",
    "Result",
    "SelfConsistency",
    "SyncDynasor",
]

_HOMES = {
    "Dynasor": "dynasor.api",
    "Extensions": "dynasor.api",
    "Handle": "dynasor.api",
    "Program": "dynasor.core.program",
    "Result": "dynasor.api",
    "SelfConsistency": "dynasor.programs",
    "SyncDynasor": "dynasor.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dynasor' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
