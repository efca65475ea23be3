"""A reward model behind SGLang's `/classify` (a server started with `--is-embedding`).

The endpoint takes text and knows no chat template, so a conversation is written out here. It
gives one reward for a whole text; all texts of a call go in one request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from dynasor.core.errors import EngineGarbage, EngineRefused
from dynasor.core.types import Message, Usage
from dynasor.engines.faults import of_exception
from dynasor.engines.link import Link
from dynasor.engines.logits import Classified, NoReward, reward_of, rows_of
from dynasor.engines.pooling import SAMPLE, bill
from dynasor.engines.protocol import Meter
from dynasor.engines.steps import Partial
from dynasor.engines.wire import NotTheProtocol, decode, estimated_tokens, read_usage

__all__ = ["Classify", "WriteOut"]

PATH = "/../classify"

WriteOut = Callable[[Sequence[Message]], str]
"""Writes a conversation out as the text that a model sees: its chat template."""

_ANSWERS = msgspec.json.Decoder(list[Classified])


@dataclass(eq=False)
class Classify:
    """One model at `link`; `mark` ends each step ("": steps are not marked)."""

    link: Link
    write_out: WriteOut
    mark: str = ""

    async def open(self) -> None:
        """Score a sample; raises `EngineRefused` where what comes is no reward."""
        try:
            await self.rewards([Partial(*SAMPLE)], Meter())
        except EngineGarbage as exc:
            if isinstance(exc.__cause__, NoReward):
                raise EngineRefused(
                    self.link.address, f"is no reward model: {exc.__cause__}"
                ) from exc
            raise

    async def rewards(self, partials: Iterable[Partial], meter: Meter) -> dict[Partial, float]:
        """Return the reward of each."""
        asked = list(dict.fromkeys(partials))
        texts = [self._text(partial) for partial in asked]
        data = await self.link.post(PATH, {"text": texts})
        try:
            answers = decode(data, _ANSWERS)
        except NotTheProtocol as exc:
            raise of_exception(self.link.address, exc, self.link.seconds_limit) from exc
        if len(answers) != len(asked):
            raise EngineGarbage(self.link.address, f"{len(answers)} answers for {len(asked)} texts")
        for text, answer in zip(texts, answers, strict=True):
            bill(meter, _usage(answer), estimated_tokens(text))
        return dict(zip(asked, map(self._reward, answers), strict=True))

    def _text(self, partial: Partial) -> str:
        return self.write_out([*partial.messages, Message("assistant", partial.text(self.mark))])

    def _reward(self, answer: Classified) -> float:
        try:
            rows = rows_of(answer.embedding)
            if not rows:
                raise NoReward("expected a number, got none")
            return reward_of(rows[-1])
        except NoReward as exc:
            raise EngineGarbage(self.link.address, f"its reward cannot be read: {exc}") from exc


def _usage(answer: Classified) -> Usage | None:
    return read_usage({"prompt_tokens": answer.meta_info.prompt_tokens}, 0, 0)
