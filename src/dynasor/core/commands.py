"""What the scheduler asks of its host. Every command names the event that caused it.

`cause` is that event's number: the count of events handled before it. Commands hold nothing that
could be part of a reference cycle (`gc=False`).
"""

from __future__ import annotations

from msgspec import Struct

from dynasor.core.types import Answer, Call, Hints, Spending

__all__ = [
    "Abort",
    "Answered",
    "Closed",
    "Command",
    "Compare",
    "Moved",
    "SetTimer",
    "Shadowed",
    "Submit",
]


class Submit(Struct, frozen=True, gc=False, tag="submit"):
    """Send this attempt of a call to this replica, with `hints` where engines are to have them."""

    call: Call
    attempt: int
    replica: str
    cause: int
    hints: Hints | None = None


class Abort(Struct, frozen=True, gc=False, tag="abort"):
    """Stop this attempt; it still ends in exactly one event and holds its slot until then."""

    call: str
    attempt: int
    cause: int


class Compare(Struct, frozen=True, gc=False, tag="compare"):
    """Sort new answers into classes; answer with `Grouped(program, serial, ...)`."""

    program: str
    serial: int
    task: str
    new: tuple[str, ...]
    representatives: tuple[str, ...]
    cause: int


class SetTimer(Struct, frozen=True, gc=False, tag="set-timer"):
    """Send `TimerFired(name)` at time `at` (seconds, on the host's clock) or soon after."""

    name: str
    at: float
    cause: int


class Moved(Struct, frozen=True, gc=False, tag="moved"):
    """A program got further: for progress displays.

    `knob` units of `granted` are settled; `certaindex` maps signal names to values in [0, 1];
    `votes` maps each class's first answer to its votes, in order of appearance; `tokens` were
    generated for it so far.
    """

    program: str
    knob: int
    granted: int
    certaindex: dict[str, float]
    votes: dict[str, float]
    tokens: int
    cause: int


class Shadowed(Struct, frozen=True, gc=False):
    """What a policy that was only asked (`shadow`) would have done.

    It would have stopped after `knob` units, for `reason`, with the answer `answer` (None: none);
    `is_same` says whether that is the same answer as the program's own. `tokens_after` of the
    completion tokens were spent on units after those; empty `reason`: it would have gone on, and
    nothing was. `error` says why it could not be asked, empty if it could.
    """

    knob: int
    reason: str
    tokens_after: int
    answer: str | None
    is_same: bool
    error: str = ""


class Answered(Struct, frozen=True, gc=False, tag="answered"):
    """A program's answer is decided; its aborted calls may still hold slots.

    `status`: `answered`, `deadline` (time ran out: the best so far), `failed` or `withdrawn`;
    the latter two carry `error_kind` and `error` instead of an answer. `answer` None with status
    `answered` means that no finished branch contained an answer. `reason` says why it stopped,
    `notes` what went wrong on the way and how often, `shadow` what another policy would have done
    where one was to be asked.
    """

    program: str
    status: str
    reason: str
    answer: Answer | None
    error_kind: str
    error: str
    knob: int
    cap: int
    certaindex: dict[str, float]
    votes: dict[str, float]
    cause: int
    notes: dict[str, int] = {}
    shadow: Shadowed | None = None


class Closed(Struct, frozen=True, gc=False, tag="closed"):
    """The last call of an answered program has ended: the bill is final.

    `grouping_failures` counts answers that could not be compared and were held to be different.
    """

    program: str
    spending: Spending
    calls: int
    aborted_calls: int
    failed_attempts: int
    grouping_failures: int
    cause: int


Command = Submit | Abort | Compare | SetTimer | Moved | Answered | Closed
