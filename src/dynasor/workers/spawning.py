"""Processes that are spawned without the user's own script, and without hearing Ctrl-C.

A spawned process imports its parent's main script first. A script without the guard
`if __name__ == "__main__":` would then start everything once more, in the child. Workers need
nothing from that script, so they are spawned as if there were none.

On Ctrl-C a terminal signals every process. The parent ends the others; one that heard it too
would print a traceback, most of all while it still imports.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any

__all__ = ["SpawnWithoutMain", "held_interrupts"]

_SWAP = threading.Lock()


class _Process(SpawnProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 - multiprocessing's own name
        with _without_main(), held_interrupts():
            return SpawnProcess._Popen(process_obj)  # noqa: SLF001


class SpawnWithoutMain(SpawnContext):
    """The `spawn` context, but its processes do not import the main script."""

    Process = _Process


@contextmanager
def held_interrupts() -> Iterator[None]:
    """Let Ctrl-C wait for the end of this context; processes started in it never hear it.

    They inherit the mask. It is not enough for this process, where another thread may take the
    signal and the main thread raise `KeyboardInterrupt` with a process half started.
    """
    resource_tracker.ensure_running()  # its first start would take the mask away
    heard: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    if is_main:
        signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if is_main:
            signal.signal(signal.SIGINT, handler)
    if heard:
        signal.raise_signal(signal.SIGINT)


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
