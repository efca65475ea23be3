"""The simplest modelled engine: fixed slots, a fixed token rate, first come first served."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import floor

from dynasor.core.commands import Submit
from dynasor.core.types import Output, Usage

__all__ = ["Attempt", "Outcome", "SimpleEngine"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt comes to: an output, or an error's class name, after so many tokens.

    `tokens` completion tokens are generated before the end; `is_retryable` matters for errors.
    """

    output: Output | None
    tokens: int
    error_kind: str = ""
    error: str = ""
    is_retryable: bool = True


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt inside the engine; `started` is None while it queues."""

    submit: Submit
    outcome: Outcome
    started: float | None = None


class SimpleEngine:
    """Runs up to `slots` attempts at once, each at `tokens_per_second`; the others queue."""

    def __init__(self, slots: int, tokens_per_second: float) -> None:
        self.slots = slots
        self.tokens_per_second = tokens_per_second
        self.running: dict[str, Attempt] = {}
        self.queue: deque[Attempt] = deque()

    def add(self, attempt: Attempt) -> None:
        """Queue an attempt."""
        self.queue.append(attempt)

    def start(self, now: float) -> list[tuple[Attempt, float]]:
        """Start queued attempts in free slots; return each with the time of its end."""
        started: list[tuple[Attempt, float]] = []
        while self.queue and len(self.running) < self.slots:
            attempt = self.queue.popleft()
            attempt.started = now
            self.running[attempt.submit.call.id] = attempt
            started.append((attempt, now + attempt.outcome.tokens / self.tokens_per_second))
        return started

    def end(self, call: str) -> Attempt | None:
        """Take an attempt whose time has come; None if it was aborted before."""
        return self.running.pop(call, None)

    def abort(self, call: str, now: float) -> Usage | None:
        """Stop an attempt; return what it had generated, None if it has already ended."""
        attempt = self.running.pop(call, None)
        if attempt is not None and attempt.started is not None:
            done = floor((now - attempt.started) * self.tokens_per_second + 1e-9)
            return Usage(0, min(done, attempt.outcome.tokens))
        for waiting in self.queue:
            if waiting.submit.call.id == call:
                self.queue.remove(waiting)
                return Usage(0, 0)
        return None
