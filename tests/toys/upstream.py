"""An engine's server to the byte: what it was sent, what it sends, and when its client hangs up."""

from __future__ import annotations

import asyncio
import contextlib
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

__all__ = ["Upstream", "answer", "chunked", "upstream"]

MODELS = json.dumps({"data": [{"id": "toy", "owned_by": "somebody"}]}).encode()


def answer(status, body, *headers):
    """A whole answer of that status."""
    head = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def chunked(*parts, kind="text/event-stream"):
    """The pieces of a streamed answer: its head, then each part as a chunk; not yet its end."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
    return [head.encode(), *(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)]


@dataclass
class Upstream:
    """`replies`: for each request its pieces, sent one by one; None holds on until `go` is set.

    The last reply serves all further requests; one that ends with "cut" breaks the connection.
    """

    replies: list = field(default_factory=lambda: [[answer(200, b"{}")]])
    url: str = ""
    heads: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0

    async def serve(self, reader, writer):
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, reader, writer):
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = lines[0].split(" ")
        head = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        body = await reader.readexactly(int(head.get("content-length", 0)))
        if method == "GET":
            is_list = path == "/v1/models"
            writer.write(answer(200 if is_list else 404, MODELS if is_list else b""))
            return True
        self.paths.append(path)
        self.heads.append(head)
        self.bodies.append(body)
        self.asked.set()
        pieces = self.replies[min(len(self.paths), len(self.replies)) - 1]
        gone = asyncio.create_task(reader.read(1))
        sending = asyncio.create_task(self._send(pieces, writer))
        await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            self.hung_up.set()
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await sending
            return False
        gone.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await gone
        return await sending

    async def _send(self, pieces, writer):
        for piece in pieces:
            if piece is None:
                await self.go.wait()
            elif piece == "cut":
                return False
            else:
                writer.write(piece)
                await writer.drain()
                self.sent += len(piece)
        return True


@asynccontextmanager
async def upstream(*replies):
    """Run one on a free port."""
    toy = Upstream()
    toy.replies = list(replies) or toy.replies
    server = await asyncio.start_server(toy.serve, "127.0.0.1", 0)
    toy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield toy
    finally:
        toy.go.set()
        server.close()
        await server.wait_closed()
