"""A server on loopback that does as it is told, in the test's own event loop."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web


class Served:
    """Answers with `text`; `asked` are the bodies, `refuse` maps the number of one to a status.

    While `gate` is not set, requests wait for it.
    """

    def __init__(self):
        self.text = "so \\boxed{42}"
        self.story = None
        self.usage = {"prompt_tokens": 9, "completion_tokens": 5}
        self.asked = []
        self.refuse = {}
        self.models = ["toy"]
        self.programs = {}
        self.breaks_off = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.url = ""

    def app(self):
        """The server's routes."""
        app = web.Application()
        app.router.add_get("/v1/models", self._list)
        app.router.add_get("/v1/programs/{id}", self._program)
        app.router.add_post("/v1/chat/completions", self._chat)
        return app

    async def _list(self, request):
        return web.json_response({"data": [{"id": name} for name in self.models]})

    async def _program(self, request):
        known = self.programs.get(request.match_info["id"])
        return web.json_response(known or {}, status=200 if known else 404)

    async def _chat(self, request):
        body = await request.json()
        self.asked.append(body)
        number = len(self.asked)
        await self.gate.wait()
        if number in self.refuse:
            error = {"error": {"message": "no", "type": "x", "param": None, "code": None}}
            return web.json_response(error, status=self.refuse[number])
        text = self.text(body) if callable(self.text) else self.text
        own = {} if self.story is None else {"dynasor": self.story}
        if body.get("stream"):
            return await self._stream(request, text, own)
        choice = {"index": 0, "message": {"content": text}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": self.usage, **own})

    async def _stream(self, request, text, own):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        half = len(text) // 2
        chunks = [
            {"choices": [{"index": 0, "delta": {"content": text[:half]}}]},
            {"choices": [{"index": 0, "delta": {"content": text[half:]}}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": self.usage, **own},
        ]
        for chunk in chunks[: 1 if self.breaks_off else 4]:
            await response.write(f": a comment\ndata: {json.dumps(chunk)}\n\n".encode())
        if not self.breaks_off:
            await response.write(b"data: [DONE]\n\n")
        return response


@pytest.fixture
async def served():
    """A server that runs."""
    one = Served()
    runner = web.AppRunner(one.app(), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield one
    one.gate.set()
    await runner.cleanup()
