"""The waiting calls of one pool that are in one order, in queues by where they may run.

One queue holds those that may run on any replica, and each replica has one for those whose program
already ran there. Usually all calls of a pool stand in one line; where tenants have shares, each
tenant has its own. This file must not know of windows' sizes or of programs' decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from dynasor.core.calls import CallState
from dynasor.core.queue import ProgramQueue, Rank
from dynasor.core.replica import ReplicaState

__all__ = ["Line", "MakeQueue"]

Queue = ProgramQueue[CallState]
MakeQueue = Callable[[], Queue]


class Line:
    """Queues of calls: `unassigned`, and `of` each replica by name.

    `newest` is a call that has just come and may be taken at once, and is therefore not put into
    its queue before that is known.
    """

    __slots__ = ("_make_queue", "newest", "of", "unassigned")

    def __init__(self, make_queue: MakeQueue, replicas: Iterable[str]) -> None:
        self._make_queue = make_queue
        self.unassigned = make_queue()
        self.of: dict[str, Queue] = {name: make_queue() for name in replicas}
        self.newest: CallState | None = None

    def __repr__(self) -> str:
        return f"<Line of {sum(len(queue) for queue in self.queues())} calls>"

    @property
    def is_empty(self) -> bool:
        """Whether no call waits."""
        if self.newest is not None or self.unassigned:
            return False
        return not any(self.of.values())

    def queues(self) -> list[Queue]:
        """Return all queues, the unassigned one first."""
        self.settle()
        return [self.unassigned, *self.of.values()]

    def settle(self) -> None:
        """Put the newest call, held back for `take_any`, into its queue."""
        newest, self.newest = self.newest, None
        if newest is not None:  # as `push` does, in this hot place
            self.unassigned.push(
                newest.demand, newest.call.id, newest, is_speculative=newest.is_speculative
            )

    def change(self, replicas: Iterable[str]) -> None:
        """Have queues for these replicas; what waited for another may run on any."""
        self.settle()
        known, self.of = self.of, {}
        for name in replicas:
            queue = known.pop(name, None)
            self.of[name] = self._make_queue() if queue is None else queue
        for queue in known.values():
            _refill(queue, self.unassigned)

    def rebuild(self) -> None:
        """Put all calls into new queues."""
        self.settle()
        self.unassigned = _refill(self.unassigned, self._make_queue())
        for name, queue in self.of.items():
            self.of[name] = _refill(queue, self._make_queue())

    def unassign(self, replica: str) -> None:
        """Let what waits for a replica run on any."""
        _refill(self.of[replica], self.unassigned)

    def follow(self, call: CallState, replica: str) -> None:
        """Let what else of a call's kind waits for any replica wait for that one."""
        for other in self.unassigned.items_of(call.demand.program):
            if other.call.affinity == call.call.affinity:
                self.unassigned.remove(other.call.id)
                push(self.of[replica], other)

    def take_any(self, now: float, *, only_needed: bool) -> CallState | None:
        """Take the best call where all may run on any replica; None without one."""
        newest = self.newest
        if newest is None or only_needed:
            self.settle()
            return self.unassigned.take(now, only_needed=only_needed)
        self.newest = None
        return self.unassigned.push_take(
            newest.demand, newest.call.id, newest, now, is_speculative=newest.is_speculative
        )

    def best(
        self, replica: ReplicaState, replicas: Mapping[str, ReplicaState], now: float
    ) -> tuple[Rank, Queue] | None:
        """Return the queue whose best call is the one to run on a replica, and its rank.

        A replica takes from the queues of others too: for programs that crossed, and to avoid
        idling. Who waits for a replica that has room is about to be taken there, beside its cached
        prompt. Speculative calls fill idle slots, never the slack, nor what another replica has no
        room for.
        """
        best = self.unassigned.head(now)
        chosen = self.unassigned
        own = self.of[replica.name].head(now)
        if own is not None and (best is None or own < best):
            best, chosen = own, self.of[replica.name]
        others = [other for other in replicas.values() if other is not replica]
        best, chosen = self._best_elsewhere(others, now, best, chosen)
        if best is None or (best[0] and replica.held >= replica.slots):
            return None
        return best, chosen

    def _best_elsewhere(
        self, others: Iterable[ReplicaState], now: float, best: Rank | None, chosen: Queue
    ) -> tuple[Rank | None, Queue]:
        """Look into the queues of other replicas, for one that is better than the best so far."""
        is_spare = best is not None and best[0]
        was_empty = best is None or is_spare
        for other in others:
            queue = self.of[other.name]
            head = queue.head(now)
            if head is None or (best is not None and head >= best):
                continue
            has_crossed = not head[0] and head[1][0] == 0
            room = other.slots if head[0] else other.window
            wanted = queue.needed if is_spare and not head[0] else 1
            if has_crossed or (was_empty and other.held + wanted > room):
                best, chosen = head, queue
        return best, chosen


def push(queue: Queue, call: CallState) -> None:
    """Append a call to a queue."""
    queue.push(call.demand, call.call.id, call, is_speculative=call.is_speculative)


def _refill(old: Queue, new: Queue) -> Queue:
    """Append all calls of one queue to another and return that."""
    for call in list(old):
        old.remove(call.call.id)
        push(new, call)
    return new
