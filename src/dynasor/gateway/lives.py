"""Every program from its arrival to its bill, read off the scheduler's events.

What is measured, logged and billed of programs is one frozen `Ended`, made when a program is
closed and handed to whoever listens. This file must not know who that is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from msgspec import Struct

from dynasor.core.commands import Answered, Closed, Command, Shadowed, Submit
from dynasor.core.events import Arrived, Cancelled, Event, Failed, Finished
from dynasor.core.types import Spending

__all__ = ["CallEnded", "Ended", "Lives"]


class Ended(Struct, frozen=True, kw_only=True):
    """What a program was, and how it went.

    `status`, `reason`, `error_kind`, `knob` and `cap` are those of `Answered`, the counts those of
    `Closed`. `certainty` is the least of its certaindices, None without any. `seconds` is the time
    until its answer, `engine_seconds` the sum over its calls' times at engines, and `solo_seconds`
    that sum over the most of them that ran at once: about what it would have taken with nobody
    before it. `slack_seconds` were left of its `deadline_seconds` (negative: too late), both None
    without a deadline. `shadow` says what a policy that was only asked would have done.
    """

    program: str
    algorithm: str
    workload: str
    tenant: str
    status: str
    reason: str
    error_kind: str
    knob: int
    cap: int
    certainty: float | None
    spending: Spending
    calls: int
    aborted_calls: int
    failed_attempts: int
    grouping_failures: int
    seconds: float
    engine_seconds: float
    solo_seconds: float
    deadline_seconds: float | None
    slack_seconds: float | None
    shadow: Shadowed | None = None

    @property
    def tokens(self) -> int:
        """All tokens that it cost, those of prompts too: what a budget is charged with."""
        return self.spending.prompt_tokens + self.spending.completion_tokens

    @property
    def saved_tokens(self) -> int:
        """Estimate what the units that its policy did not grant would have cost.

        Each as many as its mean settled one; 0 without an answer, or without a settled unit.
        """
        if self.status != "answered" or not self.knob:
            return 0
        left = max(0, self.cap - self.knob)
        return round(left * self.spending.finished_tokens / self.knob)


class CallEnded(Struct, frozen=True):
    """One attempt of a call has ended: `finished`, `failed` or `cancelled`."""

    pool: str
    replica: str
    end: str
    seconds: float


@dataclass(slots=True)
class _Life:
    """A program on its way: what of its arrival is needed later, and its calls so far."""

    algorithm: str
    workload: str
    tenant: str
    arrived: float
    deadline_seconds: float | None
    running: int = 0
    widest: int = 0
    engine_seconds: float = 0.0
    answered: Answered | None = None
    answered_at: float = 0.0


_ENDS: dict[type, str] = {Finished: "finished", Failed: "failed", Cancelled: "cancelled"}


class Lives:
    """Follows all programs: a driver's recorder.

    `on_ended` hears of each program once, when it is closed; `on_call` of each attempt. Neither
    may raise. Nothing is kept of a program that is closed.
    """

    def __init__(
        self, on_ended: Callable[[Ended], None], on_call: Callable[[CallEnded], None]
    ) -> None:
        self._on_ended = on_ended
        self._on_call = on_call
        self._lives: dict[str, _Life] = {}
        self._attempts: dict[tuple[str, int], tuple[Submit, float]] = {}

    def __len__(self) -> int:
        """Programs that are not closed."""
        return len(self._lives)

    def record(self, now: float, event: Event, commands: list[Command]) -> None:
        """Take one event and what it caused."""
        if isinstance(event, Arrived):
            self._arrived(now, event)
        elif type(event) in _ENDS:
            self._call_ended(now, event)  # type: ignore[arg-type]
        for command in commands:
            if isinstance(command, Submit):
                self._submitted(now, command)
            elif isinstance(command, Answered):
                self._answered(now, command)
            elif isinstance(command, Closed):
                self._closed(command)

    def _arrived(self, now: float, event: Arrived) -> None:
        self._lives[event.program] = _Life(
            event.spec.name, event.workload, event.tenant, now, event.deadline_seconds
        )

    def _submitted(self, now: float, command: Submit) -> None:
        self._attempts[command.call.id, command.attempt] = command, now
        life = self._lives.get(command.call.program)
        if life is not None:
            life.running += 1
            life.widest = max(life.widest, life.running)

    def _call_ended(self, now: float, event: Finished | Failed | Cancelled) -> None:
        known = self._attempts.pop((event.call, event.attempt), None)
        if known is None:
            return  # of a program that was there before this recorder
        command, started = known
        seconds = now - started
        life = self._lives.get(command.call.program)
        if life is not None:
            life.running -= 1
            life.engine_seconds += seconds
        self._on_call(CallEnded(command.call.pool, command.replica, _ENDS[type(event)], seconds))

    def _answered(self, now: float, command: Answered) -> None:
        life = self._lives.get(command.program)
        if life is not None:
            life.answered, life.answered_at = command, now

    def _closed(self, command: Closed) -> None:
        life = self._lives.pop(command.program, None)
        if life is None or life.answered is None:
            return
        answered = life.answered
        seconds, limit = life.answered_at - life.arrived, life.deadline_seconds
        self._on_ended(
            Ended(
                program=command.program,
                algorithm=life.algorithm,
                workload=life.workload,
                tenant=life.tenant,
                status=answered.status,
                reason=answered.reason,
                error_kind=answered.error_kind,
                knob=answered.knob,
                cap=answered.cap,
                certainty=min(answered.certaindex.values(), default=None),
                spending=command.spending,
                calls=command.calls,
                aborted_calls=command.aborted_calls,
                failed_attempts=command.failed_attempts,
                grouping_failures=command.grouping_failures,
                seconds=seconds,
                engine_seconds=life.engine_seconds,
                solo_seconds=life.engine_seconds / max(1, life.widest),
                deadline_seconds=limit,
                slack_seconds=None if limit is None else limit - seconds,
                shadow=answered.shadow,
            )
        )
