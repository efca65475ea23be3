"""Pools: which waiting call goes to which replica, and when.

A replica takes its slots plus a small slack, so that a slot never idles for a round trip. Calls
wait in one line, or in one for each tenant where tenants have shares. This file must not know of
strands, policies or answers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from dynasor.core.calls import CallState
from dynasor.core.line import Line, MakeQueue, push
from dynasor.core.ordering import Demand
from dynasor.core.queue import ProgramQueue
from dynasor.core.replica import ReplicaState
from dynasor.core.shares import Shares
from dynasor.core.types import Replica

__all__ = ["Pool"]

SESSIONS = 65_536
"""Affinities that outlive their programs, the latest used: those of sessions, whose end nobody
tells. The caches of some hundred replicas do not hold more."""
SPARE_LINES = 64
"""Lines of tenants that are not here kept at least: making lines anew costs more than it saves."""
Taken = tuple[CallState, ReplicaState]


class Pool:
    """The replicas that serve one role of one model, and the calls that wait for them.

    `slots` counts those of all replicas together, `waiting` the calls that wait, `held` those
    that hold slots, `speculative` the ones among both that only fill idle slots. `shares` is None
    where tenants do not matter.
    """

    def __init__(self, name: str, make_queue: MakeQueue, shares: Shares | None = None) -> None:
        self.name = name
        self.replicas: dict[str, ReplicaState] = {}
        self.gone: dict[str, ReplicaState] = {}
        self.shares: Shares | None = None
        self.slots = 0
        self.waiting = 0
        self.held = 0
        self.speculative = 0
        self._sole: ReplicaState | None = None
        self._make_queue = make_queue
        self._homes: dict[str, str] = {}
        self._sessions: OrderedDict[str, str] = OrderedDict()
        self._line: Line | None = Line(make_queue, ())
        self._lines: dict[str, Line] = {"": self._line}
        self._sweep_at = SPARE_LINES
        if shares is not None:
            self.share(shares)

    def share(self, shares: Shares | None) -> None:
        """Let tenants share the pool by these accounts, or stand in one line."""
        calls = [call for queue in self.queues() for call in queue]
        self.shares, self._lines, self._line = shares, {}, None
        if shares is None:
            self._line = self._lines[""] = Line(self._make_queue, self.replicas)
        for call in calls:
            line = self._line_of(call)
            push(self._queue_of(call, line), call)

    def change(self, replicas: Sequence[Replica], slack: float) -> None:
        """Let the pool consist of these replicas; calls that wait for a lost one are unassigned.

        A lost replica keeps its running calls until they end.
        """
        known, self.replicas = {**self.gone, **self.replicas}, {}
        for told in replicas:
            state = known.pop(told.name, None)
            if state is None:
                state = ReplicaState(told, slack)
            state.tell(told, slack)
            self.replicas[told.name] = state
        self._count_slots()
        self.gone = {name: state for name, state in known.items() if state.held}
        self._sole = self.replicas[replicas[0].name] if len(self.replicas) == 1 else None
        for line in self._lines.values():
            line.change(self.replicas)
            for name, state in self.replicas.items():
                if state is self._sole or not state.window:
                    line.unassign(name)  # waits where it is looked for

    def rebuild(self, slack: float) -> None:
        """Put all waiting calls into new queues, and apply a new slack."""
        for line in self._lines.values():
            line.rebuild()
        for replica in self.replicas.values():
            replica.resize(slack)
        self._count_slots()

    def resize(self, replica: ReplicaState, slack: float) -> None:
        """Apply what has been learnt of a replica."""
        replica.resize(slack)
        self._count_slots()

    def pause(self, replica: ReplicaState) -> None:
        """Send nothing to a replica for now; what waited for it may run on any other."""
        replica.is_paused = True
        for line in self._lines.values():
            line.settle()
            line.unassign(replica.name)

    def enqueue(self, call: CallState, *, is_first: bool = False) -> None:
        """Let a call wait: for the replica its affinity points to, or for any."""
        line = self._line or self._join(call)
        if line.newest is not None:
            line.settle()
        self.waiting += 1
        self.speculative += call.is_speculative
        call.demand.waiting += 1
        if self._sole is not None and not is_first:
            line.newest = call
            return
        queue = self._queue_of(call, line)
        add = queue.prepend if is_first else queue.push
        add(call.demand, call.call.id, call, is_speculative=call.is_speculative)

    def remove(self, call: CallState) -> bool:
        """Take a waiting call out; whether it was waiting here."""
        queues = self._line_of(call).queues()
        was_here = any(queue.remove(call.call.id) is not None for queue in queues)
        self.waiting -= was_here
        self.speculative -= was_here and call.is_speculative
        call.demand.waiting -= was_here
        return was_here

    def update(self, demand: Demand) -> None:
        """Rank a program anew in every queue that holds calls of it."""
        line = self._line or self._lines.get(demand.tenant)
        if line is None:
            return
        if line.newest is not None:
            line.settle()
        line.unassigned.update(demand.program)
        if self._sole is None:
            for queue in line.of.values():
                queue.update(demand.program)

    def forget(self, affinity: str) -> None:
        """Drop an affinity: its program ended, or its replica failed."""
        self._homes.pop(affinity, None)

    def leave(self, call: CallState) -> None:
        """Drop a call's affinity, its own or its session's: its replica failed."""
        self._homes.pop(call.call.affinity, None)
        self._sessions.pop(call.call.affinity, None)

    def queues(self) -> list[ProgramQueue[CallState]]:
        """Return all queues."""
        return [queue for line in self._lines.values() for queue in line.queues()]

    def rivals(self, demand: Demand) -> list[ProgramQueue[CallState]]:
        """Return the queues of the line in which a program's calls wait, or would."""
        line = self._line or self._lines.get(demand.tenant)
        return [] if line is None else line.queues()

    def release(self, call: CallState, tokens: int) -> None:
        """Free the slot that a call holds, which came to so many completion tokens."""
        state = self.replicas.get(call.replica) or self.gone[call.replica]
        if state.learnt is not None and state.held < state.window:
            state.learnt.interrupt()
        state.held -= 1
        self.held -= 1
        self.speculative -= call.is_speculative
        if state.held == 0:
            self.gone.pop(call.replica, None)
        if self.shares is not None:
            self.shares.end(call.demand.tenant, tokens)

    def take(self, now: float) -> Taken | None:
        """Take the best waiting call that a replica has room for, and hold a slot for it.

        Where tenants have shares it is the best of the tenant whose turn it is; needed calls of
        all tenants go before speculative ones.
        """
        line, sole = self._line, self._sole
        if line is not None:
            if sole is None:
                return self._take_among(line, now)
            if sole.held >= sole.window or sole.is_paused:
                return None
            return self._take_for(sole, line, now)
        if all(one.held >= one.window or one.is_paused for one in self.replicas.values()):
            return None
        turns = self._in_turn()
        for only_needed in (True, False):
            for line in turns:
                if sole is None:
                    taken = self._take_among(line, now, only_needed=only_needed)
                else:
                    taken = self._take_for(sole, line, now, only_needed=only_needed)
                if taken is not None:
                    return taken
        return None

    def _take_for(
        self, sole: ReplicaState, line: Line, now: float, *, only_needed: bool = False
    ) -> Taken | None:
        """Take the best call of a line for the only replica, which has room."""
        call = line.take_any(now, only_needed=only_needed or sole.held >= sole.slots)
        return None if call is None else self._hold(call, sole)

    def _take_among(self, line: Line, now: float, *, only_needed: bool = False) -> Taken | None:
        """Take the best call of a line for the emptiest of several replicas that has one."""
        rooms = [r for r in self.replicas.values() if r.held < r.window and not r.is_paused]
        for replica in sorted(rooms, key=_fullness):
            best = line.best(replica, self.replicas, now)
            if best is None or (only_needed and best[0][0]):
                continue
            call = best[1].pop(now)
            if self._settle_down(call, replica):
                line.follow(call, replica.name)
            return self._hold(call, replica)
        return None

    def _hold(self, call: CallState, replica: ReplicaState) -> Taken:
        """Count a call that was taken as one that holds a slot."""
        replica.held += 1
        self.held += 1
        self.waiting -= 1
        call.demand.waiting -= 1
        if self.shares is not None:
            self.shares.begin(call.demand.tenant)
        return call, replica

    def _settle_down(self, call: CallState, replica: ReplicaState) -> bool:
        """Make a replica the home of a call's kind; return whether it had none."""
        affinity = call.call.affinity
        if affinity == call.call.program:
            is_first = affinity not in self._homes
            self._homes[affinity] = replica.name
            return is_first
        is_first = affinity not in self._sessions
        self._sessions[affinity] = replica.name
        self._sessions.move_to_end(affinity)
        if len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return is_first

    def _queue_of(self, call: CallState, line: Line) -> ProgramQueue[CallState]:
        if self._sole is not None:
            return line.unassigned
        affinity = call.call.affinity
        homes = self._homes if affinity == call.call.program else self._sessions
        home = self.replicas.get(homes.get(affinity, ""))
        if home is None or home.is_paused or not home.window:
            return line.unassigned
        return line.of[home.name]

    def _count_slots(self) -> None:
        self.slots = sum(replica.slots for replica in self.replicas.values())

    # Tenants.

    def _line_of(self, call: CallState) -> Line:
        line = self._line or self._lines.get(call.demand.tenant)
        if line is None:
            self._sweep()
            line = self._lines[call.demand.tenant] = Line(self._make_queue, self.replicas)
        return line

    def _join(self, call: CallState) -> Line:
        """Return the line of a call's tenant, who may begin to wait with it."""
        line = self._line_of(call)
        if self.shares is not None and line.is_empty:
            self.shares.arrive(call.demand.tenant, self._waiting())
        return line

    def _waiting(self) -> list[str]:
        return [tenant for tenant, line in self._lines.items() if not line.is_empty]

    def _in_turn(self) -> list[Line]:
        turns = [] if self.shares is None else self.shares.in_turn(self._waiting())
        return [self._lines[tenant] for tenant in turns]

    def _sweep(self) -> None:
        """Drop the lines of tenants that are gone once they are many."""
        if self.shares is None or len(self._lines) < self._sweep_at:
            return
        for tenant in self.shares.forget_idle(self._waiting()):
            self._lines.pop(tenant, None)
        self._sweep_at = SPARE_LINES + 2 * len(self._lines)


def _fullness(replica: ReplicaState) -> float:
    return replica.held / replica.window
