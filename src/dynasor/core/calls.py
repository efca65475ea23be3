"""The life of one call: waiting, running, backing off, ended; and what its program pays for it."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from dynasor.core.ordering import Demand
from dynasor.core.program import Report
from dynasor.core.types import (
    Call,
    Embed,
    Embedded,
    Generate,
    Generated,
    Output,
    Relay,
    Relayed,
    Score,
    Scored,
    Spending,
    Usage,
    Work,
)

__all__ = [
    "ABORTING",
    "BACKING_OFF",
    "ENDED",
    "OUTPUT_OF",
    "RUNNING",
    "WAITING",
    "Bill",
    "CallState",
    "Phase",
    "flaw_of",
]


OUTPUT_OF: dict[type, type] = {
    Generate: Generated,
    Score: Scored,
    Embed: Embedded,
    Relay: Relayed,
}
"""What a call comes to, by its work."""


class Phase(Enum):
    """Where a call is.

    waiting -> running -> ended; running -> backing_off -> waiting (another attempt);
    running -> aborting -> ended; waiting or backing_off -> ended (never sent again).
    """

    WAITING = "waiting"
    RUNNING = "running"
    BACKING_OFF = "backing off"
    ABORTING = "aborting"
    ENDED = "ended"


WAITING, RUNNING, BACKING_OFF, ABORTING, ENDED = Phase
"""Python 3.11 looks an enum's members up in Python code, which would cost a tenth of `handle()`."""


class CallState(Struct, eq=False):
    """One call and all that changes about it.

    `attempt` counts from 1 once it was sent; `strand` waits for it. For an open call, `reports`
    are those that no `Next` has taken yet, `error` its failure, `awaited_by` the strand that waits
    for the next one; `told` are the tokens of this attempt's reports so far. `recalled` is the
    attempt that was broken off with its replica, to be made elsewhere, 0 for none.
    """

    call: Call
    demand: Demand
    strand: int
    is_speculative: bool
    is_open: bool = False
    phase: Phase = WAITING
    attempt: int = 0
    replica: str = ""
    started: float = 0.0
    reports: tuple[Report, ...] = ()
    error: Exception | None = None
    awaited_by: int | None = None
    told: int = 0
    recalled: int = 0


def flaw_of(work: Work, output: Output) -> str:
    """Say what is wrong with an output that an engine holds for good, empty for nothing.

    Rewards must be one an item and lie in [0, 1], or be None: a program that trusts a NaN compares
    in vain.
    """
    if not isinstance(work, Score) or not isinstance(output, Scored):
        return ""
    rewards = output.rewards
    if len(rewards) != len(work.items):
        return f"{len(rewards)} rewards for {len(work.items)} partial solutions; expected one each"
    told = (reward for reward in rewards if reward is not None)
    wrong = next((reward for reward in told if not 0.0 <= reward <= 1.0), None)
    return "" if wrong is None else f"a reward of {wrong}; expected 0 to 1"


class Bill:
    """What a program's calls cost so far: each attempt's tokens are added once, when it ends.

    `finished_tokens` are the completion tokens of calls that ended well; `worked` adds what open
    calls have reported, however they end: a stream that runs, or was cut, has cost its units.
    """

    __slots__ = ("_aborted", "_estimated", "_failed", "_prompt", "finished_tokens", "worked")

    def __init__(self) -> None:
        self._prompt = self._aborted = self._failed = self._estimated = 0
        self.finished_tokens = 0
        self.worked = 0

    def add(self, usage: Usage, was_aborted: bool, has_failed: bool, told: int = 0) -> None:
        """Add one attempt; an aborted one counts as aborted however it ended."""
        self._prompt += usage.prompt_tokens
        if was_aborted:
            self._aborted += usage.completion_tokens
        elif has_failed:
            self._failed += usage.completion_tokens
        else:
            self.finished_tokens += usage.completion_tokens
            self.worked += max(0, usage.completion_tokens - told)
        if not usage.is_counted:
            self._estimated += usage.completion_tokens

    @property
    def completion_tokens(self) -> int:
        """All completion tokens."""
        return self.finished_tokens + self._aborted + self._failed

    def spending(self) -> Spending:
        """Return the sums."""
        return Spending(
            prompt_tokens=self._prompt,
            finished_tokens=self.finished_tokens,
            aborted_tokens=self._aborted,
            failed_tokens=self._failed,
            estimated_tokens=self._estimated,
        )
