"""One OpenAI-compatible server as a load sees it: a body in, a reply and its times out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from dynasor.core.errors import EngineRefused, EngineUnreachable
from dynasor.core.types import Usage
from dynasor.engines.faults import api_root, of_exception, of_reported
from dynasor.engines.link import Link, bearer
from dynasor.engines.sse import DONE
from dynasor.engines.wire import (
    Completion,
    ModelList,
    NotTheProtocol,
    decode,
    estimated_tokens,
    read_usage,
)
from dynasor.runtime import MonotonicClock

__all__ = ["Client", "Reply"]

CHAT = "/chat/completions"
CONNECT_SECONDS = 30.0
"""Under a load beyond what a server accepts, connecting is part of the wait."""
MOST_TOKENS = 1 << 30


class Document(Completion):
    """A whole answer or a chunk of one; `dynasor` says what our gateway did."""

    dynasor: Any = None


_DOCUMENT = msgspec.json.Decoder(Document)
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_MODELS = msgspec.json.Decoder(ModelList)


@dataclass(slots=True)
class Reply:
    """What came of one request.

    `first_at` is when the first event came (the whole answer where it was not streamed), on the
    client's clock; `story` is the gateway's object `dynasor`, empty where there is none.
    """

    first_at: float | None = None
    usage: Usage | None = None
    finish_reason: str | None = None
    story: dict[str, Any] = field(default_factory=dict)
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All that was said, a reasoning model's thoughts in front."""
        return "".join(self.pieces)

    def take(self, document: Document) -> None:
        """Add a document to what came before it."""
        for choice in document.choices[:1]:
            said = choice.said
            if said is not None and (said.content or said.thoughts):
                self.pieces.append(said.thoughts + (said.content or ""))
            self.finish_reason = choice.finish_reason or self.finish_reason
        self.usage = read_usage(document.usage, 0, MOST_TOKENS) or self.usage
        if isinstance(document.dynasor, dict):
            self.story = document.dynasor

    def bill(self) -> Usage:
        """Return the server's count, or what the text tells."""
        guess = max(len(self.pieces), estimated_tokens(self.text))
        return self.usage or Usage(0, guess, is_counted=False)


class Client:
    """Requests to one server; open it before, close it after.

    `url` with or without `/v1`; raises `ConfigError` for something else. `seconds_limit` bounds
    silence. A failure comes out as an `EngineError` that names the address. `clock` is what times
    are taken from: an event loop's own may count in whole milliseconds.
    """

    def __init__(self, url: str, seconds_limit: float = 600.0, api_key: str | None = None) -> None:
        self.url = url
        self.clock = MonotonicClock()
        self._link = Link(url, api_root(url), seconds_limit, CONNECT_SECONDS, bearer(api_key))

    async def open(self) -> None:
        """Be ready to send; nothing is sent yet."""
        await self._link.open()

    async def close(self) -> None:
        """Drop every connection; safe to call twice."""
        await self._link.close()

    async def model(self) -> str:
        """Return the server's first model."""
        data = await self._link.get("/models")
        if data is None:
            raise EngineRefused(self.url, "has no /v1/models; check it, or name the model")
        with self._translated():
            models = decode(data, _MODELS).data
        if not models:
            raise EngineRefused(self.url, "lists no model; name one")
        return models[0].id

    async def program(self, program: str) -> dict[str, Any] | None:
        """Return what our gateway knows of a program; None where it, or the server, knows none."""
        data = await self._link.get(f"/programs/{program}")
        with self._translated():
            return None if data is None else decode(data, _OBJECT)

    async def ask(self, body: Mapping[str, Any]) -> Reply:
        """Send a request and wait for the end of its answer."""
        reply = Reply()
        if not body.get("stream"):
            data = await self._link.post(CHAT, body)
            self._take(data, reply)
            return reply
        async with contextlib.aclosing(self._link.events(CHAT, body)) as events:
            async for payload in events:
                if payload and payload != DONE:
                    self._take(payload, reply)
        if reply.finish_reason is None:
            raise EngineUnreachable(
                self.url, f"the stream broke off after {len(reply.pieces)} pieces"
            )
        return reply

    def _take(self, data: bytes, reply: Reply) -> None:
        if reply.first_at is None:
            reply.first_at = self.clock.now()
        with self._translated():
            document = decode(data, _DOCUMENT)
        if document.error:
            raise of_reported(self.url, document.error)
        reply.take(document)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except NotTheProtocol as exc:
            raise of_exception(self.url, exc, 0.0) from exc
