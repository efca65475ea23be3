"""Engines for programs that search and think: steps, rewards and probes that depend on seeds."""

from __future__ import annotations

import asyncio
import heapq
from random import Random

from dynasor.core.types import Score
from dynasor.engines.scripted import ScriptedEngine

__all__ = ["Metronome", "reward_of", "scored_tokens", "stepping_engine", "thinking_engine"]


class Metronome:
    """Time that goes on when nothing else can: `sleep` waits for it."""

    def __init__(self):
        self.now = 0.0
        self._waiting = []
        self._count = 0
        self._ticking = None

    async def sleep(self, seconds):
        future = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._waiting, (self.now + seconds, self._count, future))
        if self._ticking is None or self._ticking.done():
            self._ticking = asyncio.create_task(self._tick())
        await future

    async def _tick(self):
        while True:
            for _ in range(40):  # whatever is ready runs
                await asyncio.sleep(0)
            while self._waiting and self._waiting[0][2].done():
                heapq.heappop(self._waiting)
            if not self._waiting:
                return
            self.now, _, future = heapq.heappop(self._waiting)
            future.set_result(None)


def reward_of(prompt):
    """Any reward, the same for the same text."""
    return Random(prompt.prefix).random()


def stepping_engine(**options):
    """An engine whose steps are short, long, blank, endless or final, as their seeds have it."""

    def step(random, depth):
        chance = random.random()
        if chance < 0.12:
            return random.choice(["", " "])
        if chance < 0.15:
            return " ".join("w" * 300)
        if depth > 1 and chance < 0.5:
            return f"so \\boxed{{{random.randrange(3)}}}"
        return (
            "same" if chance < 0.6 else f"step {random.randrange(4)}" + " x" * random.randrange(6)
        )

    def answer(work):
        random = Random(f"{work.sampling.seed}/{work.prompt.prefix}")
        depth = work.prompt.prefix.count("\n")
        if work.sampling.stop:
            return step(random, depth)
        lines = []
        while not lines or ("box" not in lines[-1] and depth + len(lines) < 9):
            lines.append(step(random, depth + len(lines)))
        return "\n".join(lines)

    return ScriptedEngine(answer, **{"reward": reward_of, **options})


def thinking_engine(**options):
    """An engine that thinks, one token a second, and answers probes better late than early."""

    def answer(work):
        prefix = work.prompt.prefix
        if prefix.endswith("boxed{"):
            random = Random(prefix)
            if len(prefix.split()) > 40 and random.random() < 0.8:
                return "2}."
            return "wait no" if random.random() < 0.2 else f"{random.randrange(3)}}}."
        random = Random(work.sampling.seed)
        thoughts = " ".join(random.choices("abc", k=random.randrange(3, 130)))
        ends = ["", " </think> so nothing", " the \\boxed{1}"]
        ends += [f" </think> The answer is \\boxed{{{value}}}." for value in (2, 2, 1)]
        return thoughts + random.choice(ends)

    return ScriptedEngine(
        answer, **{"token_seconds": 1.0, "sleep": Metronome().sleep, "slots": 8, **options}
    )


def scored_tokens(asked):
    """What an engine billed for scores: a token each, which a replay does not count."""
    return sum(len(work.items) for work in asked if isinstance(work, Score))
