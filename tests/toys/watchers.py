"""A watcher of runs."""

from __future__ import annotations

__all__ = ["Heard"]


class Heard:
    """A watcher that keeps what it hears."""

    def __init__(self):
        self.warnings = []
        self.moves = 0

    def moved(self, tally):
        self.moves += 1

    def warn(self, message):
        self.warnings.append(message)
