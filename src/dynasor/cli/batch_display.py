"""How a batch run shows itself: a bar on a terminal, a line now and then elsewhere, or nothing."""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from dynasor.batch import Tally
from dynasor.runtime import Clock, MonotonicClock

__all__ = ["Bar", "Lines", "Quiet", "say", "spent"]

BAR = 10
"""Width of the bar, in characters: the figures beside it say more."""
LINE_SECONDS = 10.0
"""How often a log gets a line: some hundred an hour."""


class Quiet:
    """Shows warnings only."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def moved(self, tally: Tally) -> None:
        """Show nothing."""

    def warn(self, message: str) -> None:
        """Print one line."""
        say(self.console, f"dynasor: warning: {message}")


class Lines(Quiet):
    """Prints one plain line every ten seconds."""

    def __init__(self, console: Console, clock: Clock | None = None) -> None:
        super().__init__(console)
        self._clock = clock or MonotonicClock()
        self._next = LINE_SECONDS

    def moved(self, tally: Tally) -> None:
        """Print the state if it is time."""
        seconds = self._clock.now()
        if seconds < self._next:
            return
        self._next = seconds + LINE_SECONDS
        rate = tally.written / seconds
        left = f", {tally.left / rate:,.0f} s left" if rate else ""
        say(
            self.console,
            f"{tally.done:,} of {tally.total:,} lines, {rate:.1f} a second{left}, {spent(tally)}",
        )


class Bar(Quiet):
    """Draws a bar with rate, time left, tokens and failures; a context manager."""

    def __init__(self, console: Console, clock: Clock | None = None) -> None:
        super().__init__(console)
        self._clock = clock or MonotonicClock()
        self._progress = Progress(
            BarColumn(bar_width=BAR),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.1f}/s, left"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[spent]}", markup=False),
            console=console,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def moved(self, tally: Tally) -> None:
        """Move the bar; it is redrawn ten times a second at most."""
        if self._task is None:
            self._task = self._progress.add_task(
                "", total=tally.total, completed=tally.found, rate=0.0, spent=""
            )
        seconds = self._clock.now()
        self._progress.update(
            self._task,
            completed=tally.done,
            rate=tally.written / seconds if seconds else 0.0,
            spent=spent(tally),
        )


def say(console: Console, line: str) -> None:
    """Print one line as it is, however long."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def spent(tally: Tally) -> str:
    """Say what was spent, about what was saved, and how much failed."""
    words = f"{tally.completion_tokens:,} tokens"
    if tally.even_tokens:
        words += f", saved about {tally.saved_share:.0%} (estimate)"
    troubles = tally.failed + tally.unusable
    return f"{words}, {troubles:,} failed" if troubles else words
