"""The calls of all programs: waiting, sent, tried again, aborted.

This file must not know what a program does with an answer; it hands outcomes back to the
scheduler, which hands them to the program.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from msgspec.structs import replace

from dynasor.core.admission import Pool
from dynasor.core.calls import ABORTING, BACKING_OFF, ENDED, RUNNING, WAITING, CallState
from dynasor.core.commands import Abort, Submit
from dynasor.core.config import SchedulerConfig
from dynasor.core.errors import UnknownName
from dynasor.core.estimates import RateEstimate
from dynasor.core.events import Failed, Observed, PoolChanged
from dynasor.core.ordering import Demand
from dynasor.core.outbox import Outbox
from dynasor.core.queue import ProgramQueue
from dynasor.core.replica import ReplicaState
from dynasor.core.run import ProgramRun
from dynasor.core.shares import Shares
from dynasor.core.types import Hints, Usage

__all__ = ["Dispatcher"]

PRIMARY_POOL = "generate"
"""The pool whose speed estimates how long a program takes."""
ILLS_TO_RECALL = 2
"""Observations in a row of an ill replica after which its calls are attempted elsewhere."""
MAX_PAUSE_SECONDS = 30.0
"""A replica that cannot be reached is tried again at least this often."""
MAX_BUSY_SECONDS = 4.0
"""One that says that it is busy, at least this often: it is there, and what it runs ends."""
SPECULATIVE_RANK = 2**30
"""Added to the ranks of speculative calls in hints: engines know priorities of 32 bits."""


class Dispatcher:
    """Owns the pools and every call that has not ended."""

    def __init__(
        self,
        config: SchedulerConfig,
        outbox: Outbox,
        make_queue: Callable[[], ProgramQueue[CallState]],
    ) -> None:
        self.config = config
        self.pools: dict[str, Pool] = {}
        self.rates: dict[str, RateEstimate] = {}
        self.calls: dict[str, tuple[ProgramRun, CallState]] = {}
        self._outbox = outbox
        self._make_queue = make_queue

    def change_pool(self, event: PoolChanged) -> None:
        """Let a pool consist of these replicas from now on."""
        pool = self.pools.get(event.pool)
        if pool is None:
            pool = Pool(event.pool, self._make_queue, self._make_shares())
            self.pools[event.pool] = pool
            self.rates[event.pool] = RateEstimate(self.config.seconds_per_token)
        pool.change(event.replicas, self.config.window_slack)

    def reorder(self, config: SchedulerConfig) -> None:
        """Put all waiting calls into queues of the present ordering."""
        self.config = config
        for pool in self.pools.values():
            pool.rebuild(config.window_slack)
            self._share(pool)

    def observe(self, event: Observed) -> bool:
        """Take in what an engine shows of itself; whether there is such a replica."""
        pool = self.pools.get(event.pool)
        replica = None if pool is None else pool.replicas.get(event.replica)
        if pool is None or replica is None:
            return False
        if not event.is_healthy:
            replica.ills += 1
            self._pause(pool, replica.name)
            if replica.ills == ILLS_TO_RECALL:
                self._recall(pool, replica)
            return True
        replica.ills = 0
        if replica.is_down:
            replica.is_paused = replica.is_down = False
            self._outbox.forget_timer(_resume_timer(pool, replica))
        learnt = replica.learnt
        if learnt is not None and learnt.queued(
            event.waiting, event.running, replica.held, self._outbox.now
        ):
            pool.resize(replica, self.config.window_slack)
        return True

    def enqueue(self, run: ProgramRun, call: CallState) -> None:
        """Let a new call wait for a slot; raises `UnknownName` for a pool nobody opened."""
        if call.call.pool not in self.pools:
            raise UnknownName("pool", call.call.pool, self.pools)
        self.calls[call.call.id] = (run, call)
        self.pools[call.call.pool].enqueue(call)

    def promote(self, call: CallState) -> None:
        """Rank a speculative call as a needed one."""
        pool = self.pools[call.call.pool]
        was_waiting = call.phase is WAITING and pool.remove(call)
        if call.phase is RUNNING:
            pool.speculative -= 1
        call.is_speculative = False
        call.call = replace(call.call, is_speculative=False)
        if was_waiting:
            pool.enqueue(call)

    def drop(self, run: ProgramRun, call: CallState) -> None:
        """End a call that no longer matters: unqueue it, or abort it."""
        if call.phase is RUNNING:
            call.phase = ABORTING
            run.aborting += 1
            run.aborted_calls += 1
            self._abort(call)
            return
        if call.phase is BACKING_OFF:
            self._outbox.forget_timer(_retry_timer(call))
        else:
            self.pools[call.call.pool].remove(call)
        call.phase = ENDED
        del self.calls[call.call.id]

    def find(self, call_id: str, attempt: int) -> tuple[ProgramRun, CallState] | None:
        """Return the call whose present attempt holds a slot; None if that has ended."""
        known = self.calls.get(call_id)
        if known is None or known[1].attempt != attempt:
            return None
        phase = known[1].phase
        return known if phase is RUNNING or phase is ABORTING else None

    def end_attempt(
        self, run: ProgramRun, call: CallState, usage: Usage, *, has_failed: bool = False
    ) -> bool:
        """Free an attempt's slot and bill it; return whether anybody still wants the outcome."""
        was_aborted = call.phase is ABORTING
        pool = self.pools[call.call.pool]
        pool.release(call, usage.completion_tokens)
        run.bill.add(usage, was_aborted, has_failed, call.told)
        demand = call.demand
        demand.attained += usage.completion_tokens
        demand.running -= 1
        if was_aborted:
            run.aborting -= 1
            call.phase = ENDED
            del self.calls[call.call.id]
        if demand.running == 0 or usage.completion_tokens:
            self.update(demand)
        return not was_aborted

    def finish(self, call: CallState, usage: Usage) -> None:
        """Forget a wanted call that ended well, and learn from it."""
        del self.calls[call.call.id]
        rate, now = self.rates[call.call.pool], self._outbox.now
        rate.add(now - call.started, usage.completion_tokens)
        pool = self.pools[call.call.pool]
        replica = pool.replicas.get(call.replica)
        if replica is None:
            return
        replica.pauses = 0
        if replica.learnt is not None:
            tokens = usage.completion_tokens or usage.prompt_tokens
            if replica.learnt.ended(call.started, tokens, now):
                pool.resize(replica, self.config.window_slack)

    def retry(self, run: ProgramRun, call: CallState, event: Failed) -> bool:
        """Plan another attempt of a failed call if that is sensible; return whether it is."""
        run.failed_attempts += 1
        pool = self.pools[call.call.pool]
        pool.leave(call)
        if event.kind == "EngineUnreachable":
            self._pause(pool, call.replica)
        elif event.kind == "EngineBusy":
            self._relieve(pool, call)
        has_begun = call.is_open and (call.told or event.usage.completion_tokens)
        if not event.is_retryable or has_begun or call.attempt >= self.config.max_attempts:
            del self.calls[call.call.id]
            return False
        call.phase = BACKING_OFF
        delay = self.config.retry_seconds * 2.0 ** (call.attempt - 1)
        name = _retry_timer(call)
        self._outbox.set_timer(name, self._outbox.now + delay, lambda: self._requeue(call))
        return True

    def fill(self) -> None:
        """Send waiting calls to replicas that have room, best first."""
        now = self._outbox.now
        for pool in self.pools.values():
            while pool.waiting and (taken := pool.take(now)) is not None:
                self._send(*taken)

    def update(self, demand: Demand) -> None:
        """Rank a program anew wherever its calls wait."""
        if demand.waiting:
            for pool in self.pools.values():
                pool.update(demand)

    def seconds_per_token(self, width: int) -> float:
        """Return what one token takes a program that runs up to `width` calls side by side."""
        pool = self.pools.get(PRIMARY_POOL)
        if pool is None or not pool.slots:
            return self.config.seconds_per_token
        return self.rates[PRIMARY_POOL].seconds_per_token / min(width, pool.slots)

    def crowd(self, demand: Demand) -> tuple[int, int]:
        """Return how many needed calls of others hold slots or wait, and how many slots there are.

        Of the primary pool; (0, 0) without it. Calls that are being aborted count: they hold slots.
        """
        pool = self.pools.get(PRIMARY_POOL)
        if pool is None:
            return 0, 0
        busy = pool.held + pool.waiting - pool.speculative
        return max(0, busy - demand.running - demand.waiting), pool.slots

    def rounds(self, demand: Demand, deadline: float) -> float:
        """Return how many of the program's units fit before a time, one after the other."""
        unit_seconds = demand.tokens_per_knob * self.seconds_per_token(1)
        return (deadline - self._outbox.now) / unit_seconds if unit_seconds > 0 else inf

    def forget(self, program: str) -> None:
        """Drop a closed program's affinities."""
        for pool in self.pools.values():
            pool.forget(program)

    def _send(self, call: CallState, replica: ReplicaState) -> None:
        call.phase = RUNNING
        call.attempt += 1
        call.replica = replica.name
        call.started = self._outbox.now
        call.demand.running += 1
        if call.demand.running == 1:
            self.update(call.demand)
        outbox = self._outbox
        hints = self._hints(call) if self.config.has_hints else None
        outbox.commands.append(Submit(call.call, call.attempt, replica.name, outbox.cause, hints))

    def _requeue(self, call: CallState) -> None:
        call.phase = WAITING
        self.pools[call.call.pool].enqueue(call, is_first=True)

    def _hints(self, call: CallState) -> Hints:
        demand = call.demand
        slack = demand.latest_start - self._outbox.now
        return Hints(
            program=demand.program,
            workload=demand.workload,
            knob_left=demand.knob_left,
            tokens_per_knob=demand.tokens_per_knob,
            rank=demand.number + SPECULATIVE_RANK * call.is_speculative,
            slack_seconds=None if slack == inf else slack,
        )

    def _relieve(self, pool: Pool, call: CallState) -> None:
        """Send less to a replica that has refused a call as one too many, after a short pause."""
        replica = pool.replicas.get(call.replica)
        if replica is None:
            return
        learnt = replica.learnt
        if learnt is not None and learnt.refused(call.started, self._outbox.now):
            pool.resize(replica, self.config.window_slack)
        self._pause(pool, call.replica, is_busy=True)

    def _pause(self, pool: Pool, name: str, *, is_busy: bool = False) -> None:
        """Send nothing to a replica that could not be reached or is busy, longer each time.

        One that could not be reached is left alone for twice as long as the call that found it so
        waits for its next attempt, which another replica gets then.
        """
        replica = pool.replicas.get(name)
        if replica is None:
            return
        replica.is_down = replica.is_down or not is_busy
        if replica.is_paused:
            return
        pool.pause(replica)
        most = MAX_BUSY_SECONDS if is_busy else MAX_PAUSE_SECONDS
        replica.pauses += 1
        delay = min(most, self.config.retry_seconds * 2.0 ** (replica.pauses - is_busy))

        def resume() -> None:
            replica.is_paused = replica.is_down = False

        self._outbox.set_timer(_resume_timer(pool, replica), self._outbox.now + delay, resume)

    def _recall(self, pool: Pool, ill: ReplicaState) -> None:
        """Break off what runs on a replica that stays ill, if another one can do it.

        Nobody has to want that: an attempt that is cancelled by its host is made again. Open calls
        are not among them; what they have told cannot be told again.
        """
        if all(one is ill or one.is_paused for one in pool.replicas.values()):
            return
        for _, call in self.calls.values():
            is_there = call.call.pool == pool.name and call.replica == ill.name
            if is_there and call.phase is RUNNING and not call.is_open:
                self._abort(call)
                call.recalled = call.attempt

    def _abort(self, call: CallState) -> None:
        """Have an attempt broken off, once."""
        if call.recalled != call.attempt:
            self._outbox.put(Abort(call.call.id, call.attempt, self._outbox.cause))

    def _make_shares(self) -> Shares | None:
        config = self.config
        return Shares(config.shares, config.tokens_per_knob) if config.has_shares else None

    def _share(self, pool: Pool) -> None:
        """Apply the configuration's shares: to begin with, everybody has had what runs now."""
        shares = pool.shares
        if self.config.has_shares and shares is not None:
            shares.weigh(self.config.shares)
        elif self.config.has_shares or shares is not None:
            pool.share(self._make_shares())
            for _, call in self.calls.values():
                is_here = call.call.pool == pool.name
                if pool.shares and is_here and call.phase in (RUNNING, ABORTING):
                    pool.shares.begin(call.demand.tenant)


def _resume_timer(pool: Pool, replica: ReplicaState) -> str:
    return f"resume:{pool.name}/{replica.name}"


def _retry_timer(call: CallState) -> str:
    return f"retry:{call.call.id}:{call.attempt}"
