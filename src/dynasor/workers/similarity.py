"""Answers sorted by meaning: the cosine of their embeddings, whoever makes those.

Whatever a source of embeddings does wrong (an error, silence, a wrong number of vectors, zeros,
not-a-number, another dimension) costs the texts it went wrong for: they are held to be different
and counted as failures.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dynasor.core.errors import ConfigError

__all__ = ["Similarity", "Vectors", "unit"]

Vectors: TypeAlias = Callable[[Sequence[str]], Awaitable[Sequence[Sequence[float]]]]
"""Embeds texts: one vector each, in their order, all of one dimension. May raise anything."""

Unit: TypeAlias = NDArray[np.float64]

# The default of Hugging Face's text-embeddings-inference, the smallest among the servers.
TEXTS_AT_ONCE = 32
# Vectors have 384 to 4,096 dimensions of 8 bytes: 25 MB to a quarter of a gigabyte.
VECTORS_KEPT = 8_192
# Embeddings come in single precision: the cosine of a vector with itself may fall short of 1.
ROUNDING = 1e-6


class Similarity:
    """Compares texts by their embeddings: those whose cosine is at least `at` are one class.

    `at` lies in (0, 1]; embedding one comparison's texts may take `seconds_limit`. Vectors are
    remembered, `VECTORS_KEPT` of them. Raises `ConfigError` for a number out of range.
    """

    def __init__(self, vectors: Vectors, at: float, *, seconds_limit: float = 60.0) -> None:
        if not 0 < at <= 1:
            raise ConfigError(f"similarity is {at}: give a cosine above 0 and at most 1")
        if not seconds_limit > 0:
            raise ConfigError(f"seconds_limit is {seconds_limit}: give a positive number")
        self._vectors = vectors
        self._at = at - ROUNDING
        self._seconds_limit = seconds_limit
        self._kept: OrderedDict[bytes, Unit] = OrderedDict()
        self._dimension: int | None = None

    async def compare(
        self, task: str, representatives: tuple[str, ...], new: tuple[str, ...]
    ) -> tuple[tuple[int, ...], int]:
        """Sort new answers into classes: `Grouped.classes` and `Grouped.failures`.

        Of several classes that are similar enough an answer joins the most similar one, of
        equally similar ones the oldest. A failure is a text, new or representative, without a
        usable vector. `task` does not matter.
        """
        texts = dict.fromkeys(representatives + new)
        units = await self._embed(texts)
        founders = dict(enumerate(representatives))
        classes: list[int] = []
        for own, answer in enumerate(new, len(representatives)):
            home = self._home(answer, founders, units)
            if home is None:
                founders[own] = answer
            classes.append(own if home is None else home)
        return tuple(classes), len(texts) - len(units)

    def _home(
        self, answer: str, founders: Mapping[int, str], units: Mapping[str, Unit]
    ) -> int | None:
        """Return the index of the founder whose class an answer joins, None for a class of its own.

        The answer's own text is its class even where there is no vector for it.
        """
        for index, founder in founders.items():
            if founder == answer:
                return index
        known = [index for index, founder in founders.items() if founder in units]
        if answer not in units or not known:
            return None
        cosines = np.stack([units[founders[index]] for index in known]) @ units[answer]
        best = int(np.argmax(cosines))
        return known[best] if cosines[best] >= self._at else None

    async def _embed(self, texts: Iterable[str]) -> dict[str, Unit]:
        """Return the vectors, of length 1, of those texts that have one."""
        units: dict[str, Unit] = {}
        unknown: list[str] = []
        for text in texts:
            kept = self._recall(text)
            if kept is None:
                unknown.append(text)
            else:
                units[text] = kept
        # Texts that are left when time runs out have no vector, and are counted.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._seconds_limit):
                for start in range(0, len(unknown), TEXTS_AT_ONCE):
                    batch = unknown[start : start + TEXTS_AT_ONCE]
                    units |= self._keep(batch, await self._ask(batch))
        return units

    async def _ask(self, texts: Sequence[str]) -> list[Any]:
        """Return what the source makes of each text, None where it fails.

        One text that it cannot take, such as an overlong one, fails a whole batch: the others
        are asked for one by one.
        """
        found = await self._ask_once(texts)
        if found is not None:
            return found
        if len(texts) == 1:
            return [None]
        singles = await asyncio.gather(*(self._ask_once((text,)) for text in texts))
        return [None if single is None else single[0] for single in singles]

    async def _ask_once(self, texts: Sequence[str]) -> list[Any] | None:
        try:
            found = list(await self._vectors(texts))
        except Exception:  # noqa: BLE001 - without vectors answers stay apart; the count says so
            return None
        return found if len(found) == len(texts) else None

    def _keep(self, texts: Sequence[str], found: Sequence[Any]) -> dict[str, Unit]:
        """Remember the usable vectors and return them; those used longest ago are forgotten.

        The first one sets the dimension: two dimensions are two models, and no cosine.
        """
        units: dict[str, Unit] = {}
        for text, vector in zip(texts, found, strict=True):
            made = unit(vector)
            if made is None or made.size != (self._dimension or made.size):
                continue
            self._dimension = made.size
            units[text] = self._kept[_key(text)] = made
        while len(self._kept) > VECTORS_KEPT:
            self._kept.popitem(last=False)
        return units

    def _recall(self, text: str) -> Unit | None:
        key = _key(text)
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
        return kept


def unit(vector: Any) -> Unit | None:
    """Return a vector scaled to length 1; None for what is no vector, or has no direction."""
    try:
        made = np.asarray(vector, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    if made.ndim != 1 or not made.size or not np.isfinite(made).all():
        return None
    largest = np.abs(made).max()
    if largest == 0:
        return None
    made = made / largest  # or the squares of huge and of tiny numbers would leave the range
    return np.asarray(made / np.linalg.norm(made))


def _key(text: str) -> bytes:
    """Return a short key: an answer may be a megabyte, and may hold lone surrogates."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
