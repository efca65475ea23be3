"""An engine with somebody who watches whether it answers at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from dynasor.core.errors import EngineError, EngineUnreachable
from dynasor.core.types import Embed, Embedded, Generate, Generated, Score, Scored
from dynasor.engines.protocol import Description, Engine, Meter, OnReport

__all__ = ["Witness"]

T = TypeVar("T")


class Witness:
    """Passes every call on to an engine; `is_silent` while the latest calls brought no answer.

    `unreachable_since` is when it could not be reached (the loop's time, in seconds), None where
    it could.

    A refusal (HTTP 4xx) is an answer. A failed question alone does not tell its engine's state:
    the next one may be shorter, or in another language.
    """

    def __init__(self, engine: Engine) -> None:
        self.is_silent = False
        self.unreachable_since: float | None = None
        self._engine = engine

    @property
    def address(self) -> str:
        """The engine's address."""
        return self._engine.address

    async def start(self) -> Description:
        """Start the engine."""
        return await self._engine.start()

    async def generate(
        self, work: Generate, meter: Meter, on_report: OnReport | None = None
    ) -> Generated:
        """Generate one completion."""
        return await self._watch(self._engine.generate(work, meter, on_report))

    async def score(self, work: Score, meter: Meter) -> Scored:
        """Score partial solutions."""
        return await self._watch(self._engine.score(work, meter))

    async def embed(self, work: Embed, meter: Meter) -> Embedded:
        """Embed texts."""
        return await self._watch(self._engine.embed(work, meter))

    async def close(self) -> None:
        """Close the engine."""
        await self._engine.close()

    async def _watch(self, call: Awaitable[T]) -> T:
        try:
            output = await call
        except EngineError as exc:
            self.is_silent = exc.is_retryable
            if not isinstance(exc, EngineUnreachable):
                self.unreachable_since = None
            elif self.unreachable_since is None:
                self.unreachable_since = asyncio.get_running_loop().time()
            raise
        self.is_silent = False
        self.unreachable_since = None
        return output
