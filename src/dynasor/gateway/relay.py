"""Requests that name no algorithm: passed on to an engine, and its answer back as it arrives.

Such a request is a program of one call, so that it waits its turn among all others. The engine's
bytes go straight to the client: an engine is read no faster than its client reads, and what it
said is neither parsed nor held. A client that leaves takes its program back, whether it waits for
a slot, for the first byte, for the whole answer or for the rest of a stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from secrets import token_hex
from typing import Any, TypedDict, Unpack

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dynasor.api import Handle, Result, RunOptions
from dynasor.core.errors import DeadlineExceeded, DynasorError, Withdrawn
from dynasor.gateway.asked import PROGRAM_HEADER, has_left
from dynasor.gateway.errors import BadRequest, Closing, error_response, shaped
from dynasor.gateway.service import Service
from dynasor.programs.pass_through import PassThrough
from dynasor.requests.completion import encode_json

__all__ = ["SESSIONS", "ClientSink", "RelayOptions", "relay", "session_of"]

WORKLOAD = "pass-through"
STOPPED = "the server is being stopped; try again soon, or another one"

# How clients name the session that a request belongs to, the surest first.
SESSIONS = (
    "x-session-id",
    "x-smg-routing-key",
    "x-dynamo-session-id",
    "x-session-affinity",
    "x-claude-code-session-id",
    "session-id",
    "session_id",
    "thread-id",
)
# What engines and their tracing may see of a client's request: nothing that ranks it.
SEEN = frozenset({*SESSIONS, "x-request-id", "traceparent", "tracestate"})
_SEEN = frozenset(name.encode() for name in SEEN)
LONGEST_SESSION = 256

# RFC 9110, section 7.6.1: they are about one connection. The last two are our own server's.
HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade date server".split()
)


class RelayOptions(TypedDict, total=False):
    """What else may be said of a request: as in `RunOptions`."""

    model: object
    program_id: str | None
    deadline_seconds: float | None


async def relay(
    request: Request, body: bytes, path: str, service: Service, **options: Unpack[RelayOptions]
) -> Response:
    """Return what passes a request on when it is sent; `path` lies below `/v1`.

    Raises `BadRequest` for a body that is no text.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as exc:
        raise BadRequest(None, f"the body is not UTF-8: byte {exc.start} is no part of it") from exc
    tenant = request.scope.get("state", {}).get("tenant", "")
    headers = _seen(request.scope, tenant)
    session = next((headers[name] for name in SESSIONS if name in headers), "")
    run: RunOptions = {
        "policy": PassThrough.usual_policy,
        "workload": WORKLOAD,
        "tenant": tenant,
        "program_id": options.get("program_id") or f"prog_{token_hex(12)}",
        "affinity": session,
        "deadline_seconds": options.get("deadline_seconds"),
    }
    program = PassThrough(path=path, body=text)
    return _Passing(service, program, run, headers, options.get("model"))


class ClientSink:
    """One client's side: takes an answer from an engine and hands it on, by ASGI.

    `headers` are those of its request that engines may see; `is_whole` says that it has all.
    An engine's 404 is kept from it where `is_unlisted` says that the model which it asked for is
    not listed here, and `lacks_model` is set: that answer would not name the models that there are.
    """

    def __init__(
        self,
        identity: str,
        headers: Mapping[str, str],
        send: Send,
        is_unlisted: Callable[[], bool],
    ) -> None:
        self.headers = headers
        self.has_begun = False
        self.is_whole = False
        self.lacks_model = False
        self._is_unlisted = is_unlisted
        self._own = (PROGRAM_HEADER.lower().encode(), identity.encode("latin-1", "replace"))
        self._send = send
        self._start: dict[str, Any] | None = None
        self._is_stream = False

    def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Hold the beginning back until something follows: until then another engine may do it."""
        lowered = ((name.lower(), value) for name, value in headers)
        kept = [header for header in lowered if header[0] not in HOP_BY_HOP]
        self.lacks_model = status == 404 and self._is_unlisted()
        kinds = (value for name, value in kept if name == b"content-type")
        self._is_stream = next(kinds, b"").startswith(b"text/event-stream")
        kept.append(self._own)
        self._start = {"type": "http.response.start", "status": status, "headers": kept}

    async def write(self, data: bytes) -> None:
        """Hand bytes on; waits while the client is slow."""
        await self._tell(data, has_more=True)

    async def finish(self) -> None:
        """End an answer that is whole."""
        self.is_whole = True
        await self._tell(b"", has_more=False)

    async def break_off(self, error: DynasorError) -> None:
        """End an answer that broke: a stream with an event that says so, any other unfinished.

        A server closes the connection of an answer that is not finished, and so its client knows.
        """
        if self._is_stream:
            event = b"\n\ndata: " + encode_json(shaped(error)) + b"\n\n"
            await self._tell(event, has_more=False)

    async def _tell(self, data: bytes, *, has_more: bool) -> None:
        if self.lacks_model:
            return
        if not self.has_begun:
            if self._start is None:  # cannot happen: engines begin before they write
                raise AssertionError("an answer without a beginning")
            self.has_begun = True
            await self._send(self._start)
        await self._send({"type": "http.response.body", "body": data, "more_body": has_more})


class _Passing(Response):
    """A response that comes from an engine."""

    def __init__(
        self,
        service: Service,
        program: PassThrough,
        options: RunOptions,
        headers: Mapping[str, str],
        model: object,
    ) -> None:
        super().__init__()
        self._service = service
        self._program = program
        self._options = options
        self._seen = headers
        self._model = model

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; raises `DynasorError` where it is not even taken."""
        handle = self._service.submit(self._program, **self._options)
        sink = ClientSink(handle.program, self._seen, send, self._is_unlisted)
        if not handle.is_done:
            self._service.dynasor.machine.driver.pour(handle.program, sink)
        leaving = asyncio.get_running_loop().create_task(_left(receive, handle, sink))
        try:
            error = await _outcome(handle)
        finally:
            is_gone = leaving.done()
            leaving.cancel()
        if is_gone or (sink.is_whole and not sink.lacks_model):
            return
        if sink.lacks_model:
            error = self._service.unknown_model(str(self._model))
        elif isinstance(error, Withdrawn | DeadlineExceeded) and self._service.is_draining:
            error = Closing(STOPPED)
        if error is None:  # cannot happen: what ends well was whole
            raise AssertionError(f"{handle.program} ended without an answer")
        if sink.has_begun:
            await sink.break_off(error)
        else:
            response = error_response(error, headers={PROGRAM_HEADER: handle.program})
            await response(scope, receive, send)

    def _is_unlisted(self) -> bool:
        """Say whether a model was named that engines here do not list; they may have it yet."""
        return isinstance(self._model, str) and self._model not in self._service.models


async def _outcome(handle: Handle) -> DynasorError | None:
    """Wait for a program's end, and return what it failed of."""
    try:
        result: Result = await handle
    except DynasorError:  # everything is being closed
        return Closing(STOPPED)
    except asyncio.CancelledError:
        handle.withdraw()
        raise
    return result.error


async def _left(receive: Receive, handle: Handle, sink: ClientSink) -> None:
    """Take a program back once its client has left; one that has all may go."""
    await has_left(receive)
    if not sink.is_whole:
        handle.withdraw()


def session_of(tenant: str, named: str) -> str:
    """Return a session's name for engines: nobody names another tenant's."""
    return (f"{tenant}/{named}" if tenant else named)[:LONGEST_SESSION]


def _seen(scope: Scope, tenant: str) -> dict[str, str]:
    seen = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in scope["headers"]
        if name in _SEEN
    }
    own = {name: session_of(tenant, seen[name]) for name in SESSIONS if name in seen}
    return {**seen, **own}
