"""A reward model behind HTTP, of whichever kind: it scores and does nothing else.

pooling     vLLM's `/pooling`: one reward a step, a token or a text (`engines.pooling`)
classify    SGLang's `/classify`: one reward a text (`engines.classify`)
judge       any generating server: the probability of `+` against `-` (`engines.judge`)
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal, Protocol

import msgspec

from dynasor.core.errors import ConfigError, EngineError, EngineRefused, EngineTimeout
from dynasor.core.types import Embed, Embedded, Generate, Generated, Score, Scored
from dynasor.engines.classify import Classify, WriteOut
from dynasor.engines.faults import api_root, of_exception
from dynasor.engines.http import DEFAULT_SLOTS, HttpEngine
from dynasor.engines.judge import PLAIN_JUDGE, Judge
from dynasor.engines.link import Link, bearer
from dynasor.engines.logits import ModelInfo, Served, ServedList
from dynasor.engines.pooling import PATH as POOLING
from dynasor.engines.pooling import Pooling
from dynasor.engines.protocol import Description, Meter, OnReport
from dynasor.engines.steps import Partial, mark_of_model, partial_of
from dynasor.engines.wire import NotTheProtocol, decode

__all__ = ["Kind", "RewardEngine"]

Kind = Literal["judge", "pooling", "classify"]

CHAT = "/chat/completions"
# SGLang's, now and before 0.5.
MODEL_INFO = ("/../model_info", "/../get_model_info")

_SERVED = msgspec.json.Decoder(ServedList)


class RewardModel(Protocol):
    """A reward model of one kind."""

    mark: str

    async def open(self) -> None:
        """Try it; raise `EngineRefused` where it is none."""

    async def rewards(self, partials: list[Partial], meter: Meter) -> dict[Partial, float]:
        """Return the reward in [0, 1] of each partial solution, and perhaps of others."""


@dataclass(eq=False)
class RewardEngine:
    """One server that scores.

    `kind` None is found out: a server with `/pooling` and no chat pools, an SGLang that does not
    generate classifies, any other judges. `model` None takes the one that is served. `step` is
    what ends a step in the model's input: None goes by the model's name, "" is nothing.
    `write_out` is the model's chat template, which a `classify` server needs. The reward of a text
    is that of its last step. `slots`, the limits and `judge` are as in `HttpEngine`. Raises
    `ConfigError` for a bad URL or a number out of range.
    """

    url: str
    _: KW_ONLY
    kind: Kind | None = None
    model: str | None = None
    step: str | None = None
    write_out: WriteOut | None = None
    slots: int | None = None
    seconds_limit: float = 120.0
    connect_seconds: float = 5.0
    api_key: str | None = field(default=None, repr=False)
    judge: Judge = PLAIN_JUDGE
    _model: RewardModel | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the arguments; nothing is sent before `start`."""
        # It checks them all, and serves where the server neither pools nor classifies.
        self._judge = HttpEngine(
            self.url,
            model=self.model,
            slots=self.slots,
            seconds_limit=self.seconds_limit,
            connect_seconds=self.connect_seconds,
            api_key=self.api_key,
            judge=self.judge,
        )
        headers = bearer(self.api_key)
        self._link = Link(
            self.url, api_root(self.url), self.seconds_limit, self.connect_seconds, headers
        )

    @property
    def address(self) -> str:
        """The URL as it was given."""
        return self.url

    async def start(self) -> Description:
        """Connect, find out what the server is and have it score a sample.

        Raises `EngineRefused` for a server that does not score, `ConfigError` where a chat
        template is missing, or what says how to ask is set and means nothing to it.
        """
        await self.close()
        await self._link.open()
        try:
            async with asyncio.timeout(self.seconds_limit):
                return await self._describe()
        except TimeoutError as exc:
            await self.close()
            raise EngineTimeout(
                self.address, f"it did not describe itself within {self.seconds_limit:g} s"
            ) from exc
        except BaseException:
            await self.close()
            raise

    async def generate(
        self, work: Generate, meter: Meter, on_report: OnReport | None = None
    ) -> Generated:
        """Raise `EngineRefused`: a reward model generates nothing."""
        raise EngineRefused(self.address, "is a reward model, which generates no text")

    async def score(self, work: Score, meter: Meter) -> Scored:
        """Return the reward after the last step of each text."""
        if self._model is None:
            return await self._judge.score(work, meter)
        partials = [partial_of(item, self._model.mark) for item in work.items]
        found = await self._model.rewards(partials, meter) if partials else {}
        return Scored(tuple(found[partial] for partial in partials), meter.usage())

    async def embed(self, work: Embed, meter: Meter) -> Embedded:
        """Raise `EngineRefused`: a reward model embeds nothing."""
        raise EngineRefused(self.address, "is a reward model, which embeds no text")

    async def close(self) -> None:
        """Drop every connection; safe to call twice."""
        await self._link.close()
        await self._judge.close()

    async def _describe(self) -> Description:
        self._model = None
        kind = self.kind or await self._find_kind()
        if kind == "judge":
            self._check_judge()
            found = await self._judge.start()
            if "score" not in found.supports:
                raise EngineRefused(
                    self.address, "neither pools nor classifies, and cannot judge a partial text"
                )
            return Description(found.model, found.slots, found.context_tokens, frozenset({"score"}))
        served = await self._served()
        mark = mark_of_model(served.id, served.root) if self.step is None else self.step
        if kind == "classify":
            self._model = Classify(self._link, self._template(), mark)
        else:
            self._model = Pooling(self._link, served.id, mark)
        await self._model.open()
        return Description(
            model=served.id,
            slots=self.slots or DEFAULT_SLOTS,
            context_tokens=served.max_model_len,
            supports=frozenset({"score"}),
        )

    def _check_judge(self) -> None:
        for name, value in (("reward_step", self.step), ("reward_template", self.write_out)):
            if value is not None:
                raise ConfigError(
                    f"{name} is set, and reward engine {self.address} is a model that judges, "
                    "which is asked in words: leave it out, or set reward_kind"
                )

    async def _find_kind(self) -> Kind:
        # Older vLLMs have every path, and say only when asked that a model cannot do it.
        if await self._link.offers(POOLING) and not await self._link.offers(CHAT):
            return "pooling"
        for path in MODEL_INFO:
            with contextlib.suppress(EngineError, msgspec.MsgspecError):
                data = await self._link.get(path)
                if data is not None:
                    info = msgspec.json.decode(data, type=ModelInfo)
                    return "judge" if info.is_generation else "classify"
        return "judge"

    async def _served(self) -> Served:
        """Return the model to ask for: the one that was named, or the server's first."""
        data = await self._link.get("/models")
        if data is None:
            if self.model is None:
                raise EngineRefused(self.address, "has no /v1/models; check it, or name the model")
            return Served(self.model)
        try:
            models = decode(data, _SERVED).data
        except NotTheProtocol as exc:
            raise of_exception(self.address, exc, self.seconds_limit) from exc
        if self.model is not None:
            return next((one for one in models if one.id == self.model), Served(self.model))
        if not models:
            raise EngineRefused(self.address, "lists no model; name the one to use")
        return models[0]

    def _template(self) -> WriteOut:
        if self.write_out is None:
            raise ConfigError(
                f"reward engine {self.address}: /classify takes plain text; set reward_template to "
                "the model's chat template (a folder, a tokenizer_config.json or a .jinja file)"
            )
        return self.write_out
