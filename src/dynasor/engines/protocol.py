"""What an engine is, as a live host sees it: a few coroutines and a description.

An engine retries nothing once connected: hidden retries would escape the journal and the
deadline. A call is aborted by cancelling the task that awaits it; the adapter tells the server,
and `meter` keeps what was spent until then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from dynasor.core.types import (
    Embed,
    Embedded,
    Generate,
    Generated,
    Relay,
    Relayed,
    Score,
    Scored,
    Usage,
)

__all__ = [
    "Description",
    "Engine",
    "Load",
    "Meter",
    "OnReport",
    "Relays",
    "Releases",
    "Sink",
    "Watched",
]

OnReport = Callable[[str, int], None]
"""Receives `(delta, tokens)` every `report_every` tokens of an open call."""


@dataclass(slots=True)
class Meter:
    """Tokens of one attempt so far; an adapter updates it while a call runs.

    `is_counted` stays False while the figures are an estimate.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    is_counted: bool = False

    def usage(self) -> Usage:
        """Return the figures as they stand."""
        return Usage(self.prompt_tokens, self.completion_tokens, self.is_counted)


@dataclass(frozen=True, slots=True)
class Description:
    """What an engine is and holds.

    `slots`: calls it runs at once, a guess unless `has_slots`; `context_tokens`: the longest prompt
    plus completion, None if unknown; `supports`: of `generate`, `score`, `embed`, `logprobs`,
    `prefix`, `relay` and `sharing` (what a running call has computed of a prefix serves others).
    """

    model: str
    slots: int
    context_tokens: int | None
    supports: frozenset[str]
    has_slots: bool = True


class Engine(Protocol):
    """One server, or one embedded model. Every method may raise `EngineError`."""

    @property
    def address(self) -> str:
        """Where it is, for messages: a URL, or what the user named it by."""

    async def start(self) -> Description:
        """Connect or load; raise `EngineUnreachable` with the address if that fails."""

    async def generate(
        self, work: Generate, meter: Meter, on_report: OnReport | None = None
    ) -> Generated:
        """Generate one completion."""

    async def score(self, work: Score, meter: Meter) -> Scored:
        """Score partial solutions; raise `EngineRefused` where that is not supported."""

    async def embed(self, work: Embed, meter: Meter) -> Embedded:
        """Embed texts; raise `EngineRefused` where that is not supported."""

    async def close(self) -> None:
        """Give everything back; safe to call twice."""


class Sink(Protocol):
    """Where the answer to a relayed request goes, while it arrives."""

    @property
    def has_begun(self) -> bool:
        """Whether the client has seen any of it: then no other attempt can be made."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Those of the client's request that engines may see."""

    def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Take the status and the headers of an answer that is to be handed on.

        Another attempt's may follow, while the client has seen nothing.
        """

    async def write(self, data: bytes) -> None:
        """Take the next bytes of its body; waits while the client is slow."""

    async def finish(self) -> None:
        """Take note that the answer is whole; the host says so, not the engine."""


@runtime_checkable
class Relays(Protocol):
    """An engine that can pass a client's own request on."""

    async def relay(self, work: Relay, meter: Meter, sink: Sink) -> Relayed:
        """Send the request, and hand the answer to `sink` as it arrives.

        A refusal of the client's request (4xx, other than 408 and 429) is such an answer; what
        another attempt may mend raises an `EngineError` before anything was handed on.
        """


@dataclass(frozen=True, slots=True)
class Load:
    """Requests that an engine says it runs, and that wait inside it."""

    running: int
    waiting: int


@runtime_checkable
class Watched(Protocol):
    """An engine that can be asked how it is, beside its work."""

    async def healthy(self) -> bool:
        """Say whether it would serve a request now; never raises `EngineError`."""

    async def observe(self) -> Load | None:
        """Return its load, None where it does not say; never raises `EngineError`."""


@runtime_checkable
class Releases(Protocol):
    """An engine that can be told that a program has ended, so that it gives up its cache."""

    def holds(self, program: str) -> bool:
        """Say whether there is anything to give up; asked when each program has ended."""

    async def release(self, program: str) -> None:
        """Tell it; raises `EngineError` where that fails, and is not tried again."""
