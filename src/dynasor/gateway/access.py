"""The outermost layer: times each request, counts it and writes its line in the log."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dynasor.gateway.logs import log_request
from dynasor.gateway.metrics import Metrics
from dynasor.runtime.clock import Clock, MonotonicClock

__all__ = ["PROGRAM_HEADER", "Access", "route_of"]

PROGRAM_HEADER = b"x-dynasor-program"
"""The response header that names the program behind an answer, in lower case."""
ROUTES = frozenset(
    {
        "/health",
        "/metrics",
        "/openapi.json",
        "/ready",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/models",
        "/v1/programs",
    }
)
WITH_ID = ("/v1/programs/", "/v1/models/")
OTHER = "other"
LEFT = 499
"""nginx's status for a client that left before its answer."""


def route_of(path: str) -> str:
    """Return the route of a path: what a client makes up is no label, but `other`."""
    if path in ROUTES:
        return path
    return next((f"{start}{{id}}" for start in WITH_ID if path.startswith(start)), OTHER)


class Access:
    """Hands requests to `app` and notes how each ended; pure ASGI, outside of the gate."""

    def __init__(self, app: ASGIApp, metrics: Metrics, clock: Clock | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._clock = MonotonicClock() if clock is None else clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._clock.now()
        noted = _Noted(send)
        try:
            await self._app(scope, receive, noted)
        except Exception:
            noted.status = noted.status or 500
            raise
        finally:
            self._note(scope, noted, self._clock.now() - started)

    def _note(self, scope: Scope, noted: _Noted, seconds: float) -> None:
        status = noted.status or LEFT
        route, path = route_of(scope["path"]), scope["path"]
        self._metrics.requested(route, status, seconds, noted.program)
        tenant = scope.get("state", {}).get("tenant", "")
        log_request(scope["method"], path, status, seconds, program=noted.program, tenant=tenant)


class _Noted:
    """Passes messages on, and notes what the response says at its beginning."""

    __slots__ = ("_send", "program", "status")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.program = ""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            for name, value in message.get("headers", ()):
                if name.lower() == PROGRAM_HEADER:
                    self.program = value.decode("latin-1")
        await self._send(message)
