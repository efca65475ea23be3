"""What a modelled engine is, and the simplest one: fixed slots, a fixed token rate.

A host adds attempts and asks for what has ended; an engine says when that will be. This file must
not know of schedulers, programs or policies.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from math import floor, inf
from typing import Protocol

from msgspec import Struct

from dynasor.core.commands import Submit
from dynasor.core.events import Cancelled, Failed, Finished, Progressed
from dynasor.core.types import Generate, Generated, Output, Usage

__all__ = ["Attempt", "Ending", "Engine", "Outcome", "Segment", "SimpleEngine", "ending", "report"]

Ending = Finished | Failed | Cancelled | Progressed


class Segment(Struct, frozen=True, gc=False):
    """A piece of a prompt that other prompts may share.

    `key` names its text and all that stands before it: no prompt has a key twice, and wherever a
    key stands there are the same segments before it.
    """

    key: str
    tokens: int


class Outcome(Struct, frozen=True, gc=False):
    """What an attempt comes to: an output, or an error's class name, after so many tokens.

    `tokens` completion tokens are generated before the end; `is_retryable` matters for errors.
    `path` is the prompt, segment by segment from its beginning; prompts whose first segments are
    the same share them in an engine's cache. `key` names what is generated, so that it can be a
    segment of later prompts; empty where nobody continues it.
    """

    output: Output | None
    tokens: int
    error_kind: str = ""
    error: str = ""
    is_retryable: bool = True
    path: tuple[Segment, ...] = ()
    key: str = ""


class Attempt:
    """One attempt inside an engine.

    `report_every` is how many tokens lie between two reports, 0 for none; `started` (seconds) is
    None while it queues.
    """

    __slots__ = ("id", "outcome", "report_every", "started", "submit")

    def __init__(self, submit: Submit, outcome: Outcome) -> None:
        self.id = submit.call.id
        self.submit = submit
        self.outcome = outcome
        self.started: float | None = None
        work, is_text = submit.call.work, isinstance(outcome.output, Generated)
        self.report_every = work.report_every if is_text and isinstance(work, Generate) else 0

    def __repr__(self) -> str:
        return f"<Attempt {self.submit.attempt} of {self.id}, {self.outcome.tokens} tokens>"


class Engine(Protocol):
    """A modelled engine, asked in this order: `take` until None, then `go_on`.

    `slots` is how many calls its pool believes it runs at once, `wake` the time (seconds) at which
    something ends, infinite when nothing will by itself.
    """

    slots: int
    wake: float

    def add(self, attempt: Attempt, now: float) -> Ending | None:
        """Queue an attempt; return its ending where it can never run."""

    def abort(self, call: str, now: float) -> Ending | None:
        """Stop an attempt; return its ending if it has one at once, None if that comes later."""

    def take(self, now: float) -> Ending | None:
        """Return one thing that has happened by now, None when there is nothing more."""

    def go_on(self, now: float) -> None:
        """Start what can be started, and say in `wake` when something happens next."""

    def retire(self, program: str) -> None:
        """Note that no more calls of a program will come."""


def ending(attempt: Attempt) -> Ending:
    """Return how an attempt ends that was left to run."""
    call, number, outcome = attempt.id, attempt.submit.attempt, attempt.outcome
    if outcome.output is not None:
        return Finished(call, number, outcome.output)
    usage = Usage(0, outcome.tokens)
    return Failed(call, number, outcome.error_kind, outcome.error, outcome.is_retryable, usage)


def report(attempt: Attempt, done: int) -> Progressed:
    """Return the report after `done` tokens: the text is spread evenly over its tokens."""
    every, tokens, output = attempt.report_every, attempt.outcome.tokens, attempt.outcome.output
    assert isinstance(output, Generated)  # or there would be no reports
    text = output.text
    delta = text[len(text) * (done - every) // tokens : len(text) * done // tokens]
    return Progressed(attempt.id, attempt.submit.attempt, delta, every)


class SimpleEngine:
    """Runs up to `slots` attempts at once, each at `tokens_per_second`; the others queue."""

    def __init__(self, slots: int, tokens_per_second: float) -> None:
        self.slots = slots
        self.tokens_per_second = tokens_per_second
        self.running: dict[str, Attempt] = {}
        self.queue: dict[str, Attempt] = {}
        self.wake = inf
        self._planned: list[tuple[float, int, Attempt, int]] = []
        self._serial = 0

    def add(self, attempt: Attempt, now: float) -> None:
        """Queue an attempt, in order of arrival."""
        self.queue[attempt.id] = attempt

    def abort(self, call: str, now: float) -> Ending | None:
        """End an attempt at once, at the cost of what it had generated, in whole tokens."""
        attempt = self.running.pop(call, None)
        if attempt is not None and attempt.started is not None:
            done = floor((now - attempt.started) * self.tokens_per_second + 1e-9)
            usage = Usage(0, min(done, attempt.outcome.tokens))
            return Cancelled(call, attempt.submit.attempt, usage)
        attempt = self.queue.pop(call, None)
        return None if attempt is None else Cancelled(call, attempt.submit.attempt, Usage())

    def take(self, now: float) -> Ending | None:
        """Return the next end or report that has come; those of aborted attempts are nobody's."""
        planned = self._planned
        while planned and planned[0][0] <= now:
            _, _, attempt, done = heappop(planned)
            if self.running.get(attempt.id) is not attempt:
                continue
            if done:
                return report(attempt, done)
            del self.running[attempt.id]
            return ending(attempt)
        return None

    def go_on(self, now: float) -> None:
        """Start queued attempts in free slots."""
        while self.queue and len(self.running) < self.slots:
            attempt = self.queue.pop(next(iter(self.queue)))
            attempt.started = now
            self.running[attempt.id] = attempt
            for done, tokens in _milestones(attempt):
                self._serial += 1
                at = now + tokens / self.tokens_per_second
                heappush(self._planned, (at, self._serial, attempt, done))
        self.wake = self._planned[0][0] if self._planned else inf

    def retire(self, program: str) -> None:
        """Nothing is kept of a program."""


def _milestones(attempt: Attempt) -> Iterator[tuple[int, int]]:
    """Yield `(tokens reported, tokens generated)` of each report, and `(0, all)` for the end."""
    every, tokens = attempt.report_every, attempt.outcome.tokens
    if every:
        for done in range(every, tokens + 1, every):
            yield done, done
    yield 0, tokens
