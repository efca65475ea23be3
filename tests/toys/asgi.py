"""Asking an ASGI application without a network: one request, its messages by hand."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

__all__ = ["Answer", "Echo", "ask"]


@dataclass
class Answer:
    """What an application sent."""

    status: int = 0
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    state: dict = field(default_factory=dict)

    @property
    def error(self):
        """The error, in OpenAI's shape."""
        return json.loads(self.body)["error"]


class Echo:
    """An application that answers with what it receives, when `release` lets it."""

    def __init__(self, is_held=False):
        self.release = asyncio.Event()
        self.entered = asyncio.Semaphore(0)
        self.asked = []
        if not is_held:
            self.release.set()

    async def __call__(self, scope, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.asked.append(scope["path"])
        self.entered.release()
        await self.release.wait()
        headers = [(b"X-Dynasor-Program", b"prog_1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def ask(app, *pieces, method="POST", path="/v1/chat/completions", headers=None, stays=True):
    """Send a request of these body pieces; one that is None never comes.

    `stays` False: the client leaves after the pieces, before the body is whole.
    """
    answer = Answer()
    given = [(k.lower().encode(), v.encode("latin-1")) for k, v in (headers or {}).items()]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": given,
        "state": answer.state,
    }
    left = list(pieces)

    async def receive():
        if not left:
            if not stays or not pieces:
                return {"type": "http.disconnect" if pieces else "http.request"}
            await asyncio.Event().wait()
        piece = left.pop(0)
        if piece is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": piece, "more_body": bool(left) or not stays}

    async def send(message):
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {k.decode().lower(): v.decode() for k, v in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    await app(scope, receive, send)
    return answer
