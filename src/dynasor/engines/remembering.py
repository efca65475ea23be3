"""An engine that is never asked twice what a text is worth.

Searches come back to the same steps, and samples at low temperature repeat each other. A model
rewards the same text alike every time, so what it once said is kept.
"""

from __future__ import annotations

import asyncio

from dynasor.core.errors import EngineError, EngineGarbage, EngineRefused
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
from dynasor.engines.kept import Kept
from dynasor.engines.protocol import (
    Description,
    Engine,
    Load,
    Meter,
    OnReport,
    Relays,
    Releases,
    Sink,
    Watched,
)

__all__ = ["KeptRewards", "RememberingEngine"]

KeptRewards = Kept[Prompt, float]
"""Rewards by the conversation and the text that was scored; replicas of one model share it."""


class RememberingEngine:
    """`engine`, whose rewards are kept; in everything else it is that engine.

    A text asked for twice, in one `Score` or in two, goes to the engine once and costs nothing
    the second time; a `Score` that comes while another asks for the same text waits for that. A
    reward outside [0, 1] is passed on, for the scheduler to refuse, not kept, and so is none.
    """

    def __init__(self, engine: Engine, kept: KeptRewards) -> None:
        self.engine = engine
        self._relays = engine if isinstance(engine, Relays) else None
        self._watched = engine if isinstance(engine, Watched) else None
        self._releases = engine if isinstance(engine, Releases) else None
        self._kept = kept
        self._underway: dict[Prompt, asyncio.Future[None]] = {}

    @property
    def address(self) -> str:
        """The engine's own."""
        return self.engine.address

    async def start(self) -> Description:
        """Start the engine."""
        return await self.engine.start()

    async def generate(
        self, work: Generate, meter: Meter, on_report: OnReport | None = None
    ) -> Generated:
        """Have the engine generate."""
        return await self.engine.generate(work, meter, on_report)

    async def score(self, work: Score, meter: Meter) -> Scored:
        """Have the engine score the texts that it has not scored yet.

        Raises `EngineGarbage` where it does not give one reward a text.
        """
        known: dict[Prompt, float | None] = {}
        usage = Usage()
        while missing := self._missing(work.items, known):
            ours = tuple(item for item in missing if item not in self._underway)
            if ours:
                scored = await self._ask(ours, meter)
                known.update(zip(ours, scored.rewards, strict=True))
                usage = scored.usage
            else:  # whoever asks may be aborted: then the text is missing still
                asked = self._underway[missing[0]]
                await asyncio.wait([asked])
                if (error := asked.exception()) is not None:
                    raise error
        if usage == Usage():
            meter.is_counted = True
        return Scored(tuple(known[item] for item in work.items), usage)

    def _missing(
        self, items: tuple[Prompt, ...], known: dict[Prompt, float | None]
    ) -> list[Prompt]:
        """Add what is kept to what is known, and return the rest."""
        for item in items:
            reward = None if item in known else self._kept.get(item)
            if reward is not None:
                known[item] = reward
        return [item for item in dict.fromkeys(items) if item not in known]

    async def _ask(self, items: tuple[Prompt, ...], meter: Meter) -> Scored:
        asked = asyncio.get_running_loop().create_future()
        self._underway |= dict.fromkeys(items, asked)
        try:
            scored = await self.engine.score(Score(items), meter)
            if len(scored.rewards) != len(items):
                raise EngineGarbage(
                    self.address,
                    f"{len(scored.rewards)} rewards for {len(items)} texts; expected one each",
                )
            for item, reward in zip(items, scored.rewards, strict=True):
                if reward is not None and 0.0 <= reward <= 1.0:
                    self._kept.put(item, reward)
        except EngineError as exc:  # all who wait for it would fail too, one after the other
            asked.set_exception(exc)
            asked.exception()  # nobody may be waiting
            raise
        else:
            return scored
        finally:
            for item in items:
                del self._underway[item]
            if not asked.done():
                asked.set_result(None)

    async def embed(self, work: Embed, meter: Meter) -> Embedded:
        """Have the engine embed."""
        return await self.engine.embed(work, meter)

    async def relay(self, work: Relay, meter: Meter, sink: Sink) -> Relayed:
        """Have the engine pass a request on; raises `EngineRefused` where it cannot."""
        if self._relays is None:
            raise EngineRefused(self.address, "cannot pass a client's request on")
        return await self._relays.relay(work, meter, sink)

    async def healthy(self) -> bool:
        """Ask the engine; one that cannot be asked is healthy."""
        return self._watched is None or await self._watched.healthy()

    async def observe(self) -> Load | None:
        """Ask the engine; one that cannot be asked does not say."""
        return None if self._watched is None else await self._watched.observe()

    def holds(self, program: str) -> bool:
        """Say whether the engine holds anything of a program."""
        return self._releases is not None and self._releases.holds(program)

    async def release(self, program: str) -> None:
        """Have the engine release a program."""
        if self._releases is not None:
            await self._releases.release(program)

    async def close(self) -> None:
        """Close the engine; what it said stays true."""
        await self.engine.close()
