"""`SyncDynasor`: the same without `async`, for scripts and notebooks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

from dynasor.api.dynasor import Dynasor
from dynasor.api.handle import Result
from dynasor.core.errors import ConfigError
from dynasor.core.program import Program

__all__ = ["SyncDynasor"]

T = TypeVar("T")
WIND_UP_SECONDS = 1.0
"""Tasks that are left once everything is closed have nothing to do but to say so."""


class SyncDynasor:
    """Takes what `Dynasor` takes and runs it on an event loop in a thread of its own.

        with SyncDynasor(policy="beta") as dynasor:
            print(dynasor.run(SelfConsistency("What is 12 * 12?")).answer)

    May be used from several threads at once.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        """Check the settings as `Dynasor` does; raises `UserError`."""
        self._dynasor = Dynasor(*args, **options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="dynasor", daemon=True)
        self._thread.start()
        try:
            self._do(self._dynasor.__aenter__())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._do(self._dynasor.__aexit__(kind, error, traceback))
        finally:
            self._stop()

    def run(self, program: Program, **options: Any) -> Result:
        """Run one program to its end; see `Dynasor.run`."""
        return self._do(self._dynasor.run(program, **options))

    def map(self, programs: Iterable[Program], **options: Any) -> Iterator[Result]:
        """Run many programs and yield their results as they end; see `Dynasor.map`."""
        results: SimpleQueue[Result | BaseException | None] = SimpleQueue()

        async def feed() -> None:
            try:
                async for result in self._dynasor.map(programs, **options):
                    results.put(result)
            except BaseException as exc:
                results.put(exc)
                raise
            results.put(None)

        feeding = self._start(feed())
        try:
            while (result := results.get()) is not None:
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            feeding.cancel()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        future = self._start(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if self._loop is None:
            work.close()
            raise ConfigError("SyncDynasor is not open; use `with SyncDynasor(...) as dynasor:`")
        if threading.current_thread() is self._thread:
            work.close()
            raise ConfigError(
                "SyncDynasor was called from its own event loop, as a generator given to `map` is; "
                "make a list of it first"
            )
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _stop(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is not None and thread is not None:
            asyncio.run_coroutine_threadsafe(_wind_up(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


async def _wind_up() -> None:
    """Let what other threads still wait for end, now that everything is closed."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        _, stuck = await asyncio.wait(others, timeout=WIND_UP_SECONDS)
        for task in stuck:
            task.cancel()
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()
