"""A reward model behind vLLM's `/pooling` (`vllm serve MODEL --runner pooling`).

What the server gives for a text depends on how it was started, so one text of two steps is asked
about first: one list of numbers is a reward of the whole, two are one a step, more are one a
token. Raw numbers are asked for (`use_activation: false`), since the server's own activation is a
matter of the model's configuration files.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from dynasor.core.errors import EngineGarbage, EngineRefused
from dynasor.core.types import Message, Usage
from dynasor.engines.dialects import written
from dynasor.engines.faults import of_exception
from dynasor.engines.kept import Kept
from dynasor.engines.link import Link
from dynasor.engines.logits import NoReward, PooledList, reward_of, rows_of
from dynasor.engines.protocol import Meter
from dynasor.engines.steps import Partial, longest
from dynasor.engines.wire import (
    NotTheProtocol,
    Tokens,
    decode,
    estimated_tokens,
    in_order,
    read_usage,
)

__all__ = ["PATH", "Pooling", "bill"]

PATH = "/../pooling"
TOKENIZE = "/../tokenize"
# One Score is one call to the scheduler and must not take a server's slots by the dozen.
ASKED_AT_ONCE = 8
# Token ids of questions and steps; searches share them. A step is some forty numbers.
TEXTS_KEPT = 4096

SAMPLE = ((Message("user", "What is 1 + 1?"),), ("1 + 1 = 2.", "The answer is 2."))

_ANSWER = msgspec.json.Decoder(PooledList)
_TOKENS = msgspec.json.Decoder(Tokens)

T = TypeVar("T")
Rows = list[Sequence[object]]


class Form(enum.Enum):
    """What the server gives a number for: the last token alone, each step, or each token."""

    LAST = enum.auto()
    STEPS = enum.auto()
    TOKENS = enum.auto()


@dataclass(frozen=True, slots=True)
class Tokenized:
    """An input as token ids, and where in it each step ends."""

    ids: list[int]
    ends: list[int]


@dataclass(eq=False)
class Pooling:
    """One model at `link`; `mark` ends each step, "" for a model that knows no steps.

    Models whose mark is a line break (Skywork's) are shown question and steps without a chat
    template, each tokenized for itself; all others a conversation, by the server's template.
    """

    link: Link
    model: str
    mark: str
    _form: Form = field(default=Form.LAST, init=False)
    _ids: Kept[str, list[int]] = field(
        default_factory=lambda: Kept(TEXTS_KEPT), init=False, repr=False
    )

    async def open(self) -> None:
        """Find out what the server gives for a text.

        Raises `EngineRefused` where that is nothing, or too much for a reward.
        """
        sample = Partial(*SAMPLE)
        if self._is_plain:
            tokenized = await self._tokenize_plain(sample)
            (rows,) = await self._pool_ids([tokenized], Meter())
            self._form = _FORMS.get(len(rows), Form.TOKENS)
        else:
            rows = await self._pool_conversation(sample, Meter())
            self._form = _FORMS.get(len(rows), Form.TOKENS) if self.mark else Form.LAST
        if not rows:
            raise EngineRefused(
                self.link.address,
                f"gives no reward for a text whose steps end with {self.mark!r}; "
                "set reward_step to the mark it was started with",
            )
        if self._form is Form.TOKENS:
            await self._tokenize(sample)
        try:
            reward_of(rows[-1])
        except NoReward as exc:
            raise EngineRefused(self.link.address, f"is no reward model: {exc}") from exc

    async def rewards(self, partials: Iterable[Partial], meter: Meter) -> dict[Partial, float]:
        """Return the reward after the last step of each, and of what was rewarded along with it."""
        asked = list(dict.fromkeys(partials)) if self._form is Form.LAST else longest(partials)
        found: dict[Partial, float] = {}
        for partial, rows in zip(asked, await self._pool(asked, meter), strict=True):
            starts = [partial] if self._form is Form.LAST else partial.beginnings()
            try:
                for start, row in zip(starts, rows, strict=True):
                    found.setdefault(start, reward_of(row))
            except NoReward as exc:
                raise EngineGarbage(self.link.address, f"its reward cannot be read: {exc}") from exc
        return found

    @property
    def _is_plain(self) -> bool:
        return bool(self.mark) and not self.mark.strip()

    async def _pool(self, asked: list[Partial], meter: Meter) -> list[Rows]:
        """Return the rows that count of each answer: one a step, or the last alone."""
        if self._is_plain or self._form is Form.TOKENS:
            tokenized = await _each(self._tokenize, asked)
            answers = await self._pool_ids(tokenized, meter)
            if self._form is Form.TOKENS:
                return [self._at(*pair) for pair in zip(tokenized, answers, strict=True)]
        else:
            answers = await _each(lambda one: self._pool_conversation(one, meter), asked)
        wanted = [1 if self._form is Form.LAST else len(partial.steps) for partial in asked]
        return [self._last(*pair) for pair in zip(answers, wanted, strict=True)]

    def _last(self, rows: Rows, wanted: int) -> Rows:
        # A mark in the question is rewarded too, and comes first.
        if len(rows) < wanted:
            raise EngineGarbage(self.link.address, f"{len(rows)} rewards for {wanted} steps")
        return rows[-wanted:]

    def _at(self, tokenized: Tokenized, rows: Rows) -> Rows:
        if len(rows) != len(tokenized.ids):
            raise EngineGarbage(
                self.link.address, f"{len(rows)} rewards for {len(tokenized.ids)} tokens"
            )
        return [rows[end] for end in tokenized.ends]

    async def _pool_conversation(self, partial: Partial, meter: Meter) -> Rows:
        messages = written(partial.messages, partial.text(self.mark))
        text = "".join(message["content"] for message in messages)
        (rows,) = await self._pool_input({"messages": messages}, 1, estimated_tokens(text), meter)
        return rows

    async def _pool_ids(self, inputs: Sequence[Tokenized], meter: Meter) -> list[Rows]:
        ids = [tokenized.ids for tokenized in inputs]
        return await self._pool_input({"input": ids}, len(ids), sum(map(len, ids)), meter)

    async def _pool_input(
        self, shown: dict[str, Any], count: int, tokens: int, meter: Meter
    ) -> list[Rows]:
        body = {"model": self.model, **shown, "use_activation": False, "encoding_format": "float"}
        data = await self.link.post(PATH, body)
        try:
            answer = decode(data, _ANSWER)
            rows = [rows_of(one.data) for one in in_order(answer.data)]
        except NotTheProtocol as exc:
            raise of_exception(self.link.address, exc, self.link.seconds_limit) from exc
        except NoReward as exc:
            raise EngineGarbage(self.link.address, f"its reward cannot be read: {exc}") from exc
        if len(rows) != count:
            raise EngineGarbage(self.link.address, f"{len(rows)} answers for {count} texts")
        bill(meter, read_usage(answer.usage, 0, 0), tokens)
        return rows

    async def _tokenize(self, partial: Partial) -> Tokenized:
        if self._is_plain:
            return await self._tokenize_plain(partial)
        mark = (await self._tokens_of(self.mark, is_start=False))[-1:]
        body = {
            "model": self.model,
            "messages": written(partial.messages, partial.text(self.mark)),
            "add_generation_prompt": False,
        }
        ids = await self._post_tokenize(body)
        wanted = len(partial.steps)
        ends = [at for at, token in enumerate(ids) if [token] == mark][-wanted:]
        if len(ends) < wanted:
            raise EngineRefused(
                self.link.address,
                f"its tokenizer does not keep the step mark {self.mark!r} apart; "
                "set reward_step to what the model was trained with",
            )
        return Tokenized(ids, ends)

    async def _tokenize_plain(self, partial: Partial) -> Tokenized:
        """Tokenize as Skywork's own code does: the question's line, then each step and its mark."""
        question = next((m.content for m in reversed(partial.messages) if m.role == "user"), "")
        ids = list(await self._tokens_of(question + "\n", is_start=True))
        mark = (await self._tokens_of(self.mark, is_start=False))[-1:]
        ends = []
        for step in partial.steps:
            ids += (await self._tokens_of(step, is_start=False) if step else []) + mark
            ends.append(len(ids) - 1)
        return Tokenized(ids, ends)

    async def _tokens_of(self, text: str, *, is_start: bool) -> list[int]:
        key = f"{is_start:d}{text}"
        ids = self._ids.get(key)
        if ids is None:
            body = {"model": self.model, "prompt": text, "add_special_tokens": is_start}
            ids = await self._post_tokenize(body)
            self._ids.put(key, ids)
        return ids

    async def _post_tokenize(self, body: dict[str, Any]) -> list[int]:
        data = await self.link.post(TOKENIZE, body)
        try:
            return decode(data, _TOKENS).tokens
        except NotTheProtocol as exc:
            raise of_exception(self.link.address, exc, self.link.seconds_limit) from exc


# How many rows two steps get.
_FORMS = {1: Form.LAST, 2: Form.STEPS}


def bill(meter: Meter, usage: Usage | None, estimate: int) -> None:
    """Add one request's prompt to the meter of a call that makes several."""
    is_first = meter.prompt_tokens == 0
    meter.is_counted = usage is not None and (is_first or meter.is_counted)
    meter.prompt_tokens += estimate if usage is None else usage.prompt_tokens


async def _each(ask: Callable[[Partial], Awaitable[T]], partials: Iterable[Partial]) -> list[T]:
    """Ask for each, a few at once; if one fails, or nobody waits any more, all are cancelled."""
    turn = asyncio.Semaphore(ASKED_AT_ONCE)

    async def one(partial: Partial) -> T:
        async with turn:
            return await ask(partial)

    tasks = [asyncio.ensure_future(one(partial)) for partial in partials]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
