"""The driver: turns the scheduler's commands into work and the work's ends into events.

Single-threaded, on one asyncio event loop. Every `Submit` becomes a task that ends in exactly one
event; nothing here decides anything: which call runs, whether it is tried again and when a
program ends are the scheduler's business.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

import msgspec

from dynasor.core.calls import flaw_of
from dynasor.core.commands import Abort, Answered, Closed, Command, Compare, Moved, SetTimer, Submit
from dynasor.core.errors import (
    ConfigError,
    EngineError,
    EngineGarbage,
    EngineRefused,
    EngineTimeout,
    EngineUnreachable,
    Withdrawn,
    kind_of,
)
from dynasor.core.events import (
    Cancelled,
    Event,
    Failed,
    Finished,
    Grouped,
    Progressed,
    TimerFired,
)
from dynasor.core.scheduler import OUTPUT_OF, Scheduler
from dynasor.core.types import Embed, Generate, Hints, Output, Relay, Score, Work
from dynasor.engines.protocol import Engine, Meter, Relays, Releases, Sink
from dynasor.runtime.clock import Clock
from dynasor.workers.comparer import Comparer

__all__ = ["Driver", "Happening", "Recorder", "Watcher"]

Happening = Moved | Answered | Closed
Watcher = Callable[[Happening], None]
Reported = Finished | Failed | Cancelled | Progressed

CALL_SECONDS = 900.0
"""The longest one attempt may take, however steadily its tokens drip."""
ABORT_SECONDS = 5.0
"""The longest an aborted attempt may hold its slot if its engine does not react."""


class Recorder(Protocol):
    """Keeps a journal."""

    def record(self, now: float, event: Event, commands: list[Command]) -> None:
        """Write one event down."""


class Driver:
    """Runs one scheduler against engines by replica name.

    `watch(program, watcher)` before its arrival: the watcher hears `Moved`, then one `Answered`,
    then one `Closed`. A watcher must not raise. `late` counts the events of attempts that had been
    given up because their engine did not react to being cancelled, `failed_releases` the programs
    whose end an engine could not be told.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        engines: Mapping[str, Engine],
        comparer: Comparer,
        clock: Clock,
    ) -> None:
        self.scheduler = scheduler
        self.late = 0
        self.failed_releases = 0
        self._engines = engines
        self._comparer = comparer
        self._clock = clock
        self._relays = {name: one for name, one in engines.items() if isinstance(one, Relays)}
        self._releasing = [one for one in engines.values() if isinstance(one, Releases)]
        self._recorders: list[Recorder] = []
        self._watchers: dict[str, Watcher] = {}
        self._sinks: dict[str, Sink] = {}
        self._attempts: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._events: deque[Event] = deque()
        self._is_handling = False
        self._is_closed = False
        self._perform: dict[type, Callable[[Command], None]] = {
            Submit: self._submit,  # type: ignore[dict-item]
            Abort: self._abort,  # type: ignore[dict-item]
            Compare: self._compare,  # type: ignore[dict-item]
            SetTimer: self._set_timer,  # type: ignore[dict-item]
            Moved: self._tell,  # type: ignore[dict-item]
            Answered: self._tell,  # type: ignore[dict-item]
            Closed: self._tell,  # type: ignore[dict-item]
        }

    @property
    def clock(self) -> Clock:
        """The clock that events are given times by."""
        return self._clock

    def record_in(self, recorder: Recorder) -> None:
        """Have every event from now on written down; each recorder gets all of them."""
        self._recorders.append(recorder)

    def watch(self, program: str, watcher: Watcher) -> None:
        """Tell `watcher` what happens to a program, until it is closed.

        Raises `ConfigError` for a program that is watched already: it has not ended.
        """
        if program in self._watchers:
            raise ConfigError(f"program id {program!r} is in use; give each program its own")
        self._watchers[program] = watcher

    def pour(self, program: str, sink: Sink) -> None:
        """Hand what engines answer to a program's relayed requests to `sink`, until it is closed.

        Call it before the event loop goes on after the program's arrival.
        """
        self._sinks[program] = sink

    def send(self, event: Event) -> None:
        """Give the scheduler an event and carry out its commands.

        An event that comes up while another is being handled waits for its turn; one that comes
        after `close` changes nothing any more.
        """
        if self._is_closed:
            return
        self._events.append(event)
        if self._is_handling:
            return
        self._is_handling = True
        try:
            while self._events:
                self._handle(self._events.popleft())
        finally:
            self._is_handling = False

    async def close(self) -> None:
        """Cancel whatever still runs and wait for it; programs that were open stay unanswered."""
        self._is_closed = True  # what is cancelled now must not be tried again
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._watchers.clear()
        self._sinks.clear()
        tasks = [*self._attempts.values(), *self._background]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=ABORT_SECONDS)

    def _handle(self, event: Event) -> None:
        now = self._clock.now()
        commands = self.scheduler.handle(event, now)
        for recorder in self._recorders:
            recorder.record(now, event, commands)
        for command in commands:
            self._perform[type(command)](command)

    # Commands.

    def _submit(self, command: Submit) -> None:
        task = asyncio.get_running_loop().create_task(self._attempt(command))
        key = (command.call.id, command.attempt)
        self._attempts[key] = task

        def ended(done: asyncio.Task[None]) -> None:
            if done.cancelled():  # aborted before its first step: it could not say so itself
                self._hear(done, Cancelled(*key))
            if self._attempts.get(key) is done:
                del self._attempts[key]

        task.add_done_callback(ended)

    def _abort(self, command: Abort) -> None:
        key = (command.call, command.attempt)
        task = self._attempts.get(key)
        if task is None:
            return  # its last event is on its way
        task.cancel()
        loop = asyncio.get_running_loop()
        watchdog = loop.call_later(ABORT_SECONDS, self._give_up, key, task)
        task.add_done_callback(lambda _: watchdog.cancel())

    def _give_up(self, key: tuple[str, int], task: asyncio.Task[None]) -> None:
        """Take an aborted attempt's slot back from an engine that does not react."""
        if self._attempts.get(key) is not task:
            return
        del self._attempts[key]
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        self.send(Cancelled(*key))

    def _hear(self, task: asyncio.Task[None] | None, event: Reported) -> None:
        """Pass on an attempt's event, unless it was given up: its name may be another's by now."""
        if self._attempts.get((event.call, event.attempt)) is task:
            self.send(event)
        else:
            self.late += 1

    def _compare(self, command: Compare) -> None:
        self._in_background(self._group(command))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _set_timer(self, command: SetTimer) -> None:
        delay = max(0.0, command.at - self._clock.now())
        old = self._timers.pop(command.name, None)
        if old is not None:
            old.cancel()
        loop = asyncio.get_running_loop()
        self._timers[command.name] = loop.call_later(delay, self._fire, command.name)

    def _tell(self, command: Happening) -> None:
        watcher = self._watchers.get(command.program)
        if isinstance(command, Closed):
            self._watchers.pop(command.program, None)
            self._sinks.pop(command.program, None)
            timer = self._timers.pop(f"deadline:{command.program}", None)
            if timer is not None:
                timer.cancel()
            for engine in self._releasing:
                if engine.holds(command.program):
                    self._in_background(self._release(engine, command.program))
        if watcher is not None:
            watcher(command)

    def _fire(self, name: str) -> None:
        self._timers.pop(name, None)
        self.send(TimerFired(name))

    # Work.

    async def _attempt(self, command: Submit) -> None:
        """Run one attempt to its one event."""
        call, attempt = command.call.id, command.attempt
        meter = Meter()
        event: Reported
        try:
            event = _ended(command, await self._work(command, meter))
        except asyncio.CancelledError:
            event = self._broken_off(command, meter)
        except EngineError as exc:
            event = Failed(
                call, attempt, type(exc).__name__, str(exc), exc.is_retryable, meter.usage()
            )
        except Exception as exc:  # noqa: BLE001 - whatever an adapter raises ends this attempt only
            address = self._engines[command.replica].address
            story = f"engine {address}: its adapter raised {type(exc).__name__}: {exc}"
            kind, is_retryable = type(exc).__name__, False
            event = Failed(call, attempt, kind, story, is_retryable, meter.usage())
        self._hear(asyncio.current_task(), event)

    async def _work(self, command: Submit, meter: Meter) -> Output:
        engine = self._engines[command.replica]
        limit = asyncio.timeout(CALL_SECONDS)
        try:
            async with limit:
                output = await self._ask(engine, command, meter)
        except TimeoutError as exc:
            if not limit.expired():
                raise
            raise EngineTimeout(
                engine.address, f"one call took more than {CALL_SECONDS:.0f} s"
            ) from exc
        expected = OUTPUT_OF[type(command.call.work)]
        if not isinstance(output, expected):
            raise TypeError(f"expected {expected.__name__}, got {type(output).__name__}")
        return output

    async def _ask(self, engine: Engine, command: Submit, meter: Meter) -> Output:
        work: Work = command.call.work
        if isinstance(work, Score):
            return await engine.score(work, meter)
        if isinstance(work, Embed):
            return await engine.embed(work, meter)
        if isinstance(work, Relay):
            return await self._relay(engine, command, work, meter)

        task = asyncio.current_task()

        def report(delta: str, tokens: int) -> None:
            self._hear(task, Progressed(command.call.id, command.attempt, delta, tokens))

        seeded = _seeded(work, command.call.seed, command.hints)
        return await engine.generate(seeded, meter, report if work.report_every else None)

    async def _relay(self, engine: Engine, command: Submit, work: Relay, meter: Meter) -> Output:
        """Pass a client's request on; what the client has begun to read is not asked again."""
        relays = self._relays.get(command.replica)
        if relays is None:
            raise EngineRefused(engine.address, "cannot pass a client's request on")
        sink = self._sinks.get(command.call.program)
        if sink is None:
            raise Withdrawn(f"nobody reads the answer to call {command.call.id}")
        if command.hints is not None:
            work = msgspec.structs.replace(work, hints=command.hints)
        try:
            output = await relays.relay(work, meter, sink)
        except EngineError as exc:
            exc.is_retryable = exc.is_retryable and not sink.has_begun
            raise
        await sink.finish()
        return output

    def _broken_off(self, command: Submit, meter: Meter) -> Reported:
        """Return the end of an attempt that was cancelled.

        One whose answer a client has begun to read cannot be made again, whoever cancelled it.
        """
        call, attempt, usage = command.call.id, command.attempt, meter.usage()
        sink = self._sinks.get(command.call.program)
        if sink is None or not sink.has_begun:
            return Cancelled(call, attempt, usage)
        error = EngineUnreachable(self._engines[command.replica].address, "was given up midway")
        return Failed(call, attempt, kind_of(error), str(error), is_retryable=False, usage=usage)

    async def _release(self, engine: Releases, program: str) -> None:
        """Tell an engine that a program has ended: a favour, so that its failure is only told."""
        try:
            await engine.release(program)
        except EngineError as exc:
            self.failed_releases += 1
            if self.failed_releases == 1:
                logging.getLogger("dynasor").warning(
                    "warning: the end of a program could not be told, its cache stays for now: %s "
                    "(further failures are counted)",
                    exc,
                )

    async def _group(self, command: Compare) -> None:
        try:
            classes, failures = await self._comparer.compare(
                command.task, command.representatives, command.new
            )
        except Exception:  # noqa: BLE001 - without workers answers stay apart; the count says so
            base = len(command.representatives)
            classes = tuple(base + place for place in range(len(command.new)))
            failures = len(command.new)
        self.send(Grouped(command.program, command.serial, classes, failures))


def _ended(command: Submit, output: Output) -> Finished | Failed:
    """Return an attempt's end: a journal cannot hold what `flaw_of` finds, a NaN for instance."""
    call, attempt = command.call.id, command.attempt
    flaw = flaw_of(command.call.work, output)
    if not flaw:
        return Finished(call, attempt, output)
    story = f"engine {command.replica}: {flaw}"
    return Failed(
        call, attempt, EngineGarbage.__name__, story, is_retryable=False, usage=output.usage
    )


def _seeded(work: Generate, seed: int, hints: Hints | None) -> Generate:
    sampling = work.sampling
    if sampling.seed is None:
        sampling = msgspec.structs.replace(sampling, seed=seed)
    elif hints is None:
        return work
    return msgspec.structs.replace(work, sampling=sampling, hints=hints)
