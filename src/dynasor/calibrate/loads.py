"""Loads that tell what an engine's steps cost: calls sent at once, timed until the last has ended.

Four kinds at every concurrency: short or long prompts, with one token or with many. Prompts
begin with random numbers, each its own, so that no prefix cache spares any of them. How many
tokens a text has and when a model stops are the engine's to say, so every load is judged by the
counts that come back, not by those it aimed at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Annotated

from msgspec import Meta, Struct

from dynasor.core.errors import EngineGarbage
from dynasor.core.types import Generate, Message, Prompt, Sampling, Usage
from dynasor.engines.protocol import Engine, Meter
from dynasor.runtime import Clock

__all__ = ["Bench", "Load", "Plan", "TimedLoad", "plan_for"]

SHORT_PROMPT = 32
MOST_PROMPT = 2048
MOST_COMPLETION = 128
"""Where the context has room: enough steps that one more or less is no matter."""
UNKNOWN_CONTEXT = 4096
FEW_WORDS, MANY_WORDS = 2, 64
"""Lengths of the two prompts that show how many tokens a word has."""
INSTRUCTION = "Go on with such numbers, one after the other, and never stop."
HOT = 2.0
"""The highest temperature that OpenAI's protocol has: a model that talks nonsense rarely ends."""

Count = Annotated[int, Meta(ge=1)]


class Load(Struct, frozen=True):
    """Calls to send at once, with the tokens aimed at in each."""

    calls: Count
    prompt_tokens: Count
    completion_tokens: Count


class TimedLoad(Struct, frozen=True):
    """What a load took, in seconds, and the tokens that the engine counted, a usage a call."""

    seconds: float
    usages: tuple[Usage, ...]


class Plan(Struct, frozen=True):
    """Which loads to send: `repeats` of each kind, in an order drawn with the seed.

    `most_calls` at once; `prompt_tokens` and `completion_tokens` of the longest.
    """

    most_calls: Count
    prompt_tokens: Count
    completion_tokens: Count
    repeats: Count = 2
    seed: int = 0

    def loads(self) -> list[Load]:
        """Return the loads, shuffled: an engine that slows down with time must not look uneven."""
        calls = [2**power for power in range(self.most_calls.bit_length())]
        if calls[-1] != self.most_calls:
            calls.append(self.most_calls)
        prompts = sorted({min(SHORT_PROMPT, self.prompt_tokens), self.prompt_tokens})
        completions = sorted({1, self.completion_tokens})
        loads = [
            Load(at_once, prompt, completion)
            for at_once in calls
            for prompt in prompts
            for completion in completions
        ] * self.repeats
        Random(self.seed).shuffle(loads)
        return loads


def plan_for(
    context_tokens: int | None, most_calls: int, *, repeats: int = 2, seed: int = 0
) -> Plan:
    """Return a plan that suits an engine with that context, in tokens of one call."""
    context = context_tokens or UNKNOWN_CONTEXT
    return Plan(
        most_calls=most_calls,
        prompt_tokens=min(MOST_PROMPT, max(1, context // 2)),
        completion_tokens=min(MOST_COMPLETION, max(1, context // 8)),
        repeats=repeats,
        seed=seed,
    )


class Bench:
    """Sends loads to one started engine and times them."""

    def __init__(self, engine: Engine, clock: Clock, seed: int = 0) -> None:
        self._engine = engine
        self._clock = clock
        self._random = Random(seed)
        self._word_tokens = 1.0
        self._other_tokens = 0.0

    async def run(self, plan: Plan, on_load: Callable[[], None] = lambda: None) -> list[TimedLoad]:
        """Warm the engine up, then send every load of the plan, one after the other.

        Raises `EngineError`, also for an engine that does not count its tokens.
        """
        await self._warm_up(plan)
        timed: list[TimedLoad] = []
        for load in plan.loads():
            timed.append(await self._time(load))
            on_load()
        return timed

    async def _warm_up(self, plan: Plan) -> None:
        """Learn how many tokens a word has, and let the engine compile what it will."""
        many = max(FEW_WORDS + 1, min(MANY_WORDS, plan.prompt_tokens // 8))
        few = (await self._call(FEW_WORDS, 1)).prompt_tokens
        more = (await self._call(many, 1)).prompt_tokens
        self._word_tokens = max(0.1, (more - few) / (many - FEW_WORDS))
        self._other_tokens = few - FEW_WORDS * self._word_tokens
        await self._time(Load(plan.most_calls, SHORT_PROMPT, plan.completion_tokens))

    async def _time(self, load: Load) -> TimedLoad:
        words = max(1, int((load.prompt_tokens - self._other_tokens) / self._word_tokens))
        works = [self._work(words, load.completion_tokens) for _ in range(load.calls)]
        start = self._clock.now()
        tasks = [asyncio.ensure_future(self._generate(work)) for work in works]
        try:
            usages = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return TimedLoad(self._clock.now() - start, tuple(usages))

    async def _call(self, words: int, max_tokens: int) -> Usage:
        return await self._generate(self._work(words, max_tokens))

    async def _generate(self, work: Generate) -> Usage:
        usage = (await self._engine.generate(work, Meter())).usage
        if not usage.is_counted:
            raise EngineGarbage(
                self._engine.address,
                "gives no usage with its answers (tokens of prompt and completion); fitting needs "
                "it: switch it on in the server",
            )
        return usage

    def _work(self, words: int, max_tokens: int) -> Generate:
        numbers = " ".join(str(self._random.randrange(100, 1000)) for _ in range(words))
        sampling = Sampling(max_tokens, temperature=HOT, seed=self._random.randrange(2**31))
        return Generate(Prompt((Message("user", f"{numbers}\n{INSTRUCTION}"),)), sampling)
