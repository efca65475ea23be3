"""One load of `dynasor bench`, from its plan to its figures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import uvloop
from rich.console import Console

from dynasor.cli.bench_shown import LoadTally, ProgramLines
from dynasor.cli.long_run import Bar, Quiet
from dynasor.cli.open_files import raise_open_files
from dynasor.load import Asking, Client, Departure, Load, Outcome, figures, judge
from dynasor.traces.lines import shown
from dynasor.workers import Workers

__all__ = ["BenchRun", "measured"]

SOLO_PROGRAMS = 5
"""Programs that are sent alone to learn what a deadline is a multiple of."""


@dataclass(slots=True)
class BenchRun:
    """One load from its plan to its figures; `deadline` is a number of seconds, or of times."""

    client: Client
    asking: Asking
    departures: list[Departure]
    deadline: tuple[float, bool] | None
    is_deadline_told: bool
    model: str = ""
    solo_seconds: float | None = None
    deadline_seconds: float | None = None
    was_interrupted: bool = False
    load: Load | None = None
    tally: LoadTally = field(default_factory=LoadTally)

    async def run(self, watcher: Quiet) -> None:
        """Send everything; what has ended so far stays where the run is broken off."""
        await self.client.open()
        try:
            await self._prepare()
            self.tally.total = len(self.departures)
            watcher.moved(self.tally)

            def end(outcome: Outcome) -> None:
                self.tally.add(outcome)
                watcher.moved(self.tally)

            self.load = Load(
                self.client,
                self.asking,
                deadline_seconds=self.deadline_seconds,
                is_deadline_told=self.is_deadline_told,
                on_end=end,
            )
            await self.load.run(self.departures)
        finally:
            await self.client.close()

    async def _prepare(self) -> None:
        """Learn the server's model, and how long a program takes alone where that matters."""
        wanted = {**self.asking.usual, **self.asking.extra}.get("model")
        self.model = wanted or await self.client.model()
        usual = {"model": self.model, **self.asking.usual}
        self.asking = replace(self.asking, usual=usual)
        if self.deadline is None:
            return
        number, is_multiple = self.deadline
        if is_multiple:
            alone = Load(self.client, self.asking)
            seconds = await alone.solo_seconds(self.departures[:SOLO_PROGRAMS])
            self.solo_seconds = round(seconds, 6)
        self.deadline_seconds = round(number * (self.solo_seconds or 1.0), 6)

    def figures(self, warm_up: float) -> dict[str, Any]:
        """Return what was measured, and of what."""
        outcomes = [] if self.load is None else self.load.outcomes
        failed = [one.message for one in outcomes if one.message]
        return {
            "url": shown(self.client.url),
            "model": self.model,
            "asked": self._asked(),
            "seed": self.asking.seed,
            "solo_seconds": self.solo_seconds,
            **figures(
                outcomes,
                self.departures,
                deadline_seconds=self.deadline_seconds,
                warm_up=warm_up,
            ),
            "last_error": failed[-1] if failed else None,
        }

    def _asked(self) -> str:
        how = "streamed" if self.asking.is_streamed else "not streamed"
        if self.asking.algorithm is not None:
            told = ", ".join(f"{key} {value}" for key, value in self.asking.algorithm.items())
            return f"{told}, {how}"
        count = self.asking.branches
        return f"{count} plain request{'s' if count > 1 else ''} a program, {how}"


def measured(run: BenchRun, warm_up: float, *, is_quiet: bool) -> dict[str, Any]:
    """Run the load and judge its answers; Ctrl-C leaves what has ended so far."""
    raise_open_files()
    console = Console(stderr=True)
    try:
        with _watcher(console, is_quiet) as watcher, _runner() as runner:
            runner.run(run.run(watcher))
    except KeyboardInterrupt:
        if run.load is None or not run.load.outcomes:
            raise
        run.was_interrupted = True
    if run.load is not None and not run.asking.task.runs_programs:
        with _runner() as runner:
            runner.run(_judged(run))
    return run.figures(warm_up)


async def _judged(run: BenchRun) -> None:
    outcomes = [] if run.load is None else run.load.outcomes
    async with Workers() as workers:
        await judge(outcomes, workers, run.asking.task.name)


def _runner() -> asyncio.Runner:
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


@contextlib.contextmanager
def _watcher(console: Console, is_quiet: bool) -> Iterator[Quiet]:
    if is_quiet or not console.is_terminal:
        yield Quiet(console) if is_quiet else ProgramLines(console)
        return
    with Bar(console) as bar:
        yield bar
