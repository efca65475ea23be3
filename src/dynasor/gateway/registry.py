"""What became of every program: fed with the driver's events and commands, read by clients.

Programs that run are all here, of those that ended the latest `kept`, and as many requests that
passed through: they come so fast that they would push out everything else. Times are seconds since
the program arrived.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec
from msgspec import Struct, field

from dynasor.config import format_policy
from dynasor.core.commands import Abort, Answered, Closed, Command, Moved, Shadowed, Submit
from dynasor.core.events import Arrived, Cancelled, Event, Failed, Finished
from dynasor.core.types import Generate, Generated, Score, Scored, Usage, Work
from dynasor.gateway.tree import Tree
from dynasor.programs.pass_through import PassThrough
from dynasor.requests.completion import usage
from dynasor.runtime.clock import wall_clock

__all__ = ["Attempt", "CallRecord", "ProgramRecord", "Registry", "Settled"]

MOST_CALLS = 4_000
"""The calls of one program that are kept: of one that makes more, the first."""

Ended = Finished | Failed | Cancelled


class Attempt(Struct):
    """One try of a call on a replica; `outcome` is `running` until it has ended."""

    number: int
    replica: str
    sent_seconds: float
    seconds: float | None = None
    outcome: str = "running"
    error: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


class CallRecord(Struct):
    """One engine request; `kind` is `generate`, `score`, `embed` or `relay`."""

    id: str
    kind: str
    pool: str
    is_speculative: bool
    attempts: list[Attempt] = field(default_factory=list)


class Settled(Struct, frozen=True):
    """Where a program stood after a unit: one point of its certaindex history."""

    seconds: float
    knob: int
    certaindex: dict[str, float]
    tokens: int


class ProgramRecord(Struct):
    """One program; `status` is `running` until it has its answer, `is_closed` once it is billed."""

    id: str
    tenant: str
    algorithm: str
    policy: str
    task: str
    workload: str
    created: int
    arrived: float
    cap: int
    deadline_seconds: float | None
    tree: Tree | None
    status: str = "running"
    reason: str = ""
    knob: int = 0
    granted: int = 0
    seconds: float | None = None
    closed_seconds: float | None = None
    answer: str | None = None
    error: str | None = None
    votes: dict[str, float] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    history: list[Settled] = field(default_factory=list)
    calls: dict[str, CallRecord] = field(default_factory=dict)
    works: dict[str, Work] = field(default_factory=dict)
    shadow: Shadowed | None = None
    bill: Closed | None = None

    @property
    def is_closed(self) -> bool:
        """Whether its last call has ended."""
        return self.bill is not None

    @property
    def is_running(self) -> bool:
        """Whether its answer is still to come."""
        return self.status == "running"

    def summary(self) -> dict[str, Any]:
        """Return what a list shows of it."""
        latest = self.history[-1] if self.history else None
        return {
            "id": self.id,
            "object": "dynasor.program",
            "created": self.created,
            "algorithm": self.algorithm,
            "policy": self.policy,
            "task": self.task,
            "status": self.status,
            "reason": self.reason or None,
            "knob": self.knob,
            "cap": self.cap,
            "certaindex": {} if latest is None else latest.certaindex,
            "answer": self.answer,
            "error": self.error,
            "seconds": self.seconds,
            "usage": None if self.bill is None else usage(self.bill.spending),
        }

    def details(self) -> dict[str, Any]:
        """Return all that is known: its votes, its history, its calls and, of a search, its tree.

        `replicas` are those that have served it, `tokens` what ended calls have generated so far.
        """
        attempts = [attempt for call in self.calls.values() for attempt in call.attempts]
        return {
            **self.summary(),
            "workload": self.workload,
            "deadline_seconds": self.deadline_seconds,
            "granted": self.granted,
            "closed_seconds": self.closed_seconds,
            "votes": self.votes,
            "notes": self.notes,
            "shadow": None if self.shadow is None else msgspec.to_builtins(self.shadow),
            "tokens": sum(attempt.completion_tokens for attempt in attempts),
            "replicas": sorted({attempt.replica for attempt in attempts}),
            "history": [msgspec.to_builtins(settled) for settled in self.history],
            "calls": [msgspec.to_builtins(call) for call in self.calls.values()],
            "tree": None if self.tree is None else self.tree.shown(),
        }


class Registry:
    """Keeps the programs; a driver's `Recorder`."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._records: dict[str, ProgramRecord] = {}
        self._ended: deque[ProgramRecord] = deque()
        self._passed: deque[ProgramRecord] = deque()

    def __len__(self) -> int:
        return len(self._records)

    def find(self, program: str) -> ProgramRecord | None:
        """Return a program, None where it is unknown or was forgotten."""
        return self._records.get(program)

    def newest(self, tenant: str) -> list[ProgramRecord]:
        """Return a tenant's programs, the latest first."""
        return [one for one in reversed(self._records.values()) if one.tenant == tenant]

    def record(self, now: float, event: Event, commands: list[Command]) -> None:
        """Note one event and what the scheduler did about it."""
        if isinstance(event, Arrived):
            self._arrived(now, event)
        elif isinstance(event, Finished | Failed | Cancelled):
            self._ended_attempt(now, event)
        for command in commands:
            if isinstance(command, Submit):
                self._submitted(now, command)
            elif isinstance(command, Moved):
                self._moved(now, command)
            elif isinstance(command, Abort):
                self._aborted(command)
            elif isinstance(command, Answered):
                self._answered(now, command)
            elif isinstance(command, Closed):
                self._closed(now, command)

    def _arrived(self, now: float, event: Arrived) -> None:
        params = event.spec.params
        step_end = params.get("step_end")
        self._records.pop(event.program, None)  # a name that is used again is a new program's
        self._records[event.program] = ProgramRecord(
            id=event.program,
            tenant=event.tenant,
            algorithm=event.spec.name,
            policy=format_policy(event.policy),
            task=str(params.get("task", "")),
            workload=event.workload,
            created=wall_clock(),
            arrived=now,
            cap=int(params.get("cap", 0)),
            deadline_seconds=event.deadline_seconds,
            tree=Tree(step_end) if isinstance(step_end, str) and step_end else None,
        )

    def _submitted(self, now: float, command: Submit) -> None:
        record = self._records.get(command.call.program)
        if record is None:
            return
        given, work = command.call, command.call.work
        call = record.calls.get(given.id)
        if call is None:
            if len(record.calls) >= MOST_CALLS:
                return
            kind = type(work).__name__.lower()
            call = CallRecord(given.id, kind, given.pool, given.is_speculative)
            record.calls[given.id] = call
        if record.tree is not None:
            record.works[given.id] = work
        sent = round(now - record.arrived, 6)
        call.attempts.append(Attempt(command.attempt, command.replica, sent))

    def _ended_attempt(self, now: float, event: Ended) -> None:
        record = self._records.get(event.call.rpartition("#")[0])
        if record is None:
            return
        work = record.works.pop(event.call, None)
        call = record.calls.get(event.call)
        attempt = None if call is None else _attempt(call, event.attempt)
        if attempt is None or attempt.seconds is not None:
            return
        bill: Usage = event.output.usage if isinstance(event, Finished) else event.usage
        attempt.seconds = round(now - record.arrived - attempt.sent_seconds, 6)
        attempt.outcome = type(event).__name__.lower()
        attempt.prompt_tokens, attempt.completion_tokens = (
            bill.prompt_tokens,
            bill.completion_tokens,
        )
        if isinstance(event, Failed):
            attempt.error = event.message
        elif isinstance(event, Finished) and record.tree is not None and record.is_running:
            if isinstance(work, Generate) and isinstance(event.output, Generated):
                record.tree.grow(event.call, work, event.output)
            elif isinstance(work, Score) and isinstance(event.output, Scored):
                record.tree.score(work, event.output)

    def _aborted(self, command: Abort) -> None:
        record = self._records.get(command.call.rpartition("#")[0])
        call = None if record is None else record.calls.get(command.call)
        attempt = None if call is None else _attempt(call, command.attempt)
        if attempt is not None:
            attempt.outcome = "aborting"

    def _moved(self, now: float, command: Moved) -> None:
        record = self._records.get(command.program)
        if record is None:
            return
        seconds = round(now - record.arrived, 6)
        record.knob, record.granted = command.knob, command.granted
        record.votes = command.votes
        record.history.append(Settled(seconds, command.knob, command.certaindex, command.tokens))

    def _answered(self, now: float, command: Answered) -> None:
        record = self._records.get(command.program)
        if record is None:
            return
        record.status, record.reason = command.status, command.reason
        record.knob, record.cap = command.knob, command.cap or record.cap
        record.votes, record.notes = command.votes, command.notes
        record.shadow = command.shadow
        record.seconds = round(now - record.arrived, 6)
        record.answer = None if command.answer is None else command.answer.value
        record.error = command.error or None
        if record.tree is not None:
            record.tree.end(None if command.answer is None else command.answer.text)

    def _closed(self, now: float, command: Closed) -> None:
        record = self._records.get(command.program)
        if record is None:
            return
        record.closed_seconds = round(now - record.arrived, 6)
        record.bill = command
        record.works.clear()
        ended = self._passed if record.algorithm == PassThrough.name else self._ended
        ended.append(record)
        while len(ended) > self._kept:
            oldest = ended.popleft()
            if self._records.get(oldest.id) is oldest:
                del self._records[oldest.id]


def _attempt(call: CallRecord, number: int) -> Attempt | None:
    return next((one for one in reversed(call.attempts) if one.number == number), None)
