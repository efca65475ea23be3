"""The virtual host: drives a scheduler through a heap of future events and modelled engines.

Planned events are `(time, priority, sequence, event)`, so their order is total and never compares
events: at one instant engines finish first, then timers fire, then programs arrive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from math import inf
from typing import Protocol

from dynasor.core.commands import Abort, Answered, Closed, Command, Compare, Moved, SetTimer, Submit
from dynasor.core.events import Event, Grouped, PoolChanged, Progressed, TimerFired
from dynasor.core.types import Call, Replica
from dynasor.sim.engine import Attempt, Engine, Outcome

__all__ = ["Handler", "VirtualHost"]

ENGINE, TIMER, ARRIVAL = range(3)

Model = Callable[[Call, int], Outcome]
Comparer = Callable[[str, tuple[str, ...], tuple[str, ...]], tuple[int, ...]]
Watcher = Callable[[Event, list[Command], float], None]


class Handler(Protocol):
    """What is driven: a `Scheduler`, or what stands around one."""

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event; return what to do."""


class VirtualHost:
    """Runs a scheduler in virtual time, seconds from 0.

    `model(call, attempt)` says what an attempt comes to; `compare(task, new, representatives)`
    groups answers at once, with the meaning of `Grouped.classes`. `watch` sees every event with
    its commands. `answers`, `bills` and `answered_at` are keyed by program, and are kept unless
    there is somebody who watches: a long run must not fill the memory. `log` keeps every event
    with its commands if asked for.
    """

    def __init__(
        self,
        scheduler: Handler,
        model: Model,
        compare: Comparer,
        *,
        has_log: bool = False,
        watch: Watcher | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.now = 0.0
        self.answers: dict[str, Answered] = {}
        self.bills: dict[str, Closed] = {}
        self.answered_at: dict[str, float] = {}
        self.log: list[tuple[float, Event, list[Command]]] | None = [] if has_log else None
        self._watch = watch
        self._model = model
        self._compare = compare
        self._engines: dict[tuple[str, str], Engine] = {}
        self._homes: dict[str, Engine] = {}
        self._heap: list[tuple[float, int, int, Event]] = []
        self._touched: dict[int, Engine] = {}
        self._feeds: dict[int, Iterator[tuple[float, Event]]] = {}
        self._sequence = 0

    def add_pool(self, pool: str, engines: dict[str, Engine]) -> None:
        """Open a pool of modelled engines, by replica name."""
        self._engines.update(((pool, name), engine) for name, engine in engines.items())
        replicas = tuple(Replica(name, engine.slots) for name, engine in engines.items())
        self.send(PoolChanged(pool, replicas))

    def at(self, time: float, event: Event) -> None:
        """Plan an event, an arrival mostly."""
        self._push(time, ARRIVAL, event)

    def feed(self, arrivals: Iterator[tuple[float, Event]]) -> None:
        """Plan events that come in order of time, each when the one before it has come."""
        for time, event in arrivals:
            self.at(time, event)
            self._feeds[self._sequence] = arrivals
            break

    def send(self, event: Event) -> None:
        """Give the scheduler an event now and carry out what it says."""
        commands = self.scheduler.handle(event, self.now)
        if self.log is not None:
            self.log.append((self.now, event, commands))
        for command in commands:
            self._perform(command)
        if self._watch is not None:
            self._watch(event, commands, self.now)

    def run(self, until: float | None = None) -> None:
        """Go on until nothing is planned any more, or until a time, which it is then."""
        last = inf if until is None else until
        self._settle()
        engines = list(self._engines.values())
        heap = self._heap
        while True:
            first = min(engines, key=_wake, default=None)
            wake = inf if first is None else first.wake
            if heap and (heap[0][0], heap[0][1]) <= (wake, ENGINE):
                if heap[0][0] > last:
                    break
                self.now, _, sequence, event = heappop(heap)
                if sequence in self._feeds:
                    self.feed(self._feeds.pop(sequence))
                self.send(event)
            elif first is not None and wake < inf and wake <= last:
                self.now = wake
                self._collect(first)
            else:
                break
            self._settle()
        if until is not None:
            self.now = max(self.now, until)

    def _collect(self, engine: Engine) -> None:
        """Tell the scheduler what has happened in an engine by now."""
        while (ending := engine.take(self.now)) is not None:
            if not isinstance(ending, Progressed):
                del self._homes[ending.call]
            self.send(ending)
        self._touched[id(engine)] = engine

    def _settle(self) -> None:
        """Let the engines go on that were given something, or between two steps."""
        for engine in self._touched.values():
            engine.go_on(self.now)
        self._touched.clear()

    def _push(self, time: float, priority: int, event: Event) -> None:
        self._sequence += 1
        heappush(self._heap, (time, priority, self._sequence, event))

    def _perform(self, command: Command) -> None:
        match command:
            case Submit():
                self._submit(command)
            case Abort():
                self._abort(command)
            case Compare():
                classes = self._compare(command.task, command.new, command.representatives)
                self._push(self.now, ENGINE, Grouped(command.program, command.serial, classes))
            case SetTimer():
                self._push(command.at, TIMER, TimerFired(command.name))
            case Answered() | Closed():
                self._note(command)
            case Moved():
                pass

    def _note(self, command: Answered | Closed) -> None:
        is_kept = self._watch is None
        if isinstance(command, Closed):
            for engine in self._engines.values():
                engine.retire(command.program)
            if is_kept:
                self.bills[command.program] = command
        elif is_kept:
            self.answers[command.program] = command
            self.answered_at[command.program] = self.now

    def _submit(self, command: Submit) -> None:
        call = command.call
        outcome = self._model(call, command.attempt)
        engine = self._engines[call.pool, command.replica]
        refused = engine.add(Attempt(command, outcome), self.now)
        if refused is not None:
            self._push(self.now, ENGINE, refused)
            return
        self._homes[call.id] = engine
        self._touched[id(engine)] = engine

    def _abort(self, command: Abort) -> None:
        engine = self._homes.get(command.call)
        if engine is None:
            return  # refused at this instant: its end is on its way
        ended = engine.abort(command.call, self.now)
        if ended is not None:
            del self._homes[command.call]
            self._push(self.now, ENGINE, ended)
        self._touched[id(engine)] = engine


def _wake(engine: Engine) -> float:
    return engine.wake
