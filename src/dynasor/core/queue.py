"""`ProgramQueue`: the one queue of waiting calls, live, simulated and inside an engine.

A lazy heap of programs, and in each program its calls in order. Re-ranking a program pushes a
new heap entry and leaves the old one to be dropped when it surfaces, so every operation costs
the logarithm of the number of programs, whatever that number is.

A program has two lanes: needed calls, and speculative ones that rank below every needed call of
every program. Aging: a program that has been in the system for `aging_factor` times its estimated
solo time, or for `patience_seconds`, crosses into a FIFO above all others. Promised: no program
that crossed later starts a call before it while it has a needed one waiting (`core.promise` checks
that from outside).

This file must not know of slots, replicas or strands; `T` is whatever a host queues (a call here,
a vLLM request in the plug-in).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush
from math import inf
from typing import Generic, TypeVar

from dynasor.core.ordering import AgesSome, Demand, Key, Ordering

__all__ = ["ProgramQueue", "Rank"]

T = TypeVar("T")
Rank = tuple[bool, Key, int]
"""`(is_speculative, key, arrival number)`; the key begins with 0 for programs that crossed."""
COMPACT_ABOVE = 64
"""Stale entries allowed beyond eight a lane: rebuilding smaller heaps costs more than it saves."""


class _Lane(Generic[T]):
    """The waiting items of one program, needed or speculative, in order."""

    __slots__ = ("demand", "due", "is_speculative", "items", "key", "stamp")

    def __init__(self, demand: Demand, is_speculative: bool) -> None:
        self.demand = demand
        self.is_speculative = is_speculative
        self.items: dict[str, T] = {}
        self.key: Key = ()
        self.stamp = 0
        self.due = inf


_Entry = tuple[bool, Key, int, int, _Lane[T]]


class ProgramQueue(Generic[T]):
    """Waiting items of many programs, in the order of an `Ordering`.

    Items have an id, unique in the queue. `now` (seconds) must never decrease from call to call.
    `aging_factor` 0 switches aging off, patience too. `on_ranked`, for observers, is called
    whenever a program with needed items is ranked, with its demand and `crossing(demand)`.
    """

    def __init__(
        self, ordering: Ordering, aging_factor: float = 0.0, patience_seconds: float | None = None
    ) -> None:
        self._ordering = ordering
        self._aging_factor = aging_factor
        self._patience = inf if patience_seconds is None else patience_seconds
        self._ages = ordering.ages if isinstance(ordering, AgesSome) else None
        self.on_ranked: Callable[[Demand, float], None] | None = None
        self._now = -inf
        self._lanes: tuple[dict[str, _Lane[T]], dict[str, _Lane[T]]] = ({}, {})
        self._home: dict[str, _Lane[T]] = {}
        self._heap: list[_Entry[T]] = []
        self._changes: list[tuple[float, int, _Lane[T]]] = []
        self._stamps = 0
        self._compact_at = COMPACT_ABOVE

    def __len__(self) -> int:
        return len(self._home)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._home

    def __iter__(self) -> Iterator[T]:
        """Yield all items, best first, as the keys stand."""
        for _, _, _, _, lane in sorted(self._live(), key=lambda entry: entry[:4]):
            yield from lane.items.values()

    def __repr__(self) -> str:
        return f"<ProgramQueue of {len(self)} items in {self._size()} lanes>"

    @property
    def needed(self) -> int:
        """How many items wait that are not speculative."""
        return sum(len(lane.items) for lane in self._lanes[False].values())

    def waits(self, demand: Demand) -> bool:
        """Return whether a needed item of this program is here."""
        lane = self._lanes[False].get(demand.program)
        return lane is not None and lane.demand is demand

    def demands(self) -> Iterable[Demand]:
        """Return the demands of all programs with needed items here, in no order."""
        return (lane.demand for lane in self._lanes[False].values())

    def crossing(self, demand: Demand) -> float:
        """Return when a program crossed, or will if it waits that long; infinite for never."""
        if demand.crossed_at is not None:
            return demand.crossed_at
        if not self._aging_factor or (self._ages is not None and not self._ages(demand)):
            return inf
        return demand.arrived + min(self._aging_factor * demand.solo_seconds, self._patience)

    def push(self, demand: Demand, item_id: str, item: T, *, is_speculative: bool = False) -> None:
        """Append an item to its program's lane."""
        lane = self._lane(demand, is_speculative)
        self._home[item_id] = lane
        lane.items[item_id] = item
        if lane.stamp == 0:
            self._rank(lane)

    def prepend(
        self, demand: Demand, item_id: str, item: T, *, is_speculative: bool = False
    ) -> None:
        """Put an item back before its program's others (preempted, or refused by an engine)."""
        lane = self._lane(demand, is_speculative)
        self._home[item_id] = lane
        lane.items = {item_id: item, **lane.items}
        if lane.stamp == 0:
            self._rank(lane)

    def head(self, now: float) -> Rank | None:
        """Return the rank of the best item, None when empty: comparable between queues."""
        entry = self._top(now)
        return None if entry is None else entry[:3]

    def peek(self, now: float) -> T | None:
        """Return the best item without taking it, None when empty."""
        entry = self._top(now)
        return None if entry is None else next(iter(entry[4].items.values()))

    def pop(self, now: float) -> T:
        """Take the best item; raises `IndexError` when empty."""
        item = self.take(now)
        if item is None:
            raise IndexError("pop from an empty ProgramQueue")
        return item

    def take(self, now: float, *, only_needed: bool = False) -> T | None:
        """Take the best item; None when empty, or if it is speculative and may not be."""
        entry = self._top(now)
        if entry is None or (only_needed and entry[0]):
            return None
        item_id, item = next(iter(entry[4].items.items()))
        self._drop(item_id)
        return item

    def push_take(
        self, demand: Demand, item_id: str, item: T, now: float, *, is_speculative: bool = False
    ) -> T | None:
        """Do as `push` and then `take` would, cheaply where the item itself is the best.

        Like `heapq.heappushpop`: the next call of a program that holds slots mostly goes out at
        once.
        """
        top = self._top(now)
        if demand.program not in self._lanes[is_speculative]:
            if demand.crossed_at is None:
                self._age(demand)
            key = self._key(demand)
            if top is None or (is_speculative, key, demand.number) < top[:3]:
                return item
        self.push(demand, item_id, item, is_speculative=is_speculative)
        return self.take(now)

    def remove(self, item_id: str) -> T | None:
        """Take one item out wherever it stands; None if it is not here."""
        lane = self._home.get(item_id)
        if lane is None:
            return None
        item = lane.items[item_id]
        self._drop(item_id)
        return item

    def items_of(self, program: str) -> list[T]:
        """Return a program's items in order, needed ones first."""
        lanes = [known[program] for known in self._lanes if program in known]
        return [item for lane in lanes for item in lane.items.values()]

    def update(self, program: str) -> None:
        """Rank a program anew after its demand has changed; no matter if it is not here."""
        for lanes in self._lanes:
            lane = lanes.get(program)
            if lane is not None:
                self._rank(lane)

    def advance(self, now: float) -> None:
        """Re-rank the programs whose keys change by themselves at or before `now`."""
        self._now = now
        while self._changes and self._changes[0][0] <= now:
            due, _, lane = heappop(self._changes)
            if lane.items and lane.due == due:
                lane.due = inf
                self._age(lane.demand)
                self._rank(lane)

    def _age(self, demand: Demand) -> None:
        if self._aging_factor and demand.crossed_at is None:
            crosses = self.crossing(demand)
            if crosses <= self._now:
                demand.crossed_at = crosses

    def _changes_at(self, demand: Demand) -> float:
        changes = self._ordering.changes_at(demand)
        if changes is None or changes <= self._now:
            changes = inf
        if self._aging_factor and demand.crossed_at is None:
            changes = min(changes, self.crossing(demand))
        return changes

    def _lane(self, demand: Demand, is_speculative: bool) -> _Lane[T]:
        lanes = self._lanes[is_speculative]
        lane = lanes.get(demand.program)
        if lane is None:
            lane = lanes[demand.program] = _Lane(demand, is_speculative)
        return lane

    def _key(self, demand: Demand) -> Key:
        demand.as_of = self._now
        crossed = demand.crossed_at
        return (1, *self._ordering.key(demand)) if crossed is None else (0, crossed)

    def _rank(self, lane: _Lane[T]) -> None:
        demand = lane.demand
        key = self._key(demand)
        if key != lane.key:
            self._stamps += 1
            lane.key, lane.stamp = key, self._stamps
            heappush(self._heap, (lane.is_speculative, key, demand.number, lane.stamp, lane))
        changes_at = self._changes_at(demand)
        if changes_at < lane.due:
            lane.due = changes_at
            heappush(self._changes, (changes_at, lane.stamp, lane))
        if len(self._heap) + len(self._changes) > self._compact_at:
            self._compact()
        if self.on_ranked is not None and not lane.is_speculative:
            self.on_ranked(demand, self.crossing(demand))

    def _top(self, now: float) -> _Entry[T] | None:
        self._now = now
        if self._changes and self._changes[0][0] <= now:
            self.advance(now)
        heap = self._heap
        while heap:
            entry = heap[0]
            lane = entry[4]
            if lane.stamp == entry[3] and lane.items:
                return entry
            heappop(heap)
        return None

    def _drop(self, item_id: str) -> None:
        lane = self._home.pop(item_id)
        del lane.items[item_id]
        if not lane.items:
            del self._lanes[lane.is_speculative][lane.demand.program]

    def _size(self) -> int:
        needed, speculative = self._lanes
        return len(needed) + len(speculative)

    def _live(self) -> list[_Entry[T]]:
        return [entry for entry in self._heap if entry[4].items and entry[4].stamp == entry[3]]

    def _compact(self) -> None:
        """Drop the stale entries once they are many for the lanes that there are now."""
        self._compact_at = COMPACT_ABOVE + 8 * self._size()
        if len(self._heap) + len(self._changes) <= self._compact_at:
            return
        self._heap = self._live()
        heapify(self._heap)
        self._changes = [
            entry for entry in self._changes if entry[2].items and entry[2].due == entry[0]
        ]
        heapify(self._changes)
