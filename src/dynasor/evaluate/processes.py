"""Many runs in virtual time at once: one process a core, and no garbage collection meanwhile."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from dynasor.core.errors import DynasorError
from dynasor.workers.spawning import held_interrupts

__all__ = ["cores", "in_processes", "without_collector"]

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Done = TypeVar("Done")

# What a pool's process was told once: the work, and what all tasks share.
_WORK: ContextVar[tuple[Callable[[Any, Any], Any], Any]] = ContextVar("work")


def cores() -> int:
    """Return how many cores this process may use; all of them where the system cannot tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_processes(
    work: Callable[[Shared, Task], Done],
    shared: Shared,
    tasks: Sequence[Task],
    processes: int | None = None,
) -> Generator[Done]:
    """Yield `work(shared, task)` of every task, in order; `processes` None takes one a core.

    With one process, or one task, it is done here. Otherwise `work` must be importable, and what
    is shared goes to each process once. An error or Ctrl-C drops the tasks that have not begun;
    raises `DynasorError` where a process is killed.
    """
    processes = processes or cores()
    if processes == 1 or len(tasks) < 2:
        for task in tasks:
            yield work(shared, task)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=_set_up, initargs=(work, shared)
    ) as pool:
        try:
            with held_interrupts():
                coming = pool.map(_pooled, tasks, chunksize=1)
            yield from coming
        except BrokenProcessPool as exc:
            raise DynasorError(
                "a process ended before its work, killed for its memory perhaps; run it again, "
                "with fewer questions at a time"
            ) from exc
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def without_collector() -> Iterator[None]:
    """Make no cyclic garbage collection meanwhile: a run makes no cycles that outlive it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _set_up(work: Callable[[Any, Any], Any], shared: Any) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _WORK.set((work, shared))


def _end_with_parent() -> None:
    """End this process when its parent has ended, killed without a chance to say so."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # it was spawned
    parent.join()
    os._exit(1)


def _pooled(task: Any) -> Any:
    work, shared = _WORK.get()
    return work(shared, task)
