"""Processes that are spawned without the user's own script.

A spawned process imports its parent's main script first. A script without the guard
`if __name__ == "__main__":` would then start everything once more, in the child. Workers need
nothing from that script, so they are spawned as if there were none.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any

__all__ = ["SpawnWithoutMain"]

_SWAP = threading.Lock()


class _Process(SpawnProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 - multiprocessing's own name
        with _without_main():
            return SpawnProcess._Popen(process_obj)  # noqa: SLF001


class SpawnWithoutMain(SpawnContext):
    """The `spawn` context, but its processes do not import the main script."""

    Process = _Process


@contextmanager
def _without_main() -> Iterator[None]:
    """Show an empty main module to `multiprocessing.spawn` for the moment it looks at it."""
    with _SWAP:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main
