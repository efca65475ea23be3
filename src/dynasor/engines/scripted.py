"""An engine that answers from a script: deterministic, immediate, and shipped for your own tests.

    engine = ScriptedEngine({"1+1?": ["2", "3"]})       # a table: question -> outputs
    engine = ScriptedEngine(lambda work: "42")          # or a function of the work
    engine = ScriptedEngine(faults={0: Fail(EngineBusy("e", "later"))})

What it was asked stays in `asked`, the most calls it ever ran at once in `peak`. A token is a
word with the white space before it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field

from dynasor.core.errors import EngineError, EngineRefused, EngineUnreachable
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
    Work,
)
from dynasor.engines.plain import CHAT, JSON, STREAM, Said, asked_of, refusal
from dynasor.engines.protocol import Description, Meter, OnReport, Sink

__all__ = ["Drop", "Fail", "Fault", "Hang", "Lie", "ScriptedEngine", "Sleep"]

Sleep = Callable[[float], Awaitable[None]]
"""Waits that many seconds; a test hands in its own clock's."""

_TOKEN = re.compile(r"\s*\S+|\s+$")


@dataclass(frozen=True, slots=True)
class Fail:
    """Raise this error before the first token."""

    error: EngineError


@dataclass(frozen=True, slots=True)
class Hang:
    """Give `tokens` tokens, then nothing until cancelled."""

    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Drop:
    """Break the connection after `tokens` tokens."""

    tokens: int


@dataclass(frozen=True, slots=True)
class Lie:
    """Answer, but say that it cost this."""

    usage: Usage


Fault = Fail | Hang | Drop | Lie

Outputs = Mapping[str, Sequence[str]] | Callable[[Generate], str]


@dataclass(eq=False)
class ScriptedEngine:
    """An engine without a model.

    `outputs`: a function of the work, or a table from the last user message to its outputs,
    cycled by the call's seed, or in order where it has none; a question that is not in the table
    is an `EngineRefused`. `faults`: what goes wrong, by the call's number (0 is the first that is
    made). `reward` and `vector` answer `score` and `embed`; None refuses them. `token_seconds`
    passes before each token through `sleep`; None yields to the event loop once a call.
    """

    outputs: Outputs = field(default_factory=dict)
    _: KW_ONLY
    faults: Mapping[int, Fault] = field(default_factory=dict)
    reward: Callable[[Prompt], float] | None = None
    vector: Callable[[str], Sequence[float]] | None = None
    token_seconds: float = 0.0
    sleep: Sleep | None = None
    slots: int = 64
    context_tokens: int | None = None
    name: str = "scripted"
    model: str = "scripted"
    asked: list[Work] = field(default_factory=list, init=False)
    running: int = field(default=0, init=False)
    peak: int = field(default=0, init=False)
    is_closed: bool = field(default=False, init=False)
    _turns: dict[str, int] = field(default_factory=dict, init=False, repr=False)

    @property
    def address(self) -> str:
        """Its name."""
        return self.name

    async def start(self) -> Description:
        """Describe it: it can do what its script can."""
        self.is_closed = False
        supports = {"generate", "logprobs", "prefix", "relay", "sharing"}
        if self.reward is not None:
            supports.add("score")
        if self.vector is not None:
            supports.add("embed")
        return Description(self.model, self.slots, self.context_tokens, frozenset(supports))

    async def generate(
        self, work: Generate, meter: Meter, on_report: OnReport | None = None
    ) -> Generated:
        """Give the script's next output, cut at the first stop string and at `max_tokens`."""
        fault = self._enter(work)
        try:
            meter.prompt_tokens = sum(len(_tokens(m.content)) for m in work.prompt.messages)
            meter.prompt_tokens += len(_tokens(work.prompt.prefix))
            meter.is_counted = True
            await self._pause(fault)
            return await self._write(work, meter, on_report, fault)
        finally:
            self.running -= 1

    async def relay(self, work: Relay, meter: Meter, sink: Sink) -> Relayed:
        """Answer as a server would, with 400 for what the script has no output for."""
        fault = self._enter(work)
        try:
            meter.is_counted = True
            await self._pause(fault)
            try:
                asked = asked_of(work)
                task = asked.work()
                tokens, finish_reason = self._completion(task)
            except (ValueError, EngineRefused) as exc:
                sink.begin(400, (JSON,))
                await sink.write(refusal(str(exc)))
                return Relayed(400)
            meter.prompt_tokens = sum(len(_tokens(m.content)) for m in task.prompt.messages)
            usage = Usage(meter.prompt_tokens, len(tokens))
            said = Said(asked, work.path == CHAT, tokens, finish_reason, usage)
            await self._pass_on(said, meter, sink, fault)
            return Relayed(200, self._usage(meter, fault))
        finally:
            self.running -= 1

    async def score(self, work: Score, meter: Meter) -> Scored:
        """Reward each item with the script's function."""
        fault = self._enter(work)
        try:
            await self._pause(fault)
            if self.reward is None:
                raise EngineRefused(self.name, "its script has no reward function")
            meter.prompt_tokens = sum(len(_tokens(item.prefix)) for item in work.items)
            meter.completion_tokens = len(work.items)
            meter.is_counted = True
            return Scored(tuple(map(self.reward, work.items)), self._usage(meter, fault))
        finally:
            self.running -= 1

    async def embed(self, work: Embed, meter: Meter) -> Embedded:
        """Embed each text with the script's function."""
        fault = self._enter(work)
        try:
            await self._pause(fault)
            if self.vector is None:
                raise EngineRefused(self.name, "its script has no vector function")
            meter.prompt_tokens = sum(len(_tokens(text)) for text in work.texts)
            meter.is_counted = True
            vectors = tuple(tuple(self.vector(text)) for text in work.texts)
            return Embedded(vectors, self._usage(meter, fault))
        finally:
            self.running -= 1

    async def close(self) -> None:
        """Refuse every call from now on."""
        self.is_closed = True

    def _enter(self, work: Work) -> Fault | None:
        if self.is_closed:
            raise EngineUnreachable(self.name, "it was closed")
        fault = self.faults.get(len(self.asked))
        self.asked.append(work)
        self.running += 1
        self.peak = max(self.peak, self.running)
        return fault

    async def _pause(self, fault: Fault | None) -> None:
        """Let others run, and fail if that is what the script says of the call's beginning."""
        await asyncio.sleep(0)
        if isinstance(fault, Fail):
            raise fault.error
        if isinstance(fault, Hang) and fault.tokens == 0:
            await asyncio.Event().wait()
        if isinstance(fault, Drop) and fault.tokens == 0:
            raise EngineUnreachable(self.name, "the connection broke after 0 tokens")

    async def _write(
        self, work: Generate, meter: Meter, on_report: OnReport | None, fault: Fault | None
    ) -> Generated:
        tokens, finish_reason = self._completion(work)
        reported = 0
        for count, _token in enumerate(tokens, start=1):
            if self.token_seconds > 0.0 and self.sleep is not None:
                await self.sleep(self.token_seconds)
            meter.completion_tokens = count
            if on_report is not None and 0 < work.report_every <= count - reported:
                on_report("".join(tokens[reported:count]), count - reported)
                reported = count
            await self._break_off(fault, count)
        text = "".join(tokens)
        logprob = -1.0 if work.sampling.has_logprobs and tokens else None
        return Generated(text, self._usage(meter, fault), finish_reason, logprob)

    async def _pass_on(self, said: Said, meter: Meter, sink: Sink, fault: Fault | None) -> None:
        """Spend the tokens' time, and write them as they come where the client streams."""
        sink.begin(200, (STREAM if said.asked.stream else JSON,))
        events = said.events()
        if said.asked.stream and said.is_chat:
            await sink.write(next(events))
        for count, _token in enumerate(said.tokens, start=1):
            if self.token_seconds > 0.0 and self.sleep is not None:
                await self.sleep(self.token_seconds)
            meter.completion_tokens = count
            if said.asked.stream:
                await sink.write(next(events))
            await self._break_off(fault, count)
        if not said.asked.stream:
            await sink.write(said.whole())
            return
        for event in events:
            await sink.write(event)

    async def _break_off(self, fault: Fault | None, count: int) -> None:
        if isinstance(fault, Hang) and count == fault.tokens:
            await asyncio.Event().wait()
        if isinstance(fault, Drop) and count == fault.tokens:
            raise EngineUnreachable(self.name, f"the connection broke after {count} tokens")

    def _usage(self, meter: Meter, fault: Fault | None) -> Usage:
        return fault.usage if isinstance(fault, Lie) else meter.usage()

    def _completion(self, work: Generate) -> tuple[list[str], str]:
        text = self._text(work)
        for stop in work.sampling.stop:
            text = text.split(stop, 1)[0]
        tokens = _tokens(text)
        limit = work.sampling.max_tokens
        return tokens[:limit], "length" if len(tokens) > limit else "stop"

    def _text(self, work: Generate) -> str:
        if callable(self.outputs):
            return self.outputs(work)
        question = next((m.content for m in reversed(work.prompt.messages) if m.role == "user"), "")
        choices = self.outputs.get(question)
        if not choices:
            raise EngineRefused(self.name, f"its script has no output for {question!r}")
        turn = work.sampling.seed
        if turn is None:
            turn = self._turns.get(question, 0)
            self._turns[question] = turn + 1
        return choices[turn % len(choices)]


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)
