"""Slow comparisons in processes that can be killed, and untrusted programs behind walls.

`Workers` answers a scheduler's `Compare` and grades answers; `worker` holds one process on a
`pebble` pool, `bench` is what runs inside it, `verdicts` remembers what was decided. `Sandbox` runs
the programs that models write; `cell` is what runs inside its process, behind `walls`.
"""

from __future__ import annotations

from dynasor.workers.sandbox import Limits, Outcome, Sandbox, Status
from dynasor.workers.workers import Workers

__all__ = ["Limits", "Outcome", "Sandbox", "Status", "Workers"]
