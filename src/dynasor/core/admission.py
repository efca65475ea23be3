"""Pools: which waiting call goes to which replica, and when.

A replica takes its slots plus a small slack, so that a slot never idles for a round trip.
Calls wait in one queue a replica (those whose program already ran there, for its cache) and one
unassigned queue. This file must not know of strands, policies or answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

from dynasor.core.calls import CallState
from dynasor.core.ordering import Demand
from dynasor.core.queue import ProgramQueue, Rank
from dynasor.core.types import Replica

__all__ = ["Pool", "ReplicaState"]

MakeQueue = Callable[[], ProgramQueue[CallState]]


class ReplicaState:
    """One replica: how many calls it holds, how many it may, and who waits for it.

    `pauses` counts failures to reach it since the last success; while `is_paused` it gets
    nothing.
    """

    __slots__ = ("held", "is_paused", "name", "pauses", "queue", "slots", "window")

    def __init__(self, replica: Replica, slack: float, queue: ProgramQueue[CallState]) -> None:
        self.name = replica.name
        self.held = 0
        self.is_paused = False
        self.pauses = 0
        self.queue = queue
        self.resize(replica.slots, slack)

    def resize(self, slots: int, slack: float) -> None:
        """Change the slots; `slack` is the fraction sent beyond them."""
        self.slots = slots
        self.window = slots + ceil(slots * slack)

    def __repr__(self) -> str:
        return f"<ReplicaState {self.name} {self.held}/{self.window} held, {len(self.queue)} wait>"


class Pool:
    """The replicas that serve one role of one model, and the calls that wait for them.

    `slots` counts those of all replicas together, `waiting` the calls that wait, `held` those
    that hold slots, `speculative` the ones among both that only fill idle slots.
    """

    def __init__(self, name: str, make_queue: MakeQueue) -> None:
        self.name = name
        self.replicas: dict[str, ReplicaState] = {}
        self.gone: dict[str, ReplicaState] = {}
        self.unassigned = make_queue()
        self.slots = 0
        self.waiting = 0
        self.held = 0
        self.speculative = 0
        self._sole: ReplicaState | None = None
        self._newest: CallState | None = None
        self._make_queue = make_queue
        self._homes: dict[str, str] = {}

    def change(self, replicas: Sequence[Replica], slack: float) -> None:
        """Let the pool consist of these replicas; calls that wait for a lost one are unassigned.

        A lost replica keeps its running calls until they end.
        """
        self._settle()
        known, self.replicas = {**self.gone, **self.replicas}, {}
        for replica in replicas:
            state = known.pop(replica.name, None)
            if state is None:
                state = ReplicaState(replica, slack, self._make_queue())
            state.resize(replica.slots, slack)
            self.replicas[replica.name] = state
        self.slots = sum(replica.slots for replica in replicas)
        self.gone = {name: state for name, state in known.items() if state.held}
        for state in known.values():
            _refilled(state.queue, self.unassigned)
        self._sole = None
        if len(self.replicas) == 1:  # the others' calls wait where they would be looked for
            self._sole = self.replicas[replicas[0].name]
            _refilled(self._sole.queue, self.unassigned)

    def rebuild(self, slack: float) -> None:
        """Put all waiting calls into new queues, and apply a new slack."""
        self._settle()
        self.unassigned = _refilled(self.unassigned, self._make_queue())
        for replica in self.replicas.values():
            replica.queue = _refilled(replica.queue, self._make_queue())
            replica.resize(replica.slots, slack)

    def pause(self, replica: ReplicaState) -> None:
        """Send nothing to a replica for now; what waited for it may run on any other."""
        replica.is_paused = True
        _refilled(replica.queue, self.unassigned)

    def enqueue(self, call: CallState, *, is_first: bool = False) -> None:
        """Let a call wait: for the replica its affinity points to, or for any."""
        if self._newest is not None:
            self._settle()
        self.waiting += 1
        self.speculative += call.is_speculative
        call.demand.waiting += 1
        if self._sole is not None and not is_first:
            self._newest = call
            return
        queue = self._queue_of(call)
        add = queue.prepend if is_first else queue.push
        add(call.demand, call.call.id, call, is_speculative=call.is_speculative)

    def remove(self, call: CallState) -> bool:
        """Take a waiting call out; whether it was waiting here."""
        was_here = any(queue.remove(call.call.id) is not None for queue in self.queues())
        self.waiting -= was_here
        self.speculative -= was_here and call.is_speculative
        call.demand.waiting -= was_here
        return was_here

    def update(self, demand: Demand) -> None:
        """Rank a program anew in every queue that holds calls of it."""
        if self._newest is not None:
            self._settle()
        self.unassigned.update(demand.program)
        if self._sole is None:
            for replica in self.replicas.values():
                replica.queue.update(demand.program)

    def forget(self, affinity: str) -> None:
        """Drop an affinity: its program ended, or its replica failed."""
        self._homes.pop(affinity, None)

    def queues(self) -> list[ProgramQueue[CallState]]:
        """Return all queues, the unassigned one first."""
        self._settle()
        return [self.unassigned, *(replica.queue for replica in self.replicas.values())]

    def release(self, call: CallState) -> None:
        """Free the slot that a call holds."""
        state = self.replicas.get(call.replica) or self.gone[call.replica]
        state.held -= 1
        self.held -= 1
        self.speculative -= call.is_speculative
        if state.held == 0:
            self.gone.pop(call.replica, None)

    def take(self, now: float) -> tuple[CallState, ReplicaState] | None:
        """Take the best waiting call that a replica has room for, and hold a slot for it."""
        sole = self._sole
        if sole is not None:
            if sole.held >= sole.window or sole.is_paused:
                return None
            call = self._take_for_sole(now, only_needed=sole.held >= sole.slots)
            if call is None:
                return None
            sole.held += 1
            self.held += 1
            self.waiting -= 1
            call.demand.waiting -= 1
            return call, sole
        rooms = [r for r in self.replicas.values() if r.held < r.window and not r.is_paused]
        for replica in sorted(rooms, key=_fullness):
            taken = self._take_for(replica, now)
            if taken is not None:
                self._settle_down(taken[0], replica)
                return taken
        return None

    def _settle_down(self, call: CallState, replica: ReplicaState) -> None:
        """Let what else waits for any replica follow the first call of its kind."""
        affinity, program = call.call.affinity, call.demand.program
        is_first = affinity not in self._homes
        self._homes[affinity] = replica.name
        if not is_first:
            return
        for other in self.unassigned.items_of(program):
            if other.call.affinity == affinity:
                self.unassigned.remove(other.call.id)
                replica.queue.push(
                    other.demand, other.call.id, other, is_speculative=other.is_speculative
                )

    def _take_for_sole(self, now: float, *, only_needed: bool) -> CallState | None:
        newest = self._newest
        if newest is None or only_needed:
            self._settle()
            return self.unassigned.take(now, only_needed=only_needed)
        self._newest = None
        return self.unassigned.push_take(
            newest.demand, newest.call.id, newest, now, is_speculative=newest.is_speculative
        )

    def _settle(self) -> None:
        """Put the newest call, held back for `take`, into its queue."""
        newest, self._newest = self._newest, None
        if newest is not None:
            self.unassigned.push(
                newest.demand, newest.call.id, newest, is_speculative=newest.is_speculative
            )

    def _take_for(self, replica: ReplicaState, now: float) -> tuple[CallState, ReplicaState] | None:
        queue = self._best_queue(replica, now)
        if queue is None:
            return None
        replica.held += 1
        self.held += 1
        call = queue.pop(now)
        self.waiting -= 1
        call.demand.waiting -= 1
        return call, replica

    def _best_queue(self, replica: ReplicaState, now: float) -> ProgramQueue[CallState] | None:
        best = self.unassigned.head(now)
        chosen = None if best is None else self.unassigned
        own = replica.queue.head(now)
        if own is not None and (best is None or own < best):
            best, chosen = own, replica.queue
        best, chosen = self._best_elsewhere(replica, now, best, chosen)
        if best is None or (best[0] and replica.held >= replica.slots):
            return None  # speculative calls fill idle slots, never the slack
        return chosen

    def _best_elsewhere(
        self,
        replica: ReplicaState,
        now: float,
        best: Rank | None,
        chosen: ProgramQueue[CallState] | None,
    ) -> tuple[Rank | None, ProgramQueue[CallState] | None]:
        """Look into other replicas' queues: for programs that crossed, and to avoid idling.

        Who waits for a replica that has room is about to be taken there, beside its cached prompt.
        """
        was_empty = best is None or best[0]
        for other in self.replicas.values():
            head = None if other is replica else other.queue.head(now)
            if head is None or (best is not None and head >= best):
                continue
            has_crossed = not head[0] and head[1][0] == 0
            room = other.slots if head[0] else other.window
            if has_crossed or (was_empty and other.held >= room):
                best, chosen = head, other.queue
        return best, chosen

    def _queue_of(self, call: CallState) -> ProgramQueue[CallState]:
        if self._sole is not None:
            return self.unassigned
        home = self.replicas.get(self._homes.get(call.call.affinity, ""))
        return self.unassigned if home is None or home.is_paused else home.queue


def _refilled(
    old: ProgramQueue[CallState], new: ProgramQueue[CallState]
) -> ProgramQueue[CallState]:
    """Append all calls of one queue to another and return that."""
    for call in list(old):
        old.remove(call.call.id)
        new.push(call.demand, call.call.id, call, is_speculative=call.is_speculative)
    return new


def _fullness(replica: ReplicaState) -> float:
    return replica.held / replica.window
