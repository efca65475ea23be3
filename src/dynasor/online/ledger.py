"""What is written down while programs run in virtual time: one row a program, samples of the whole.

Rows of programs that live hold what is counted; the memory of a long run is a few numbers a
program.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan
from typing import Any

import numpy as np

from dynasor.core.commands import Answered, Closed, Command
from dynasor.core.events import Arrived, Event
from dynasor.core.types import Spending
from dynasor.online.arrivals import Visit
from dynasor.online.outcome import Course, Simulated, Totals
from dynasor.sim.batching import BatchEngine
from dynasor.sim.engine import Attempt

__all__ = ["Ledger"]

MOST_SAMPLES = 1000
"""Samples of a run's course; when there are twice as many, every other one is dropped."""


class Row:
    """One program's numbers; `running` of its calls are in a batch, none since `idle_since`."""

    __slots__ = (
        "deadline", "finished", "first_start", "full_tokens", "idle_since", "knob",
        "longest_wait", "part", "prompt_tokens", "quality", "running", "solo_seconds", "status",
        "tokens", "visit",
    )  # fmt: skip

    def __init__(self, visit: Visit, part: int, full_tokens: int, solo_seconds: float) -> None:
        self.visit: Visit | None = visit
        self.part = part
        self.deadline = inf if visit.deadline_seconds is None else visit.deadline_seconds
        self.full_tokens = full_tokens
        self.solo_seconds = solo_seconds
        self.first_start = self.finished = nan
        self.status = ""
        self.tokens = self.prompt_tokens = self.knob = 0
        self.quality = 0.0
        self.running = 0
        self.idle_since = visit.time
        self.longest_wait = 0.0

    def rest(self, now: float) -> None:
        """Count the time without a running call that ends now."""
        self.longest_wait = max(self.longest_wait, now - self.idle_since)


class Ledger:
    """Watches a host and listens to its engines."""

    def __init__(self, engines: Sequence[BatchEngine]) -> None:
        self.engines = list(engines)
        self.live: dict[str, Row] = {}
        self.last_arrival = 0.0
        self.last_end = 0.0
        self._rows: list[Row] = []
        self._factors: list[float] = []
        self._arrived: list[float] = []
        self._ended = 0
        self._samples: list[tuple[float, float, float, float, float]] = []
        self._next_sample = 0.0
        self._period = 0.01

    def add(self, row: Row) -> None:
        """Open a program's row, before it arrives."""
        visit = row.visit
        assert visit is not None  # until it closes
        self.live[visit.program] = row
        self._rows.append(row)
        self._arrived.append(visit.time)
        self._factors.append(visit.factor)

    def entered(self, attempt: Attempt, now: float) -> None:
        """Note that a call of a program runs."""
        row = self.live[attempt.submit.call.program]
        if not row.running and not row.status:
            row.rest(now)
            if row.first_start != row.first_start:
                row.first_start = now
        row.running += 1

    def left(self, attempt: Attempt, now: float) -> None:
        """Note that a call of a program runs no more."""
        row = self.live[attempt.submit.call.program]
        row.running -= 1
        if not row.running:
            row.idle_since = now

    def see(self, event: Event, commands: list[Command], now: float, waiting: int) -> None:
        """Note arrivals, answers and bills; `waiting` calls wait for the scheduler to send them."""
        if isinstance(event, Arrived):
            self.last_arrival = now
        for command in commands:
            if isinstance(command, Answered):
                self._answered(command, now)
            elif isinstance(command, Closed):
                self.bill(command.program, command.spending)
                self.live.pop(command.program).visit = None
                self.last_end = now
        # Timers that nobody waits for any more come after the last program has ended.
        if now >= self._next_sample and (self.live or not self._samples):
            self.sample(now, waiting)

    def bill(self, program: str, spending: Spending) -> None:
        """Note what a program has cost, at its end or the run's."""
        row = self.live[program]
        row.tokens = spending.completion_tokens
        row.prompt_tokens = spending.prompt_tokens

    def _answered(self, answered: Answered, now: float) -> None:
        row = self.live[answered.program]
        if not row.running:
            row.rest(now)
        row.finished, row.status, row.knob = now, answered.status, answered.knob
        # A deadline that passed before the first answer is a failure to the client.
        if answered.error_kind == "DeadlineExceeded":
            row.status = "deadline"
        self._ended += 1
        if answered.answer is not None and row.visit is not None:
            row.quality = row.visit.question.worth(int(answered.answer.value))

    def sample(self, now: float, waiting: int) -> None:
        """Write down the state of the whole."""
        engines = self.engines
        blocks = sum(engine.cache.blocks for engine in engines)
        live = len(self._rows) - self._ended - (bool(self._rows) and self._arrived[-1] > now)
        self._samples.append(
            (
                now,
                live,
                waiting + sum(len(engine.waiting) for engine in engines),
                sum(engine.cache.used for engine in engines) / blocks,
                sum(engine.totals.generated for engine in engines),
            )
        )
        if len(self._samples) >= 2 * MOST_SAMPLES:
            del self._samples[1::2]
            # Events may be rarer than the period was: what comes is to be as dense as what is kept.
            self._period = (now - self._samples[0][0]) / MOST_SAMPLES
        self._next_sample = now + self._period

    def close(self, parts: tuple[str, ...], totals: Totals) -> Simulated:
        """Return everything as arrays, in order of arrival."""

        def column(name: str) -> Any:
            return np.array([getattr(row, name) for row in self._rows], dtype=float)

        for row in self.live.values():
            if not row.status and not row.running:
                row.rest(max(totals.end, row.idle_since))
        return Simulated(
            parts=parts,
            part=np.array([row.part for row in self._rows], dtype=int),
            arrived=np.array(self._arrived, dtype=float),
            factor=np.array(self._factors, dtype=float),
            status=np.array([row.status for row in self._rows], dtype=str),
            totals=totals,
            course=Course.of(self._samples),
            **{
                name: column(name)
                for name in (
                    "first_start", "finished", "deadline", "tokens", "full_tokens",
                    "prompt_tokens", "knob", "quality", "solo_seconds", "longest_wait",
                )
            },
        )  # fmt: skip

    @property
    def is_cut(self) -> bool:
        """Whether a program has no ending yet."""
        return any(not row.status for row in self.live.values())

    @property
    def waiting_mean(self) -> float:
        """Calls that waited, a mean over the time of the samples."""
        if len(self._samples) < 2 or self._samples[-1][0] == self._samples[0][0]:
            return 0.0
        seconds, _, waiting, _, _ = np.array(self._samples).T
        return float(np.average(waiting[:-1], weights=np.diff(seconds)))
