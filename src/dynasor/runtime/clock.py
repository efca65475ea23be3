"""The only file of the package that reads a clock."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "MonotonicClock", "wall_clock"]


class Clock(Protocol):
    """A source of time in seconds that never decreases."""

    def now(self) -> float:
        """Return the time."""


class MonotonicClock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def now(self) -> float:
        """Return the seconds since this clock was made."""
        return time.monotonic() - self._start


def wall_clock() -> int:
    """Return the Unix time in whole seconds, for records that people read."""
    return int(time.time())
