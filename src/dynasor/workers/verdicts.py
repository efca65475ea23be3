"""What a comparison came to, and a bounded memory of it."""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum

__all__ = ["STARTED", "Pair", "Verdict", "Verdicts"]

Pair = tuple[str, str]
"""An answer and the reference it is held against."""


STARTED = b">"
"""The byte by which a worker reports that it has begun with a request."""


class Verdict(Enum):
    """How a comparison ended; the value is the byte that a worker reports it with."""

    SAME = b"="
    DIFFERENT = b"!"
    FAILED = b"?"


class Verdicts:
    """The verdicts used last, at most `capacity`, by task and pair."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._kept: OrderedDict[tuple[str, Pair], Verdict] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def recall(self, task: str, pair: Pair) -> Verdict | None:
        """Return the verdict on a pair, None where it is unknown or forgotten."""
        verdict = self._kept.get((task, pair))
        if verdict is not None:
            self._kept.move_to_end((task, pair))
        return verdict

    def keep(self, task: str, pair: Pair, verdict: Verdict) -> None:
        """Remember a verdict, and forget the one that was used longest ago if there are more."""
        self._kept[task, pair] = verdict
        self._kept.move_to_end((task, pair))
        while len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
