"""Servers of reward models: the answers of vLLM's `/pooling` and `/tokenize`, SGLang's `/classify`.

The shapes are those of vLLM 0.32 (seen) and SGLang 0.5 (read); the model is a sum of characters.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

MARK, MARK_ID = "<extra_0>", 151651
PIECES = re.compile(rf"{re.escape(MARK)}|.", re.DOTALL)


def logit(text: str) -> float:
    """What the model gives a text: between -3 and 3."""
    return sum(map(ord, text)) % 601 / 100 - 3


def logistic(number: float) -> float:
    return 1 / (1 + math.exp(-number))


def tokens(text: str) -> list[int]:
    return [MARK_ID if piece == MARK else ord(piece) for piece in PIECES.findall(text)]


def text_of(ids: list[int]) -> str:
    return "".join(MARK if one == MARK_ID else chr(one) for one in ids)


def written(messages: list[dict[str, str]]) -> str:
    """The server's chat template."""
    return "".join(f"[{each['role']}]{each['content']}[/]" for each in messages)


@dataclass
class RewardServer:
    """A server of one reward model; `form` says what vLLM pools: `steps`, `tokens` or `whole`.

    `columns`: numbers a row; `model`: what it is called; `is_sglang`, `has_chat`: what it is;
    `answer`: a status or a document that is sent instead, once `is_bad`.
    """

    form: str = "steps"
    columns: int = 2
    model: str = "Qwen/Qwen2.5-Math-PRM-7B"
    is_sglang: bool = False
    has_chat: bool = False
    answer: Any = None
    is_bad: bool = False
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    tokenized: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        if self.is_sglang:
            app.router.add_get("/model_info", self._model_info)
            app.router.add_post("/classify", self._classify)
        else:
            app.router.add_post("/pooling", self._pooling)
            app.router.add_post("/tokenize", self._tokenize)
        if self.has_chat:
            app.router.add_post("/v1/chat/completions", self._judge)
        return app

    async def _models(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers.get("Authorization"))
        owner = "sglang" if self.is_sglang else "vllm"
        served = {"id": "prm", "owned_by": owner, "root": self.model, "max_model_len": 4096}
        return web.json_response({"object": "list", "data": [served]})

    async def _model_info(self, request: web.Request) -> web.Response:
        return web.json_response({"model_path": self.model, "is_generation": self.has_chat})

    def _instead(self) -> web.Response | None:
        if self.answer is None or not self.is_bad:
            return None
        if isinstance(self.answer, int):
            return web.json_response({"error": {"message": "no"}}, status=self.answer)
        if isinstance(self.answer, str):
            return web.Response(text=self.answer, content_type="application/json")
        return web.json_response(self.answer)

    async def _pooling(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body)
        instead = self._instead()
        if instead is not None:
            return instead
        inputs = body.get("input") or [tokens(written(body["messages"]))]
        data = [
            {"index": at, "object": "pooling", "data": self._pooled(ids, body["use_activation"])}
            for at, ids in enumerate(inputs)
        ]
        count = sum(map(len, inputs))
        usage = {"prompt_tokens": count, "total_tokens": count, "completion_tokens": 0}
        document = {"id": "pooling-1", "object": "list", "model": "prm", "data": data[::-1]}
        return web.json_response({**document, "usage": usage})

    def _pooled(self, ids: list[int], is_probability: bool) -> Any:
        if self.form == "whole":
            return self._row(ids, is_probability)
        ends = [at for at, one in enumerate(ids) if self.form == "tokens" or one == MARK_ID]
        return [self._row(ids[: at + 1], is_probability) for at in ends]

    def _row(self, ids: list[int], is_probability: bool) -> list[float]:
        number = logit(text_of(ids))
        if is_probability:
            number = logistic(number)
            return [1 - number, number][-self.columns :]
        return [1.0, 1.0 + number] if self.columns == 2 else [number] * self.columns

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.tokenized.append(body)
        text = body["prompt"] if "prompt" in body else written(body["messages"])
        ids = tokens(text)
        return web.json_response({"count": len(ids), "max_model_len": 4096, "tokens": ids})

    async def _classify(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body)
        answers = [
            {
                "embedding": self._row(tokens(text), False),
                "meta_info": {"id": "1", "prompt_tokens": len(text), "e2e_latency": 0.1},
            }
            for text in body["text"]
        ]
        return self._instead() or web.json_response(answers)

    async def _judge(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        top = [{"token": "+", "logprob": -0.2}, {"token": "-", "logprob": -1.8}]
        listed = [{"token": "+", "logprob": -0.2, "top_logprobs": top}]
        choice = {"message": {"content": "+"}, "logprobs": {"content": listed}}
        usage = {"prompt_tokens": 9, "completion_tokens": 1}
        return web.json_response({"choices": [choice], "usage": usage})
