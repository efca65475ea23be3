"""The gate: who comes in, with how large a body, how many at once, and for how many tokens.

Pure ASGI, before everything else that reads a request:

    no key, or an unknown one                     401  invalid_api_key
    a key that has spent its tokens               429  insufficient_quota, until the period ends
    more requests of a key than it may have       429  rate_limit_exceeded
    more requests than the server will queue      429  queue_full
    a body that is too long                       413  body_too_large
    a body that takes too long to come            408  body_timeout

Who does not read an answer for as long as a request may take is given up. Every refusal of the 429
kind says in `Retry-After` when to come again. What only reads (GET), cancels (DELETE) or takes an
engine out (DELETE) or in (PUT) needs a key and nothing else: who is at a limit must be able to look
and to stop.
This file must not know what a request asks for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dynasor.config import Serving
from dynasor.gateway.errors import BadRequest, error_response
from dynasor.gateway.keys import PERIODS, Key, Keys
from dynasor.gateway.metrics import Metrics
from dynasor.runtime.clock import wall_clock

__all__ = ["Gate"]

OPEN = frozenset({"/health", "/ready"})
"""What load balancers ask, who have no key."""
METRICS = "/metrics"
FREE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE", "PUT"})
COME_SOON = "1"
"""Seconds: a request ends at any moment, and clients back off by themselves."""
CLOSE = {"Connection": "close"}
"""Whoever has not sent all of a body would otherwise send the rest of it as the next request."""


class _Refused(Exception):
    """A request is turned away: why, for the metrics, and what it is told.

    `is_sending`: the client is likely to be in the middle of its body.
    """

    def __init__(self, why: str, response: Response, *, is_sending: bool = False) -> None:
        super().__init__(why)
        self.why, self.response, self.is_sending = why, response, is_sending


class _Stalled(Exception):
    """A client that does not read its answer."""


@dataclass(slots=True)
class _Account:
    """What a key has running, and what it has spent since `period_start` (Unix time).

    Periods are `period_seconds` long; 0 where nothing is known of the key yet.
    """

    live: int = 0
    spent: int = 0
    period_seconds: int = 0
    period_start: int = 0

    def roll(self, now: int) -> None:
        """Begin a new period if it is time."""
        start = now - now % self.period_seconds if self.period_seconds else 0
        if start != self.period_start:
            self.period_start, self.spent = start, 0


class Gate:
    """Lets requests through to `app`, with `state` in their scope.

    `scope["state"]["tenant"]` is the key's name (empty where no keys are configured),
    `scope["state"]["is_operator"]` says whether it may take engines out (without keys everybody
    may), and `scope["state"]["body"]` is the whole body, which is also what the app receives.
    `keys` None lets everybody in. What keys have spent is kept while the server runs; whoever bills
    a program says so by `spent`.
    """

    def __init__(
        self,
        app: ASGIApp,
        serving: Serving,
        keys: Keys | None,
        metrics: Metrics,
        wall: Callable[[], int] = wall_clock,
    ) -> None:
        self._app = app
        self._serving = serving
        self._keys = keys
        self._metrics = metrics
        self._wall = wall
        self._accounts: dict[str, _Account] = {}
        self._live = 0

    @property
    def live(self) -> int:
        """Requests that wait or run now."""
        return self._live

    def spent(self, tenant: str, tokens: int) -> None:
        """Charge tokens to a key, in the period in which they are told of.

        Requests that run already may take it beyond its budget.
        """
        account = self._account(tenant)
        account.roll(self._wall())
        account.spent += tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of the application."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})  # there are none here
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._serve(scope, receive, send)
        except _Refused as refused:
            self._metrics.refused(refused.why)
            if refused.is_sending:
                send = self._lingering(receive, send)
            await refused.response(scope, receive, send)
        except _Stalled:
            self._metrics.refused("slow reader")

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        is_open = path in OPEN or (path == METRICS and self._serving.metrics_for == "open")
        key = None if is_open else self._key_of(scope)
        state = scope.setdefault("state", {})
        state["tenant"] = "" if key is None else key.name
        state["is_operator"] = key is None or key.operator
        if is_open or scope["method"] in FREE_METHODS:
            await self._app(scope, receive, send)
            return
        account = self._enter(key)
        try:
            body = await self._body(scope, receive)
            if body is None:
                return  # the client has left
            state["body"] = body
            told = _Patient(send, self._serving.request_seconds)
            await self._app(scope, _Replayed(body, receive), told)
        finally:
            self._leave(account)

    def _key_of(self, scope: Scope) -> Key | None:
        """Return the key of a request, None where none is needed; raises `_Refused`."""
        if self._keys is None:
            return None
        given = _header(scope, b"authorization")
        kind, _, secret = given.partition(" ")
        if kind.lower() != "bearer" or not secret.strip():
            message = "no API key was given; send it as the header Authorization: Bearer KEY"
        elif (key := self._keys.find(secret.strip())) is None:
            message = "the API key is not known here; ask whoever runs this server for one"
        else:
            return key
        raise _refusal(
            "unauthorised", 401, "invalid_api_key", message, {"WWW-Authenticate": "Bearer"}
        )

    # How many, and for how much.

    def _enter(self, key: Key | None) -> _Account:
        """Count a request in; raises `_Refused` where there is no room for it."""
        account = self._account("" if key is None else key.name)
        if key is not None:
            self._check_tokens(key, account)
            if key.concurrency is not None and account.live >= key.concurrency:
                message = (
                    f"the key {key.name!r} has {account.live} requests waiting or running and may "
                    f"have {key.concurrency}; try again when one has ended"
                )
                raise _refusal("concurrency", 429, "rate_limit_exceeded", message, _again())
        if self._live >= self._serving.queue:
            message = f"{self._live} requests wait or run, as many as fit; try again soon"
            raise _refusal("queue", 429, "queue_full", message, _again())
        account.live += 1
        self._live += 1
        self._metrics.live(self._live)
        return account

    def _leave(self, account: _Account) -> None:
        account.live -= 1
        self._live -= 1
        self._metrics.live(self._live)

    def _check_tokens(self, key: Key, account: _Account) -> None:
        now = self._wall()
        account.period_seconds = PERIODS[key.period]
        account.roll(now)
        if key.tokens is not None and account.spent >= key.tokens:
            left = account.period_start + account.period_seconds - now
            message = (
                f"the key {key.name!r} has spent {account.spent:,} of its {key.tokens:,} tokens "
                f"per {key.period}; the next {key.period} begins in {left:,} seconds"
            )
            raise _refusal("quota", 429, "insufficient_quota", message, _again(str(left)))

    def _account(self, tenant: str) -> _Account:
        account = self._accounts.get(tenant)
        if account is None:
            account = self._accounts[tenant] = _Account()
        return account

    # The body.

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """Read the body, None if the client leaves; raises `_Refused` for a long or a slow one."""
        said = _header(scope, b"content-length")
        if said.isdecimal() and int(said[:20]) > self._serving.max_body_bytes:
            raise self._too_long(is_sending=True)
        seconds = self._serving.body_seconds
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await self._read(receive)
        except TimeoutError:
            if not limit.expired():
                raise
            message = f"the body was not there after {seconds:g} s; send it faster"
            raise _refusal("slow body", 408, "body_timeout", message, CLOSE) from None

    async def _read(self, receive: Receive) -> bytes | None:
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            piece = message.get("body", b"")
            size += len(piece)
            if size > self._serving.max_body_bytes:
                raise self._too_long(is_sending=message.get("more_body", False))
            if piece:
                pieces.append(piece)
            if not message.get("more_body", False):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _too_long(self, *, is_sending: bool) -> _Refused:
        most = self._serving.max_body_bytes
        message = f"the body has more than {most:,} bytes, which is the most; send less"
        told = BadRequest(None, message, 413, "body_too_large")
        return _Refused("long body", error_response(told, headers=CLOSE), is_sending=is_sending)

    def _lingering(self, receive: Receive, send: Send) -> Send:
        """Return a `send` that ends a response only when the client has stopped sending.

        A connection that is closed with bytes of the client unread is reset, and with it goes the
        answer that it has not read yet. It is not waited for longer than for a body.
        """

        async def lingering(message: Message) -> None:
            if message["type"] != "http.response.body":
                await send(message)
                return
            await send({**message, "more_body": True})
            with suppress(TimeoutError):
                async with asyncio.timeout(self._serving.body_seconds):
                    await _discard(receive)
            await send({"type": "http.response.body"})

        return lingering


class _Replayed:
    """Gives a body that has been read, and then what else the client does."""

    __slots__ = ("_body", "_receive")

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class _Patient:
    """Sends to a client as long as it reads; raises `_Stalled` once it has not for `seconds`.

    Else what it has asked for would be counted as running for as long as its connection lasts.
    """

    __slots__ = ("_has_stalled", "_seconds", "_send")

    def __init__(self, send: Send, seconds: float) -> None:
        self._send = send
        self._seconds = seconds
        self._has_stalled = False

    async def __call__(self, message: Message) -> None:
        if self._has_stalled:
            raise _Stalled
        limit = asyncio.timeout(self._seconds)
        try:
            async with limit:
                await self._send(message)
        except TimeoutError:
            if not limit.expired():
                raise
            self._has_stalled = True
            raise _Stalled from None


async def _discard(receive: Receive) -> None:
    """Read what a client still sends, and keep nothing of it."""
    while (await receive()).get("more_body", False):
        pass


def _header(scope: Scope, name: bytes) -> str:
    """Return a header's value, empty without one."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""


def _again(seconds: str = COME_SOON) -> dict[str, str]:
    return {"Retry-After": seconds}


def _refusal(why: str, status: int, code: str, message: str, headers: dict[str, str]) -> _Refused:
    """Word a refusal in OpenAI's shape."""
    told = BadRequest(None, message, status, code)
    return _Refused(why, error_response(told, headers=headers))
