"""The virtual host: drives a scheduler through a heap of future events.

Entries are `(time, priority, sequence, ...)`, so their order is total and never compares events:
at one instant engines finish first, then timers fire, then programs arrive.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from dynasor.core.commands import Abort, Answered, Closed, Command, Compare, Moved, SetTimer, Submit
from dynasor.core.events import (
    Cancelled,
    Event,
    Failed,
    Finished,
    Grouped,
    PoolChanged,
    Progressed,
    TimerFired,
)
from dynasor.core.scheduler import Scheduler
from dynasor.core.types import Call, Generate, Generated, Replica, Usage
from dynasor.sim.engine import Attempt, Outcome, SimpleEngine

__all__ = ["VirtualHost"]

ENGINE, TIMER, ARRIVAL = range(3)

Model = Callable[[Call, int], Outcome]
Comparer = Callable[[str, tuple[str, ...], tuple[str, ...]], tuple[int, ...]]


class VirtualHost:
    """Runs a scheduler in virtual time, seconds from 0.

    `model(call, attempt)` says what an attempt comes to; `compare(task, new, representatives)`
    groups answers at once, with the meaning of `Grouped.classes`. `answers`, `bills` and
    `answered_at` are keyed by program; `log` keeps every event with its commands if asked for.
    """

    def __init__(
        self, scheduler: Scheduler, model: Model, compare: Comparer, *, has_log: bool = False
    ) -> None:
        self.scheduler = scheduler
        self.now = 0.0
        self.answers: dict[str, Answered] = {}
        self.bills: dict[str, Closed] = {}
        self.answered_at: dict[str, float] = {}
        self.log: list[tuple[float, Event, list[Command]]] | None = [] if has_log else None
        self._model = model
        self._compare = compare
        self._engines: dict[tuple[str, str], SimpleEngine] = {}
        self._homes: dict[str, SimpleEngine] = {}
        self._heap: list[tuple[float, int, int, Event | Attempt]] = []
        self._sequence = 0

    def add_pool(self, pool: str, engines: dict[str, SimpleEngine]) -> None:
        """Open a pool of modelled engines, by replica name."""
        self._engines.update(((pool, name), engine) for name, engine in engines.items())
        replicas = tuple(Replica(name, engine.slots) for name, engine in engines.items())
        self.send(PoolChanged(pool, replicas))

    def at(self, time: float, event: Event) -> None:
        """Plan an event, an arrival mostly."""
        self._push(time, ARRIVAL, event)

    def send(self, event: Event) -> None:
        """Give the scheduler an event now and carry out what it says."""
        commands = self.scheduler.handle(event, self.now)
        if self.log is not None:
            self.log.append((self.now, event, commands))
        for command in commands:
            self._perform(command)
        for engine in self._engines.values():
            for attempt, end in engine.start(self.now):
                self._plan(attempt, end)

    def run(self, until: float | None = None) -> None:
        """Go on until nothing is planned any more, or until a time, which it is then."""
        while self._heap and (until is None or self._heap[0][0] <= until):
            self.now, _, _, what = heappop(self._heap)
            if isinstance(what, Attempt):
                self._end(what)
            else:
                self.send(what)
        if until is not None:
            self.now = max(self.now, until)

    def _push(self, time: float, priority: int, what: Event | Attempt) -> None:
        self._sequence += 1
        heappush(self._heap, (time, priority, self._sequence, what))

    def _perform(self, command: Command) -> None:
        match command:
            case Submit():
                outcome = self._model(command.call, command.attempt)
                engine = self._engine_of(command)
                self._homes[command.call.id] = engine
                engine.add(Attempt(command, outcome))
            case Abort():
                usage = self._homes[command.call].abort(command.call, self.now)
                if usage is not None:
                    self._push(self.now, ENGINE, Cancelled(command.call, command.attempt, usage))
            case Compare():
                classes = self._compare(command.task, command.new, command.representatives)
                self._push(self.now, ENGINE, Grouped(command.program, command.serial, classes))
            case SetTimer():
                self._push(command.at, TIMER, TimerFired(command.name))
            case Answered():
                self.answers[command.program] = command
                self.answered_at[command.program] = self.now
            case Closed():
                self.bills[command.program] = command
            case Moved():
                pass

    def _engine_of(self, submit: Submit) -> SimpleEngine:
        return self._engines[submit.call.pool, submit.replica]

    def _plan(self, attempt: Attempt, end: float) -> None:
        work, output = attempt.submit.call.work, attempt.outcome.output
        if isinstance(work, Generate) and work.report_every and isinstance(output, Generated):
            self._plan_reports(attempt, work.report_every, output.text)
        self._push(end, ENGINE, attempt)

    def _plan_reports(self, attempt: Attempt, every: int, text: str) -> None:
        """Spread the text evenly over its tokens, a report every so many of them."""
        started, tokens = attempt.started or 0.0, attempt.outcome.tokens
        rate = self._engine_of(attempt.submit).tokens_per_second
        for done in range(every, tokens + 1, every):
            delta = text[len(text) * (done - every) // tokens : len(text) * done // tokens]
            event = Progressed(attempt.submit.call.id, attempt.submit.attempt, delta, every)
            self._push(started + done / rate, ENGINE, event)

    def _end(self, attempt: Attempt) -> None:
        call, number, outcome = attempt.submit.call.id, attempt.submit.attempt, attempt.outcome
        engine = self._engine_of(attempt.submit)
        if engine.running.get(call) is not attempt:
            return  # aborted meanwhile
        engine.end(call)
        if outcome.output is not None:
            self.send(Finished(call, number, outcome.output))
        else:
            usage = Usage(0, outcome.tokens)
            self.send(
                Failed(call, number, outcome.error_kind, outcome.error, outcome.is_retryable, usage)
            )
