"""An engine that answers every question alike after a while: what a gateway adds shows beside it.

    python benchmarks/_stub_engine.py [--seconds 0.2]

It prints its port once it listens. Raw ASGI on uvicorn: it must cost far less than what is
measured. A streamed answer comes in `EVENTS` events spread over the time, any other at its end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
from typing import Any

import uvicorn

EVENTS = 10
MODEL = "stub"
WORD = "word "


def bodies() -> tuple[bytes, list[bytes]]:
    """Return a whole answer, and one in events."""
    usage = {"prompt_tokens": 20, "completion_tokens": EVENTS, "total_tokens": 20 + EVENTS}
    head = {"id": "chatcmpl-stub", "created": 1, "model": MODEL}
    message = {"role": "assistant", "content": WORD * EVENTS}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    whole = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"content": WORD}, "finish_reason": None}]}
        for _ in range(EVENTS)
    ]
    chunks.append({"choices": [], "usage": usage})
    kind = {"object": "chat.completion.chunk"}
    events = [f"data: {json.dumps({**head, **kind, **chunk})}\n\n".encode() for chunk in chunks]
    return json.dumps(whole).encode(), [*events, b"data: [DONE]\n\n"]


class Stub:
    """The application."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.whole, self.events = bodies()
        listed = [{"id": MODEL, "object": "model", "owned_by": "stub"}]
        self.models = json.dumps({"object": "list", "data": listed}).encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer."""
        if scope["type"] != "http":
            return
        if scope["method"] == "GET":
            is_known = scope["path"] in {"/v1/models", "/health"}
            await self._say(send, self.models if is_known else b"{}", 200 if is_known else 404)
            return
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if b'"stream": true' in body or b'"stream":true' in body:
            await self._stream(send)
        else:
            await asyncio.sleep(self.seconds)
            await self._say(send, self.whole)

    async def _say(self, send: Any, body: bytes, status: int = 200) -> None:
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for event in self.events[:EVENTS]:
            await asyncio.sleep(self.seconds / EVENTS)
            await send({"type": "http.response.body", "body": event, "more_body": True})
        last = b"".join(self.events[EVENTS:])
        await send({"type": "http.response.body", "body": last, "more_body": False})


def main() -> None:
    """Listen on a free port until killed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=0.2)
    options = parser.parse_args()
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(
        Stub(options.seconds), log_level="error", access_log=False, loop="uvloop", lifespan="off"
    )
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
