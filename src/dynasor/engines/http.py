"""An engine behind OpenAI's HTTP protocol: vLLM, SGLang, TensorRT-LLM, llama.cpp, or a stranger.

Every generation is streamed: the tokens of an aborted call are known, a closed connection stops
the server at once (llama.cpp notices it only while it writes: a request that is not streamed runs
to its end), and silence can be told from work. Nothing is retried.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from dynasor.core.errors import (
    ConfigError,
    EngineError,
    EngineGarbage,
    EngineRefused,
    EngineTimeout,
    EngineUnreachable,
)
from dynasor.core.types import (
    Embed,
    Embedded,
    Generate,
    Generated,
    Prompt,
    Relay,
    Relayed,
    Score,
    Scored,
    Usage,
)
from dynasor.engines.dialects import (
    OPENAI,
    chat_body,
    dialect_named,
    dialect_of_owner,
    text_body,
    within,
)
from dynasor.engines.faults import FOREIGN, api_root, of_exception, of_reported
from dynasor.engines.hints import hint_fields, hint_headers
from dynasor.engines.judge import PLAIN_JUDGE, Judge, judge_body, read_reward
from dynasor.engines.link import Link, bearer
from dynasor.engines.load import load_of
from dynasor.engines.protocol import Description, Load, Meter, OnReport, Sink
from dynasor.engines.relaying import Passed, pass_on
from dynasor.engines.releasing import Conversations
from dynasor.engines.sse import DONE
from dynasor.engines.templates import FileTemplate, ServerTemplate, Template
from dynasor.engines.transcript import Transcript
from dynasor.engines.wire import (
    Completion,
    Embeddings,
    Model,
    ModelList,
    NotTheProtocol,
    Props,
    decode,
    in_order,
    read_usage,
)

__all__ = ["HttpEngine"]

# Calls that a server runs at once where it does not say; vLLM's and SGLang's defaults lie higher,
# but few deployments of a large model decode more without slowing each down.
DEFAULT_SLOTS = 64
# One Score is one call to the scheduler and must not take a server's slots by the dozen.
JUDGED_AT_ONCE = 8
# 401: it asks for a key even there, and so it lives.
HEALTHY = frozenset({200, 204, 401, 403, 404, 405, 501})
# What vLLM and SGLang say of a completion that they gave up.
BROKEN_OFF = frozenset({"abort", "error"})

_CHUNK = msgspec.json.Decoder(Completion)
_MODELS = msgspec.json.Decoder(ModelList)
_EMBEDDINGS = msgspec.json.Decoder(Embeddings)


@dataclass(eq=False)
class HttpEngine:
    """One OpenAI-compatible server.

    `url` may end in `/v1` or not; `model` None takes the one that is served; `dialect` (a name of
    `dialects`) and `slots` are asked of the server where None; no byte for `seconds_limit` is an
    `EngineTimeout`; `judge` is what makes the model judge in `score`; `known_as` is what messages
    call it (None: the URL). `chat_template` is where the model's own template lies (see
    `FileTemplate`): with it every generation is sent as text, and a prefix can be continued
    whatever the server. `has_priority`: it was started with priority scheduling. Raises
    `ConfigError` for a bad URL, template or number.
    """

    url: str
    _: KW_ONLY
    model: str | None = None
    dialect: str | None = None
    slots: int | None = None
    seconds_limit: float = 120.0
    connect_seconds: float = 5.0
    api_key: str | None = field(default=None, repr=False)
    judge: Judge = PLAIN_JUDGE
    known_as: str | None = None
    chat_template: Path | None = None
    has_priority: bool = False

    def __post_init__(self) -> None:
        """Check the arguments; nothing is sent before `start`."""
        _check_positive("slots", self.slots)
        _check_positive("seconds_limit", self.seconds_limit)
        _check_positive("connect_seconds", self.connect_seconds)
        self._named = dialect_named(self.dialect) if self.dialect is not None else None
        self._dialect = self._named or OPENAI
        self._model = self.model or ""
        self._shown = Conversations()
        self._context_tokens: int | None = None
        self._template: Template | None = None
        if self.chat_template is not None:
            self._template = FileTemplate(self.chat_template)
        headers = bearer(self.api_key)
        self._link = Link(
            self.address, api_root(self.url), self.seconds_limit, self.connect_seconds, headers
        )

    @property
    def address(self) -> str:
        """What messages call it: the URL as it was given, or `known_as`."""
        return self.known_as or self.url

    async def start(self) -> Description:
        """Connect, and find out the model, the dialect and the number of slots.

        Raises `ConfigError` where the server offers several models and none was named.
        """
        await self._link.open()
        try:
            async with asyncio.timeout(self.seconds_limit):
                return await self._describe()
        except TimeoutError as exc:
            await self._link.close()
            raise EngineTimeout(
                self.address, f"it did not describe itself within {self.seconds_limit:g} s"
            ) from exc
        except BaseException:
            await self._link.close()
            raise

    async def generate(
        self, work: Generate, meter: Meter, on_report: OnReport | None = None
    ) -> Generated:
        """Generate one completion; the meter is right at every moment, also after an abort."""
        if work.prompt.prefix and self.chat_template is None:
            self._require("prefix", "cannot continue a text that is given")
        transcript = Transcript(work, meter, on_report)
        text = await self._rendered(work)
        if text is None:
            path, body = "/chat/completions", chat_body(self._dialect, self._model, work)
        else:
            path, body = "/completions", text_body(self._dialect, self._model, text, work)
        body = within(self._dialect, body, self._context_tokens)
        body |= {"stream": True, "stream_options": self._dialect.stream_options}
        if work.hints is not None:
            body |= hint_fields(self._dialect, work.hints, has_priority=self.has_priority)
            if self._dialect.truncate:
                self._shown.note(work)
        headers = hint_headers(self._dialect, work.hints, has_priority=self.has_priority)
        try:
            await self._follow(path, body, headers, transcript)
        except FOREIGN as exc:
            raise of_exception(self.address, exc, self.seconds_limit) from exc
        if transcript.finish_reason in BROKEN_OFF:
            raise EngineError(
                self.address, f"gave up ({transcript.finish_reason}) within its answer"
            )
        return transcript.finish()

    async def relay(self, work: Relay, meter: Meter, sink: Sink) -> Relayed:
        """Pass a client's request on, its body and its answer byte for byte."""
        hints = hint_headers(
            self._dialect, work.hints, has_priority=self.has_priority, is_relayed=True
        )
        request = Passed(work.path, work.body.encode(), {**hints, **sink.headers})
        return await pass_on(self._link, request, meter, sink)

    async def score(self, work: Score, meter: Meter) -> Scored:
        """Have the model judge each item (see `judge`).

        An item on which it has no opinion has no reward; a model with none on any item is no
        judge: `EngineRefused`.
        """
        self._require("score", "cannot judge a partial solution")
        turn = asyncio.Semaphore(JUDGED_AT_ONCE)

        async def judge(item: Prompt) -> float | None:
            async with turn:
                return await self._judge(item, meter)

        tasks = [asyncio.ensure_future(judge(item)) for item in work.items]
        try:
            rewards = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        if rewards and all(reward is None for reward in rewards):
            raise EngineRefused(
                self.address,
                f"model {self._model!r} is no judge: expected + or - as its next token, "
                "and neither is among its 5 likeliest",
            )
        return Scored(tuple(rewards), meter.usage())

    async def embed(self, work: Embed, meter: Meter) -> Embedded:
        """Embed texts with `/v1/embeddings`."""
        body = {"model": self._model, "input": work.texts, "encoding_format": "float"}
        data = await self._link.post("/embeddings", body)
        try:
            answer = decode(data, _EMBEDDINGS)
        except NotTheProtocol as exc:
            raise of_exception(self.address, exc, self.seconds_limit) from exc
        vectors = in_order(answer.data)
        if len(vectors) != len(work.texts):
            raise EngineGarbage(
                self.address,
                f"{len(vectors)} vectors for {len(work.texts)} texts; expected one each",
            )
        _add(meter, read_usage(answer.usage, 0, 0))
        return Embedded(tuple(tuple(e.embedding) for e in vectors), meter.usage())

    async def healthy(self) -> bool:
        """Ask `/health`; a server that has none is healthy while it answers at all."""
        try:
            return await self._link.status("/../health") in HEALTHY
        except EngineError:
            return False

    async def observe(self) -> Load | None:
        """Read its metrics, where its dialect has the two series and it shows them."""
        if self._dialect.load is None:
            return None
        try:
            page = await self._link.get("/../metrics")
        except EngineError:
            return None
        return None if page is None else load_of(page, self._dialect.load)

    def holds(self, program: str) -> bool:
        """Say whether it was shown conversations that it can be told to give up."""
        return program in self._shown

    async def release(self, program: str) -> None:
        """Have a program's conversations cut out of its cache."""
        for body in self._shown.take(program, self._model):
            await self._link.post(self._dialect.truncate, body)

    async def close(self) -> None:
        """Drop every connection; safe to call twice."""
        await self._link.close()

    async def _describe(self) -> Description:
        models = await self._models()
        model = _choose(self.address, models, self.model)
        owner = models[0].owned_by if models else None
        self._dialect = self._named or dialect_of_owner(owner or "") or OPENAI
        props = None
        if self._dialect.name == "llama.cpp" or (self._named is None and self._dialect is OPENAI):
            props = await self._props()
        if props is not None:
            self._dialect = self._named or dialect_named("llama.cpp")
        self._link.headers |= self._dialect.headers
        self._model = model.id
        self._context_tokens = _context(model, props)
        supports = self._dialect.supports
        if self.chat_template is not None:
            supports |= {"prefix"}
            self._template = FileTemplate(self.chat_template, has_start=bool(self._dialect.plain))
        elif self._dialect.renders:
            self._template = ServerTemplate(self._link, self._dialect.renders, model.id)
        return Description(
            model=model.id,
            slots=self.slots or (props.total_slots if props is not None else DEFAULT_SLOTS),
            context_tokens=self._context_tokens,
            supports=supports,
            has_slots=self.slots is not None or props is not None,
        )

    async def _models(self) -> list[Model]:
        data = await self._link.get("/models")
        if data is None:
            # Some gateways list nothing; then the user has to say what there is.
            if self.model is None:
                raise EngineRefused(self.address, "has no /v1/models; check it, or name the model")
            return []
        try:
            return decode(data, _MODELS).data
        except NotTheProtocol as exc:
            raise of_exception(self.address, exc, self.seconds_limit) from exc

    async def _props(self) -> Props | None:
        with contextlib.suppress(EngineError, msgspec.MsgspecError):
            data = await self._link.get("/../props")
            return msgspec.json.decode(data, type=Props) if data is not None else None
        return None

    def _require(self, ability: str, lack: str) -> None:
        if ability not in self._dialect.supports:
            raise EngineRefused(
                self.address,
                f"taken for {self._dialect.name}, which {lack}; "
                "vllm, sglang and llama.cpp can (the dialect can be named)",
            )

    async def _rendered(self, work: Generate) -> str | None:
        """Return a prompt as text where the chat endpoint will not do, None where it does.

        It will not for what goes on after a prefix, nor for what is read while it runs in order
        to be continued: a server that sets thoughts apart takes their tags away.
        """
        is_continued = bool(work.prompt.prefix) or work.report_every > 0
        if self._template is None or not (is_continued or self.chat_template is not None):
            return None
        text = await self._template.render(work.prompt.messages)
        return None if text is None else text + work.prompt.prefix

    async def _follow(
        self, path: str, body: dict[str, Any], headers: dict[str, str], transcript: Transcript
    ) -> None:
        async with contextlib.aclosing(self._link.events(path, body, headers)) as events:
            try:
                async for payload in events:
                    if payload == DONE:
                        transcript.done()
                    elif payload:
                        self._take(payload, transcript)
            except EngineUnreachable:
                if transcript.finish_reason is None:
                    raise
        if transcript.finish_reason is None:
            raise EngineUnreachable(
                self.address, f"the connection broke after {transcript.tokens} tokens"
            )

    def _take(self, payload: bytes, transcript: Transcript) -> None:
        chunk = decode(payload, _CHUNK)
        if chunk.error:
            raise of_reported(self.address, chunk.error)
        transcript.add(chunk)

    async def _judge(self, item: Prompt, meter: Meter) -> float | None:
        body = judge_body(self._dialect, self._model, item, self.judge)
        data = await self._link.post("/chat/completions", body)
        try:
            answer = decode(data, _CHUNK)
        except NotTheProtocol as exc:
            raise of_exception(self.address, exc, self.seconds_limit) from exc
        _add(meter, read_usage(answer.usage, 0, 1) or Usage(0, 1, is_counted=False))
        return read_reward(answer)


def _check_positive(name: str, value: float | None) -> None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} is {value!r}; expected a number above 0")


def _choose(address: str, models: list[Model], wanted: str | None) -> Model:
    """Find the wanted model, or the only one."""
    if wanted is not None:
        return next((model for model in models if model.id == wanted), Model(wanted))
    if not models:
        raise EngineGarbage(address, "lists no model; name the one to use")
    # Adapters follow their base model in the lists of vLLM and SGLang.
    if len(models) > 1 and dialect_of_owner(models[0].owned_by or "") is None:
        listed = ", ".join(model.id for model in models[:5])
        raise ConfigError(f"engine {address} serves {len(models)} models ({listed}, ...): name one")
    return models[0]


def _context(model: Model, props: Props | None) -> int | None:
    if model.max_model_len is not None:
        return model.max_model_len
    return props.default_generation_settings.n_ctx if props is not None else None


def _add(meter: Meter, usage: Usage | None) -> None:
    """Add one request's tokens to the meter of a call that makes several."""
    is_first = meter.prompt_tokens == meter.completion_tokens == 0
    if usage is None:
        meter.is_counted = False
        return
    meter.is_counted = usage.is_counted and (is_first or meter.is_counted)
    meter.prompt_tokens += usage.prompt_tokens
    meter.completion_tokens += usage.completion_tokens
