"""One worker process: started at the first need, killed when stuck, replaced when dead."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future

from pebble import ProcessExpired, ProcessPool

from dynasor.core.errors import DynasorError
from dynasor.workers.bench import Registry, judge, set_up
from dynasor.workers.spawning import SpawnWithoutMain
from dynasor.workers.verdicts import STARTED, Pair, Verdict

__all__ = ["Worker"]

# Loading computer algebra takes a second, on a crowded machine ten.
START_SECONDS = 60.0
# The process keeps its own time; the parent steps in only where that did not work.
GRACE_SECONDS = 2.0
# A trip's request must fit a pipe (64 KiB, four bytes a character), or sending it could block
# for ever against a process that has died.
MOST_PAIRS = 200
MOST_CHARACTERS = 12_000


class Worker:
    """A process that decides pairs, one trip at a time: the caller must not overlap them."""

    def __init__(self, registry: Registry, seconds_limit: float) -> None:
        self._registry = registry
        self._seconds_limit = seconds_limit
        self._process: _Process | None = None
        self._trip: Future[list[Verdict]] | None = None
        self._retiring: set[asyncio.Future[None]] = set()
        self._is_closed = False

    async def judge(self, task: str, pairs: Sequence[Pair]) -> list[Verdict]:
        """Decide pairs in order until two are the same; return the verdicts on those decided.

        A comparison that exceeds its limit or ends the process is `FAILED`, the next one goes
        to a new process. Fewer verdicts come back where no process could be started twice in a
        row. Raises `DynasorError` once closed. Cancelling ends the process.
        """
        verdicts: list[Verdict] = []
        breakages = 0
        while breakages < 2 and not _is_complete(verdicts, pairs):
            decided = await self._travel(task, _trip(pairs[len(verdicts) :]))
            breakages = 0 if decided else breakages + 1
            verdicts += decided
        return verdicts

    async def close(self) -> None:
        """End the process, if there is one, and the trip that waits for it."""
        self._is_closed = True
        self._retire()
        if self._retiring:
            await asyncio.wait(self._retiring)
        # The pool drops a trip under way without a word; its threads are gone now.
        if self._trip is not None and not self._trip.done():
            self._trip.set_exception(_closed())

    async def _travel(self, task: str, pairs: Sequence[Pair]) -> list[Verdict]:
        """Make one trip; no verdict at all means that no process could be set to work."""
        process = self._process = self._process or self._new_process()
        try:
            self._trip = await process.submit(task, pairs)
            error = None if self._is_closed else await self._outcome(self._trip, process)
        except asyncio.CancelledError:
            self._retire()
            raise
        if self._is_closed:
            raise _closed()
        process.listen()
        verdicts = process.verdicts
        if error is not None:
            if process.is_at_work and not _is_complete(verdicts, pairs):
                verdicts.append(Verdict.FAILED)
            if not isinstance(error, ProcessExpired):  # after that one the pool goes on
                self._retire()
        return verdicts

    async def _outcome(
        self, trip: Future[list[Verdict]], process: _Process
    ) -> BaseException | None:
        """Wait for a trip's end and return what went wrong; a process gone silent is wrong too."""
        waiting = asyncio.wrap_future(trip)
        # Whoever is cancelled here does not ask how the trip ended; asyncio would complain of it.
        waiting.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        patience = self._seconds_limit + GRACE_SECONDS
        silent = 0.0
        while silent < START_SECONDS:
            await asyncio.wait({waiting}, timeout=patience)
            if waiting.done():
                return waiting.exception()
            if self._is_closed:
                break
            has_news = process.listen()
            if process.is_at_work and not has_news:
                break
            silent = 0.0 if has_news else silent + patience
        return DynasorError("the worker process has gone silent")

    def _new_process(self) -> _Process:
        if self._is_closed:
            raise _closed()
        return _Process(self._registry, self._seconds_limit)

    def _retire(self) -> None:
        """Let go of the process; it is ended in the background."""
        if self._process is not None:
            retiring = asyncio.ensure_future(asyncio.to_thread(self._process.stop))
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)
            self._process = None


class _Process:
    """A pool of one process and the pipe that it reports to.

    Of the trip under way, `verdicts` are those reported, and `is_at_work` tells that it has begun.
    The process is spawned, not forked: the parent has an event loop and threads.
    """

    def __init__(self, registry: Registry, seconds_limit: float) -> None:
        context = SpawnWithoutMain()
        self._inbox, self._outbox = context.Pipe(duplex=False)
        self._pool = ProcessPool(
            max_workers=1,
            initializer=set_up,
            initargs=(registry, self._outbox, seconds_limit),
            context=context,
        )
        self.verdicts: list[Verdict] = []
        self.is_at_work = False
        self._is_started = False

    async def submit(self, task: str, pairs: Sequence[Pair]) -> Future[list[Verdict]]:
        """Send a trip; the first one starts the process, off the event loop."""
        self.listen()
        self.verdicts, self.is_at_work = [], False
        if not self._is_started:
            self._is_started = True
            return await asyncio.to_thread(self._schedule, task, pairs)
        return self._schedule(task, pairs)

    def listen(self) -> bool:
        """Take in what the process has reported, and say whether there was anything."""
        has_news = False
        while self._inbox.poll():
            has_news = True
            report = self._inbox.recv_bytes()
            if report == STARTED:
                self.is_at_work = True
            else:
                self.verdicts.append(Verdict(report))
        return has_news

    def stop(self) -> None:
        """End the process and the pool's threads; blocks for a fraction of a second."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()
        self._inbox.close()
        self._outbox.close()

    def _schedule(self, task: str, pairs: Sequence[Pair]) -> Future[list[Verdict]]:
        try:
            return self._pool.schedule(judge, args=(task, pairs))
        except RuntimeError as error:  # the pool has noticed that its idle process died
            broken: Future[list[Verdict]] = Future()
            broken.set_exception(error)
            return broken


def _trip(pairs: Sequence[Pair]) -> Sequence[Pair]:
    """Return as many of the first pairs as one trip takes, at least one."""
    characters = 0
    for count, (answer, reference) in enumerate(pairs[:MOST_PAIRS]):
        characters += len(answer) + len(reference)
        if count and characters > MOST_CHARACTERS:
            return pairs[:count]
    return pairs[:MOST_PAIRS]


def _is_complete(verdicts: Sequence[Verdict], pairs: Sequence[Pair]) -> bool:
    return len(verdicts) >= len(pairs) or Verdict.SAME in verdicts[-1:]


def _closed() -> DynasorError:
    return DynasorError("the workers are closed: compare and grade before you close them")
