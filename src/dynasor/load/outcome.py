"""What became of one program; times are in seconds after the beginning of the load."""

from __future__ import annotations

from dataclasses import dataclass, field

from dynasor.core.types import Usage

__all__ = ["ANSWERED", "DEADLINE", "FAILED", "Outcome"]

ANSWERED, DEADLINE, FAILED = "answered", "deadline", "failed"


@dataclass(slots=True)
class Outcome:
    """One program from its scheduled departure to its end.

    `due` is when it was to leave, `sent` when it did. `status` is `answered`, `deadline` (the
    server ended it there with its best answer so far) or `failed`, `error` the failure's class and
    `message` its text. `answers` are those of its requests in order, None where a text had none.
    `failed_calls` requests of a program that was answered all the same have failed. `is_right` is
    None until it has been judged.
    """

    program: str
    question: str
    reference: str | None
    due: float
    sent: float
    ended: float
    first: float | None = None
    status: str = ANSWERED
    error: str = ""
    message: str = ""
    usage: Usage = field(default_factory=Usage)
    answers: tuple[str | None, ...] = ()
    failed_calls: int = 0
    is_right: bool | None = None

    @property
    def latency(self) -> float:
        """Seconds from the scheduled departure to the end: a late start is no merit."""
        return self.ended - self.due

    @property
    def lag(self) -> float:
        """Seconds by which the generator itself was late."""
        return max(0.0, self.sent - self.due)
