"""Where embeddings come from in a live run: an engine's `/v1/embeddings`, or a local model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dynasor.core.errors import ConfigError, DynasorError
from dynasor.core.types import Embed
from dynasor.engines.protocol import Engine, Meter
from dynasor.workers.minilm import LocalVectors
from dynasor.workers.similarity import Similarity, Vectors, unit

__all__ = ["EngineVectors", "by_meaning", "first_that_embeds"]

# Embeddings are made outside the windows that the scheduler keeps, so they keep to few slots.
CALLS_AT_ONCE = 4
SAMPLE = "A word."


class EngineVectors:
    """Embeds texts with a started engine; raises what its `embed` raises."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = asyncio.Semaphore(CALLS_AT_ONCE)

    async def __call__(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one vector a text."""
        async with self._turn:
            return (await self._engine.embed(Embed(tuple(texts)), Meter())).vectors


async def by_meaning(
    engines: Sequence[Engine], at: float, *, seconds_limit: float, or_local: bool
) -> Similarity:
    """Return a comparer with the first of these started engines that embeds.

    Without one it takes the local model if `or_local`; `at` and `seconds_limit` are those of
    `Similarity`. Raises `ConfigError` where there is no source.
    """
    sources: list[Vectors] = [EngineVectors(engine) for engine in engines]
    if or_local:
        sources.append(LocalVectors())
    return Similarity(await first_that_embeds(sources), at, seconds_limit=seconds_limit)


async def first_that_embeds(sources: Sequence[Vectors]) -> Vectors:
    """Try the sources in order on one short text and return the first that has a vector for it.

    Raises `ConfigError` that says of each source why it is none.
    """
    reasons: list[str] = []
    for source in sources:
        try:
            vectors = await source((SAMPLE,))
        except DynasorError as exc:
            reasons.append(str(exc))
            continue
        if len(vectors) == 1 and unit(vectors[0]) is not None:
            return source
        reasons.append(f"its vector for {SAMPLE!r} has no direction")
    raise ConfigError(
        f"grouping 'meaning' finds no embeddings ({'; '.join(reasons)}): set embedding_engine to "
        "the URL of a server with /v1/embeddings, or to 'local'"
    )
