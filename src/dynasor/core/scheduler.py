"""The scheduler: one synchronous object, driven by events, answering with commands.

It does not know whether time is real. It holds all mutable scheduling state, reads no clock, and
an event that breaks the protocol raises `IllegalTransition` and changes nothing. Events about
calls that have ended, and timers nobody waits for any more, are ignored and counted in `ignored`.

    Arrived      a program starts; its first calls wait for slots
    Finished     a call's slot is free; its strand goes on
    Failed       the same, but another attempt is made, or the strand gets `CallFailed`
    Cancelled    an aborted call's slot is free
    Progressed   an open call's strand gets a report
    Grouped      the strands of an outstanding comparison go on
    TimerFired   a deadline has come, a retry is due, a replica may be tried again
    Withdrew     a program ends without an answer
    PoolChanged  replicas come and go
    Observed     an engine says how it is: its window follows, or it is left alone
    Configured   the configuration changes
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from dynasor.core.allocation import PolicyShelf
from dynasor.core.audit import audit
from dynasor.core.calls import OUTPUT_OF, CallState, flaw_of
from dynasor.core.catalog import Catalog
from dynasor.core.commands import Answered, Closed, Command, Compare, Moved
from dynasor.core.config import SchedulerConfig
from dynasor.core.dispatcher import Dispatcher
from dynasor.core.errors import (
    CallFailed,
    ConfigError,
    DynasorError,
    EngineGarbage,
    IllegalTransition,
    ProgramFailed,
    UserError,
    Withdrawn,
    kind_of,
)
from dynasor.core.events import (
    Arrived,
    Cancelled,
    Configured,
    Event,
    Failed,
    Finished,
    Grouped,
    Observed,
    PoolChanged,
    Progressed,
    TimerFired,
    Withdrew,
)
from dynasor.core.forecast import Forecasts
from dynasor.core.ordering import Demand, make_ordering
from dynasor.core.outbox import Outbox
from dynasor.core.program import Report
from dynasor.core.queue import ProgramQueue
from dynasor.core.run import ProgramRun
from dynasor.core.types import Spending

__all__ = ["OUTPUT_OF", "Scheduler"]


class Scheduler:
    """Schedules programs: `handle` is the only way in, its commands the only way out."""

    def __init__(self, config: SchedulerConfig, catalog: Catalog) -> None:
        """Raise `UserError` for an ordering that is unknown or wrongly set."""
        self.config = config
        self.ignored = 0
        self._catalog = catalog
        self._policies = PolicyShelf(catalog.policies)
        self._ordering = make_ordering(config.ordering, catalog.orderings)
        self._outbox = Outbox()
        self._dispatcher = Dispatcher(config, self._outbox, self._make_queue)
        self.enqueue = self._dispatcher.enqueue
        self.drop = self._dispatcher.drop
        self.promote = self._dispatcher.promote
        self.crowd = self._dispatcher.crowd
        self.rounds = self._dispatcher.rounds
        self._runs: dict[str, ProgramRun] = {}
        self._forecasts = Forecasts(self._dispatcher)
        self._arrivals = 0
        self._handlers: dict[type, Callable[[Any], None]] = {
            Arrived: self._arrived,
            Finished: self._finished,
            Failed: self._failed,
            Cancelled: self._cancelled,
            Progressed: self._progressed,
            Grouped: self._grouped,
            TimerFired: self._timer_fired,
            Withdrew: self._withdrew,
            PoolChanged: self._pool_changed,
            Observed: self._observed,
            Configured: self._configured,
        }

    def __repr__(self) -> str:
        waiting = {
            name: sum(len(queue) for queue in pool.queues())
            for name, pool in self._dispatcher.pools.items()
        }
        return f"<Scheduler {len(self._runs)} programs, calls waiting: {waiting}>"

    @property
    def seed(self) -> int:
        """The seed of all random numbers."""
        return self.config.seed

    @property
    def dispatcher(self) -> Dispatcher:
        """Where calls wait and run, for observers: to be read, not to be used."""
        return self._dispatcher

    @property
    def waiting(self) -> int:
        """Calls that wait for a slot, in all pools."""
        return sum(pool.waiting for pool in self._dispatcher.pools.values())

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event at time `now` (seconds, never decreasing); return what to do.

        Raises `IllegalTransition` where the host breaks the protocol; nothing has changed then.
        """
        outbox = self._outbox
        if not now >= outbox.now:
            raise IllegalTransition(f"time ran backwards: {now} after {outbox.now}")
        outbox.now, before = now, outbox.now
        outbox.cause += 1
        try:
            handler = self._handlers.get(type(event))
            if handler is None:
                raise IllegalTransition(f"{type(event).__name__} is no event")
            handler(event)
        except IllegalTransition:
            outbox.now = before
            outbox.cause -= 1
            raise
        self._dispatcher.fill()
        return outbox.take()

    def validate(self) -> None:
        """Raise `AssertionError` if any invariant of the state is broken; slow, for tests."""
        audit(self._runs, self._dispatcher)

    # Events.

    def _arrived(self, event: Arrived) -> None:
        if event.program in self._runs:
            raise IllegalTransition(f"program {event.program!r} is already here")
        self._arrivals += 1
        try:
            run = self._make_run(event)
        except (UserError, ProgramFailed) as exc:
            self._refuse(event, exc)
            return
        self._runs[event.program] = run
        if event.deadline_seconds is not None:
            run.deadline = self._outbox.now + event.deadline_seconds
            timer = _deadline_timer(event.program)
            self._outbox.set_timer(timer, run.deadline, lambda: run.end("deadline", "deadline"))
        self._forecasts.arrived(run)
        run.begin(self)

    def _finished(self, event: Finished) -> None:
        known = self._dispatcher.find(event.call, event.attempt)
        if known is None:
            self.ignored += 1
            return
        run, call = known
        expected = OUTPUT_OF[type(call.call.work)]
        if not isinstance(event.output, expected):
            raise IllegalTransition(
                f"call {event.call} asked for {expected.__name__}, "
                f"got {type(event.output).__name__}"
            )
        if flaw := flaw_of(call.call.work, event.output):
            story = f"call {event.call} on {call.replica}: {flaw}"
            name = EngineGarbage.__name__
            usage = event.output.usage
            self._failed(
                Failed(event.call, event.attempt, name, story, is_retryable=False, usage=usage)
            )
            return
        if self._dispatcher.end_attempt(run, call, event.output.usage):
            self._dispatcher.finish(call, event.output.usage)
            run.finished(call, event.output)
        if run.is_closed:
            self._close(run)

    def _failed(self, event: Failed) -> None:
        known = self._dispatcher.find(event.call, event.attempt)
        if known is None:
            self.ignored += 1
            return
        run, call = known
        if self._dispatcher.end_attempt(
            run, call, event.usage, has_failed=True
        ) and not self._dispatcher.retry(run, call, event):
            run.failed(call, CallFailed(event.call, event.attempt, event.kind, event.message))
        if run.is_closed:
            self._close(run)

    def _cancelled(self, event: Cancelled) -> None:
        known = self._dispatcher.find(event.call, event.attempt)
        if known is None:
            self.ignored += 1
            return
        run, call = known
        if self._dispatcher.end_attempt(run, call, event.usage, has_failed=True):
            # Nobody asked for it: the host shuts down, or the engine dropped the call.
            lost = Failed(
                event.call,
                event.attempt,
                "Cancelled",
                "the call was cancelled",
                is_retryable=True,
                usage=event.usage,
            )
            if not self._dispatcher.retry(run, call, lost):
                run.failed(call, CallFailed(event.call, event.attempt, lost.kind, lost.message))
        if run.is_closed:
            self._close(run)

    def _progressed(self, event: Progressed) -> None:
        known = self._dispatcher.find(event.call, event.attempt)
        if known is None or event.call not in known[0].live:
            self.ignored += 1
            return
        run, call = known
        if not call.is_open:
            raise IllegalTransition(f"call {event.call} is not open and has no reports")
        run.progressed(call, Report(event.delta, event.tokens))
        if run.is_closed:
            self._close(run)

    def _grouped(self, event: Grouped) -> None:
        run = self._runs.get(event.program)
        if run is None or not run.is_running or not run.grouping.is_outstanding:
            self.ignored += 1
            return
        if run.grouping.serial != event.serial:
            self.ignored += 1
            return
        run.grouping.check(event.classes)
        run.grouped(event.classes, event.failures)
        if run.is_closed:
            self._close(run)

    def _timer_fired(self, event: TimerFired) -> None:
        if not self._outbox.fire(event.name):
            self.ignored += 1

    def _withdrew(self, event: Withdrew) -> None:
        run = self._runs.get(event.program)
        if run is None or not run.is_running:
            self.ignored += 1
            return
        if event.takes_best:
            run.end("deadline", "hurried")
        else:
            run.end("withdrawn", "withdrawn", Withdrawn(f"program {event.program} was withdrawn"))
        if run.is_closed:
            self._close(run)

    def _pool_changed(self, event: PoolChanged) -> None:
        names = [replica.name for replica in event.replicas]
        if len(set(names)) < len(names):
            raise IllegalTransition(f"pool {event.pool!r}: two replicas have one name: {names}")
        if any(replica.slots < 1 for replica in event.replicas):
            raise IllegalTransition(f"pool {event.pool!r}: a replica needs at least one slot")
        self._dispatcher.change_pool(event)

    def _observed(self, event: Observed) -> None:
        if not self._dispatcher.observe(event):
            self.ignored += 1

    def _configured(self, event: Configured) -> None:
        try:
            ordering = make_ordering(event.config.ordering, self._catalog.orderings)
        except UserError as exc:
            raise IllegalTransition(str(exc)) from exc
        self._ordering = ordering
        self.config = event.config
        self._dispatcher.reorder(event.config)

    # What running programs ask of the scheduler: `core.run.Desk`.

    def compare(self, run: ProgramRun, new: tuple[str, ...]) -> None:
        """Put answers to the grouping workers."""
        grouping = run.grouping
        known = tuple(grouping.representatives)
        self._outbox.put(
            Compare(
                run.demand.program, grouping.serial, run.task.name, new, known, self._outbox.cause
            )
        )

    def moved(self, run: ProgramRun) -> None:
        """Learn from settled units and re-rank the program."""
        self._forecasts.settled(run)
        demand = run.demand
        self._outbox.put(
            Moved(
                demand.program,
                run.program.knob,
                run.units.granted,
                run.certaindex,
                run.votes(),
                demand.attained,
                self._outbox.cause,
            )
        )

    def ended(self, run: ProgramRun) -> None:
        """Announce a program's ending."""
        program = run.demand.program
        if run.deadline < inf:
            self._outbox.forget_timer(_deadline_timer(program))
        self._forecasts.ended(run)
        error = run.error
        self._outbox.put(
            Answered(
                program=program,
                status=run.status,
                reason=run.reason,
                answer=run.answer,
                error_kind="" if error is None else kind_of(error),
                error="" if error is None else str(error),
                knob=run.program.knob,
                cap=run.program.cap,
                certaindex=run.certaindex,
                votes=run.votes(),
                cause=self._outbox.cause,
                notes=run.program.notes,
                shadow=run.shadowed,
            )
        )
        if run.is_closed:
            self._close(run)

    def _close(self, run: ProgramRun) -> None:
        program = run.demand.program
        if self._runs.pop(program, None) is None:
            return
        self._dispatcher.forget(program)
        run.close()
        self._outbox.put(
            Closed(
                program=program,
                spending=run.bill.spending(),
                calls=run.operations.count,
                aborted_calls=run.aborted_calls,
                failed_attempts=run.failed_attempts,
                grouping_failures=run.grouping.failures,
                cause=self._outbox.cause,
            )
        )

    def _refuse(self, event: Arrived, error: DynasorError) -> None:
        cause = self._outbox.cause
        kind = type(error).__name__
        self._outbox.put(
            Answered(
                event.program, "failed", "refused", None, kind, str(error), 0, 0, {}, {}, cause
            )
        )
        self._outbox.put(Closed(event.program, Spending(), 0, 0, 0, 0, cause))

    def _make_run(self, event: Arrived) -> ProgramRun:
        seconds = event.deadline_seconds
        if seconds is not None and not seconds > 0:
            raise ConfigError(f"deadline_seconds is {seconds}; it must be positive")
        program = self._catalog.build_program(event.spec)
        policy = self._policies.get(event.policy)
        demand = Demand(
            program=event.program,
            number=self._arrivals,
            workload=event.workload,
            tenant=event.tenant,
            arrived=self._outbox.now,
            knob_left=program.cap,
            tokens_per_knob=self.config.tokens_per_knob,
        )
        run = ProgramRun(program, policy, self._catalog.tasks[program.task], demand)
        run.operations.affinity = event.affinity or event.program
        return run

    def _make_queue(self) -> ProgramQueue[CallState]:
        spec = self.config.ordering
        return ProgramQueue(self._ordering, spec.aging_factor, spec.patience_seconds)


def _deadline_timer(program: str) -> str:
    return f"deadline:{program}"
