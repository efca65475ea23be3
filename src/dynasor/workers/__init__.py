"""Slow comparisons in processes that can be killed.

`Workers` answers a scheduler's `Compare` and grades answers; `worker` holds one process on a
`pebble` pool, `bench` is what runs inside it, `verdicts` remembers what was decided.
"""

from __future__ import annotations

from dynasor.workers.workers import Workers

__all__ = ["Workers"]
