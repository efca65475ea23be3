"""A run over many questions: how it shows itself, how Ctrl-C ends it, and what it prints at last.

It shows itself by a bar on a terminal, a line now and then elsewhere, or warnings alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from dynasor.cli.errors import INTERRUPTED
from dynasor.cli.open_files import raise_open_files
from dynasor.runtime import Clock, MonotonicClock
from dynasor.tally import RunTally
from dynasor.traces.lines import shown

__all__ = ["Bar", "Lines", "LiveOption", "Quiet", "print_end", "run_shown"]

BAR = 10
"""Width of the bar, in characters: the figures beside it say more."""
LINE_SECONDS = 10.0
"""How often a log gets a line: some hundred an hour."""

LiveOption = Annotated[
    int | None,
    typer.Option("--live", help="Questions worked on at once, at most.", show_default="256"),
]

T = TypeVar("T", bound=RunTally)


class Quiet:
    """Shows warnings only."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def moved(self, tally: RunTally) -> None:
        """Show nothing."""

    def warn(self, message: str) -> None:
        """Print one line."""
        _say(self.console, f"dynasor: warning: {message}")


class Lines(Quiet):
    """Prints one plain line every ten seconds."""

    def __init__(self, console: Console, clock: Clock | None = None) -> None:
        super().__init__(console)
        self._clock = clock or MonotonicClock()
        self._next = LINE_SECONDS

    def moved(self, tally: RunTally) -> None:
        """Print the state if it is time."""
        seconds = self._clock.now()
        if seconds < self._next:
            return
        self._next = seconds + LINE_SECONDS
        rate = tally.ended / seconds
        left = f", {tally.left / rate:,.0f} s left" if rate else ""
        _say(
            self.console,
            f"{tally.done:,} of {tally.total:,} lines, {rate:.1f} a second{left}, {_spent(tally)}",
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

    def moved(self, tally: RunTally) -> None:
        """Move the bar; it is redrawn ten times a second at most."""
        if self._task is None:
            self._task = self._progress.add_task(
                "", total=tally.total, completed=tally.found, rate=0.0, spent=""
            )
        seconds = self._clock.now()
        self._progress.update(
            self._task,
            completed=tally.done,
            rate=tally.ended / seconds if seconds else 0.0,
            spent=_spent(tally),
        )


def run_shown(
    run: Callable[[Quiet], Coroutine[Any, Any, T]], out_path: Path, *, is_quiet: bool
) -> tuple[T, float]:
    """Do a run that is watched; return its tally and how many seconds it took.

    Ctrl-C is one line that names the output and says how to go on, and exit code 130.
    """
    raise_open_files()  # a window that is learnt may grow beyond what a shell allows
    console = Console(stderr=True)
    clock = MonotonicClock()
    try:
        tally = asyncio.run(_watched(run, console, is_quiet))
    except KeyboardInterrupt:
        _say(
            console,
            f"dynasor: interrupted; what is finished is in {shown(out_path)}, and the "
            "same command does the rest",
        )
        raise typer.Exit(INTERRUPTED) from None
    return tally, clock.now()


def print_end(figures: Mapping[str, object], facts: Mapping[str, str], *, as_json: bool) -> None:
    """Print what a run has come to: its figures as JSON, or a table of facts for people."""
    if as_json:
        typer.echo(msgspec.json.encode(figures).decode())
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, Text(value))
    Console().print(table)


async def _watched(
    run: Callable[[Quiet], Coroutine[Any, Any, T]], console: Console, is_quiet: bool
) -> T:
    if is_quiet:
        return await run(Quiet(console))
    if not console.is_terminal:
        return await run(Lines(console))
    with Bar(console) as bar:
        return await run(bar)


def _say(console: Console, line: str) -> None:
    """Print one line as it is, however long."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _spent(tally: RunTally) -> str:
    """Say what was spent, about what was saved, and how much failed."""
    words = f"{tally.completion_tokens:,} tokens"
    if tally.saved_share is not None:
        words += f", saved about {tally.saved_share:.0%} (estimate)"
    return f"{words}, {tally.troubles:,} failed" if tally.troubles else words
