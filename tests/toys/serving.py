"""A real server in the test's own event loop, on a free port, and clients for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import uvicorn
from openai import AsyncOpenAI, OpenAI

from dynasor.config import Serving, Settings
from dynasor.engines.scripted import ScriptedEngine
from dynasor.gateway.app import make_app
from dynasor.gateway.service import Service

__all__ = ["Gated", "Raw", "Served", "boxed", "events_of", "serving", "sums"]


def boxed(value):
    """A completion of five words with that answer."""
    return f"so the answer is \\boxed{{{value}}}"


def sums(**options):
    """An engine that knows what `N+1?` is."""

    def answer(work):
        return boxed(int(work.prompt.messages[-1].content.removesuffix("+1?")) + 1)

    return ScriptedEngine(answer, **options)


class Gated(ScriptedEngine):
    """An engine whose calls wait for `open`, but for the first `free` ones.

    `begun` and `aborted` are set by the first call that waits, and that is broken off.
    """

    def __init__(self, free=0, **options):
        super().__init__(lambda work: boxed(1), **options)
        self.free = free
        self.open = asyncio.Event()
        self.begun = asyncio.Event()
        self.aborted = asyncio.Event()

    async def generate(self, work, meter, on_report=None):
        self.free -= 1
        if self.free >= 0:
            return await super().generate(work, meter, on_report)
        self.begun.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            meter.completion_tokens = 2
            meter.is_counted = True
            self.aborted.set()
            raise
        return await super().generate(work, meter, on_report)


class _Server(uvicorn.Server):
    """uvicorn without signals, that says when it listens."""

    def __init__(self, config):
        super().__init__(config)
        self.is_up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self):
        yield

    async def startup(self, sockets=None):
        try:
            await super().startup(sockets)
        except SystemExit as exc:  # would end the whole test run
            raise AssertionError("the application did not start; the log says why") from exc
        self.is_up.set()


@dataclass
class Raw:
    """A response as it came: status, headers in lower case, and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @cached_property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["error"]


class Served:
    """A server that runs, and ways to ask it."""

    def __init__(self, app, port):
        self.app = app
        self.service: Service = app.state.service
        self.port = port
        self.url = f"http://127.0.0.1:{port}/v1"

    def client(self, **options):
        """The official client; it must be closed (`async with`)."""
        return AsyncOpenAI(base_url=self.url, **{"api_key": "none", "max_retries": 0, **options})

    def sync_client(self, **options):
        """The official client without async, for threads."""
        return OpenAI(base_url=self.url, **{"api_key": "none", "max_retries": 0, **options})

    async def connect(self, method, path, body=b"", **headers):
        """Send one request and return reader and writer of its connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = [f"{method} {path} HTTP/1.1", "Host: here", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        lines.append(f"Content-Length: {len(body)}")
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        return reader, writer

    async def ask(self, method, path, body: Any = b"", **headers) -> Raw:
        """Send one request, bytes or JSON values, and return the whole response."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        reader, writer = await self.connect(method, path, data, **headers)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        rest = await reader.read()
        writer.close()
        found = dict(line.split(": ", 1) for line in head[1:] if line)
        named = {name.lower(): value for name, value in found.items()}
        if named.get("transfer-encoding") == "chunked":
            rest = _dechunked(rest)
        return Raw(int(head[0].split()[1]), named, rest)

    async def chat(self, question="1+1?", **body) -> Raw:
        """Ask a chat completion of one message."""
        asked = {"messages": [{"role": "user", "content": question}], **body}
        return await self.ask("POST", "/v1/chat/completions", asked)

    async def get(self, path) -> Raw:
        """Read something."""
        return await self.ask("GET", path)


def _dechunked(data):
    whole = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        whole, data = whole + data[:length], data[length + 2 :]
    return whole


def events_of(body):
    """The events of a stream: comments as text after `: `, data as JSON values, `[DONE]` as is."""
    found = []
    for block in body.decode().split("\n\n"):
        kind, _, value = block.partition(": ")
        if kind == "data":
            found.append(value if value == "[DONE]" else json.loads(value))
        elif block.startswith(":"):
            found.append(f": {value}")
    return found


@asynccontextmanager
async def serving(engine=None, *, serve=None, extensions=None, **settings):
    """Serve an engine, by default one that knows sums, or the settings' own for "embedded".

    Cap 3, even, no log, unless told otherwise; a setting that is None is left alone.
    """
    usual = {"policy": "even", "lock": False, "cap": 3, **settings}
    chosen = {name: value for name, value in usual.items() if value is not None}
    table = Serving(**{"log": "none", **(serve or {})})
    app = make_app(
        Settings(**chosen, serve=table),
        engine=None if engine == "embedded" else engine or sums(),
        extensions=extensions,
    )
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="on", http="httptools")
    server = _Server(config)
    running = asyncio.create_task(server.serve())
    up = asyncio.create_task(server.is_up.wait())
    await asyncio.wait({running, up}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        up.cancel()
        await running
        raise AssertionError("the server did not start")
    try:
        yield Served(app, server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        await running
