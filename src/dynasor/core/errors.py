"""Every error that Dynasor raises on purpose.

    DynasorError                 500
    ├── UserError                400   the caller can mend it: what was given, what was expected
    │   ├── UnknownName          400   a policy, ordering, task, program ... that nobody registered
    │   └── ConfigError          400   a setting that is unknown or out of range
    ├── EngineError              502   an engine did not do what was asked; names its address
    │   ├── EngineUnreachable    503   no connection, or it broke
    │   ├── EngineTimeout        504   no answer within the time limit
    │   ├── EngineBusy           503   it said: later
    │   ├── EngineRefused        400   it said: never
    │   │   └── EngineDenied     502   ... and nobody who asks can mend it: a key, an address
    │   └── EngineGarbage        502   it said something that is not the protocol
    ├── CallFailed               502   one call failed for good; what a strand sees
    ├── ProgramFailed            500   a program's own code raised, or all its calls failed
    ├── DeadlineExceeded         504   time ran out before the first answer
    ├── Withdrawn                499   the client took its question back
    ├── JournalError             400   a journal that cannot be read or replayed
    └── IllegalTransition        500   a host broke the scheduler's protocol; nothing was changed

`http_status` is a hint for gateways. A message says what was given, what was expected and what
to do about it, on one line.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "CallFailed",
    "ConfigError",
    "DeadlineExceeded",
    "DynasorError",
    "EngineBusy",
    "EngineDenied",
    "EngineError",
    "EngineGarbage",
    "EngineRefused",
    "EngineTimeout",
    "EngineUnreachable",
    "IllegalTransition",
    "JournalError",
    "ProgramFailed",
    "UnknownName",
    "UserError",
    "Withdrawn",
    "kind_of",
    "revive",
]

MOST_LETTERS = 200
"""Of a name that nobody knows: so much of it is said again."""


class DynasorError(Exception):
    """The root of the tree: catch it to catch everything that Dynasor raises on purpose."""

    http_status = 500


class UserError(DynasorError):
    """Something the caller gave cannot be used."""

    http_status = 400


class UnknownName(UserError):
    """A name that nobody registered; the message lists those that are known."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        if len(name) > MOST_LETTERS:  # a client's own, perhaps: its megabytes are nobody's typo
            name = f"{name[:MOST_LETTERS]}..."
        self.kind, self.name, self.known = kind, name, tuple(sorted(known))
        near = get_close_matches(name, self.known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        super().__init__(f"unknown {kind} {name!r} (known: {', '.join(self.known)}){hint}")

    def __reduce__(self) -> tuple[type[UnknownName], tuple[str, str, tuple[str, ...]]]:
        return type(self), (self.kind, self.name, self.known)


class ConfigError(UserError):
    """A setting that is unknown, of the wrong type or out of range."""


class EngineError(DynasorError):
    """An engine did not do what was asked.

    `address` is the engine's, as the user gave it; `is_retryable` says whether the same call may
    succeed on another attempt.
    """

    http_status = 502
    is_retryable = True
    address = ""

    def __init__(self, address: str, message: str) -> None:
        self.address = address
        super().__init__(f"engine {address}: {message}")


class EngineUnreachable(EngineError):
    """No connection could be made, or it broke before the answer was whole."""

    http_status = 503


class EngineTimeout(EngineError):
    """The engine did not answer within the time limit of the call."""

    http_status = 504


class EngineBusy(EngineError):
    """The engine asked to be left alone for a while (HTTP 429 or 503)."""

    http_status = 503


class EngineRefused(EngineError):
    """The engine will never accept this call (HTTP 4xx): another attempt is useless."""

    http_status = 400
    is_retryable = False


class EngineDenied(EngineRefused):
    """The engine takes no call of ours: its key, its address or the model's name is wrong.

    Nobody who asks can mend that (HTTP 401, 403, 404 and 407).
    """

    http_status = 502


class EngineGarbage(EngineError):
    """The engine's answer does not follow the protocol."""


class CallFailed(DynasorError):
    """One call failed for good: every attempt that was sensible has been made.

    Thrown into the strand that waits for the call. `attempts` is how many were made, `kind` the
    name of the last attempt's error class (`"EngineTimeout"`).
    """

    http_status = 502
    call = ""
    attempts = 0
    kind = ""

    def __init__(self, call: str, attempts: int, kind: str, message: str) -> None:
        self.call, self.attempts, self.kind = call, attempts, kind
        tries = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        super().__init__(f"{message} (call {call}, {tries})")


class ProgramFailed(DynasorError):
    """A program cannot go on: its own code raised, or none of its calls succeeded."""


class DeadlineExceeded(DynasorError):
    """Time ran out before the program had its first answer."""

    http_status = 504


class Withdrawn(DynasorError):
    """The client took its question back (nginx's 499)."""

    http_status = 499


class JournalError(UserError):
    """A journal that cannot be read, or that belongs to another build or format."""


class IllegalTransition(DynasorError):
    """The host broke the scheduler's protocol; the scheduler's state is as it was before."""


def kind_of(error: DynasorError) -> str:
    """Return the class name under which an error travels: a failed call's is what failed it."""
    return (error.kind if isinstance(error, CallFailed) else "") or type(error).__name__


def revive(kind: str, message: str) -> DynasorError:
    """Make an error again from its class name and message, as commands carry it."""
    known = globals().get(kind)
    cls = known if isinstance(known, type) and issubclass(known, DynasorError) else DynasorError
    error: DynasorError = cls.__new__(cls)
    Exception.__init__(error, message)
    return error
