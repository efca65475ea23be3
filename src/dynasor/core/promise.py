"""The aging promise, checked from outside on every run: cheap enough to leave on.

The promise: **while a program has a needed call waiting in a pool, no program that crossed later,
or has not crossed, starts a call in that pool.** In detail:

- A program crosses once it has been in the system for `aging_factor` times its solo time, as that
  is estimated when calls are taken from its queues, or for `patience_seconds`; it stays crossed.
  Under an ordering that ages some programs only, the others never cross. Without aging nobody
  crosses, and nothing is promised.
- Order is by the time of crossing (`ProgramQueue.crossing`). Of two programs that crossed at the
  same instant either may go first.
- A call waits from the event that asked for it, or for another attempt of it, until its `Submit`.
  One that backs off after a failure does not wait, nor does one that no longer matters.
- It waits in its pool, whichever queue it stands in: affinity is a wish, and whatever replica has
  room takes the call of the program that crossed first. Pools are apart: a slot of one is no use
  to a call that waits in another. While all replicas with room are paused nothing starts, and
  nothing is broken.
- Where tenants have shares it is promised among the programs of one tenant, and nothing between
  tenants: whose turn it is their shares say.
- Speculative calls may be passed by anyone. A speculative call that starts counts as a start.
- Of the calls that one event starts, the earlier in the list of commands started first.

This file must not know how the queue keeps the promise: it asks who waits, and when they cross.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import inf

from dynasor.core.calls import CallState
from dynasor.core.commands import Closed, Command, Submit
from dynasor.core.ordering import Demand
from dynasor.core.queue import ProgramQueue
from dynasor.core.scheduler import Scheduler

__all__ = ["PromiseWatch"]

STORIES = 5
"""Broken promises that are told; the others are only counted."""

_Filed = tuple[float, int, Demand]


class _Line:
    """The programs that wait in one pool, by when they crossed or will.

    A lazy heap: an entry that has become untrue is put right when it surfaces, and nothing is
    filed that says no more than an earlier entry of the same program. So `first` costs the
    logarithm of the number of waiting programs, however many there are.
    """

    __slots__ = ("_crossed", "_filed", "_heap", "hear", "queues")

    def __init__(self, crossed: Callable[[Demand], None]) -> None:
        self.queues: list[ProgramQueue[CallState]] = []
        self.hear = self._file  # one object, to be recognised by
        self._crossed = crossed
        self._heap: list[_Filed] = []
        self._filed: dict[int, float] = {}

    def adopt(self, queues: list[ProgramQueue[CallState]]) -> None:
        """Listen to these queues from now on; to those that are new, from their beginning."""
        self.queues = queues
        for queue in queues:
            if queue.on_ranked is not self.hear:
                queue.on_ranked = self.hear
                for demand in queue.demands():
                    self._file(demand, queue.crossing(demand))

    def first(self) -> _Filed | None:
        """Return the waiting program that crosses first, with that time and its number."""
        while self._heap:
            filed = self._heap[0]
            at, number, demand = filed
            crossing = self._crossing(demand)
            if crossing == at:
                return filed
            heappop(self._heap)
            if self._filed.get(number) == at:
                del self._filed[number]
            if crossing < inf:
                self._file(demand, crossing)
        return None

    def _file(self, demand: Demand, crossing: float) -> None:
        if demand.crossed_at is not None:
            self._crossed(demand)
        if crossing < self._filed.get(demand.number, inf):
            self._filed[demand.number] = crossing
            heappush(self._heap, (crossing, demand.number, demand))

    def _crossing(self, demand: Demand) -> float:
        """Return when a program crosses; infinite if it does not, or does not wait here."""
        for queue in self.queues:
            if queue.waits(demand):
                return queue.crossing(demand)
        return inf


class PromiseWatch:
    """Watches one scheduler: tell it the commands of every event, in order.

    `crossings` counts programs that crossed, `broken` the calls that started against the promise;
    `stories` tells the first of those. Watching changes no decision. It costs a few microseconds
    for every call that starts.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.crossings = 0
        self.broken = 0
        self.stories: list[str] = []
        self._dispatcher = scheduler.dispatcher
        self._lines: dict[tuple[str, str], _Line] = {}
        self._crossed: set[str] = set()

    def __repr__(self) -> str:
        return f"<PromiseWatch {self.crossings} crossings, broken {self.broken} times>"

    def see(self, commands: Sequence[Command], now: float) -> None:
        """Check what one `handle` returned at time `now`, before the next `handle`."""
        submits = [command for command in commands if type(command) is Submit]
        if len(submits) == 1:
            self._check(self._line_of(submits[0]), submits, now)
        elif submits:
            lines = [self._line_of(submit) for submit in submits]
            for line in dict.fromkeys(lines):
                those = [one for one, its in zip(submits, lines, strict=True) if its == line]
                self._check(line, those, now)
        for command in commands:
            if type(command) is Closed:
                self._crossed.discard(command.program)

    def _line_of(self, submit: Submit) -> tuple[str, str]:
        """Return the pool, and the tenant where tenants have shares: each has its own line then."""
        pool = submit.call.pool
        if self._dispatcher.pools[pool].shares is None:
            return pool, ""
        return pool, self._demand_of(submit).tenant

    def _demand_of(self, submit: Submit) -> Demand:
        return self._dispatcher.calls[submit.call.id][1].demand

    def _check(self, name: tuple[str, str], submits: list[Submit], now: float) -> None:
        """Compare every start with who waits after it: those still there, and those sent later.

        An event's calls are sent when all that it changes has been changed, so whoever waits
        afterwards has waited throughout.
        """
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = _Line(self._count)
        line.adopt(self._dispatcher.pools[name[0]].rivals(self._demand_of(submits[0])))
        first = line.first()
        crossing_of = line.queues[0].crossing
        for submit in reversed(submits):
            mine = self._demand_of(submit)
            crossing = crossing_of(mine)
            if crossing <= now:
                self._count(mine)
            if first is not None and first[0] <= now and first[0] < crossing:
                self._tell(submit, crossing, first, now)
            if not submit.call.is_speculative and (first is None or crossing < first[0]):
                first = (crossing, mine.number, mine)

    def _count(self, demand: Demand) -> None:
        if demand.program not in self._crossed:
            self._crossed.add(demand.program)
            self.crossings += 1

    def _tell(self, submit: Submit, crossing: float, first: _Filed, now: float) -> None:
        self.broken += 1
        if len(self.stories) < STORIES:
            own = f"which crossed at {crossing:g} s" if crossing <= now else "which has not crossed"
            self.stories.append(
                f"at {now:g} s {submit.call.id} of {submit.call.program}, {own}, started on "
                f"{submit.call.pool}/{submit.replica} while {first[2].program}, which crossed at "
                f"{first[0]:g} s, had a needed call waiting there"
            )
