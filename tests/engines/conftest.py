"""A server that speaks OpenAI's protocol, well or badly, and the engines under contract."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from dynasor.core.types import Generate, Message, Prompt, Sampling
from dynasor.engines.http import HttpEngine
from dynasor.engines.llamacpp import LlamaCppEngine
from dynasor.engines.protocol import Engine
from dynasor.engines.scripted import ScriptedEngine

QUESTION = "Tom has 12 apples and buys 7 more. How many apples does Tom have now?"
WORDS = ["So ", "12 ", "and ", "7 ", "make ", "19. ", "The ", "answer ", "is ", "19", "."]

Chat = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


def chunk(**fields: Any) -> dict[str, Any]:
    """One chunk of a stream with one choice."""
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, **fields}]}


async def stream(request: web.Request, *parts: Any) -> web.StreamResponse:
    """Answer with parts: dicts become events, bytes are sent as they are."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for part in parts:
        data = part if isinstance(part, bytes) else f"data: {json.dumps(part)}\n\n".encode()
        await response.write(data)
    return response


@dataclass
class OpenAIServer:
    """A local server; `chat` may be replaced by something worse, `asked` are the bodies it got.

    `models`: what it lists, or a status; `model_list`: the whole answer instead.
    """

    owned_by: str = "vllm"
    chat: Chat | None = None
    models: Any = None
    model_list: Any = None
    vectors: int | str | None = None
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    open_chats: int = 0

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/embeddings", self._embeddings)
        return app

    async def _models(self, request: web.Request) -> web.StreamResponse:
        if isinstance(self.models, int):
            return web.Response(status=self.models)
        if self.model_list is not None:
            return web.json_response(self.model_list)
        default = [{"id": "toy", "owned_by": self.owned_by, "max_model_len": 4096}]
        return web.json_response({"object": "list", "data": self.models or default})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.headers.append(dict(request.headers))
        self.open_chats += 1
        try:
            return await (self.chat or self.well_behaved)(request, body)
        finally:
            self.open_chats -= 1

    async def well_behaved(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        """Stream WORDS, from a place that depends on the seed, as a server should."""
        if not body.get("stream"):
            return web.json_response(self._judgement())
        start = body.get("seed", 0) % 3
        words, reason = WORDS[start:], "stop"
        for stop in body.get("stop", []):
            words = ["".join(words).split(stop)[0]]
        most = body.get("max_tokens", 4096)
        if len(words) > most:
            words, reason = words[:most], "length"
        chunks = [chunk(delta={"role": "assistant", "content": ""})]
        for word in words:
            chunks.append(chunk(delta={"content": word}))
            if body.get("logprobs"):
                listed = {"content": [{"token": word, "logprob": -0.5}]}
                chunks[-1]["choices"][0]["logprobs"] = listed
        chunks.append(chunk(delta={}, finish_reason=reason))
        usage = {"prompt_tokens": 20, "completion_tokens": len(words), "total_tokens": 0}
        chunks.append({"choices": [], "usage": usage})
        response = await stream(request)
        for each in chunks:
            await response.write(f"data: {json.dumps(each)}\n\n".encode())
            await asyncio.sleep(0)
        await response.write(b"data: [DONE]\n\n")
        return response

    def _judgement(self) -> dict[str, Any]:
        top = [{"token": "+", "logprob": -0.2}, {"token": " -", "logprob": -1.8}]
        listed = [{"token": "+", "logprob": -0.2, "top_logprobs": top}]
        choice = {"message": {"content": "+"}, "logprobs": {"content": listed}}
        return {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if isinstance(self.vectors, str):
            return web.json_response({"data": self.vectors})
        count = len(body["input"]) if self.vectors is None else self.vectors
        data = [{"index": n, "embedding": [float(n), 1.0]} for n in range(count)]
        usage = {"prompt_tokens": 4, "total_tokens": 4}
        return web.json_response({"data": data[::-1], "usage": usage})


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    """A running server on a free port of the loopback interface."""
    server = OpenAIServer()
    runner = web.AppRunner(server.app(), shutdown_timeout=0.05)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest.fixture
async def toy(server: OpenAIServer) -> AsyncIterator[HttpEngine]:
    """A started engine that talks to `server`; silence ends after a tenth of a second."""
    engine = HttpEngine(server.url, seconds_limit=1.0)
    await engine.start()
    yield engine
    await engine.close()


def scripted() -> ScriptedEngine:
    outputs = {QUESTION: ["".join(WORDS), "I say " + "".join(WORDS)]}
    return ScriptedEngine(outputs, reward=lambda item: 0.5, vector=lambda text: (1.0, 0.0))


@pytest.fixture(params=["scripted", "http", pytest.param("llamacpp", marks=pytest.mark.engine)])
async def engine(request: pytest.FixtureRequest, server: OpenAIServer) -> AsyncIterator[Engine]:
    """Each engine that must keep the contract, not yet started."""
    makers = {
        "scripted": scripted,
        "http": lambda: HttpEngine(server.url),
        "llamacpp": lambda: LlamaCppEngine(slots=4, threads=1),
    }
    engine = makers[request.param]()
    yield engine
    await engine.close()


@pytest.fixture
def ask() -> Callable[..., Generate]:
    """Make a Generate of the one question; keywords are Sampling's, `prefix` and `report_every`."""

    def make(prefix: str = "", report_every: int = 0, **sampling: Any) -> Generate:
        prompt = Prompt((Message("user", QUESTION),), prefix)
        options = {"max_tokens": 64, "seed": 1, **sampling}
        return Generate(prompt, Sampling(**options), report_every)

    return make
