"""In which order a modelled engine takes what waits in it: request-level baselines.

These order calls, not programs: what an engine does that knows nothing of programs. Orders of
programs are the scheduler's (`core.ordering`) and wait there, not here.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, Literal, Protocol, TypeVar

from dynasor.sim.kv import PagedCache, Path

__all__ = ["Fcfs", "Lpm", "Order", "Waiting", "make_waiting"]

Order = Literal["fcfs", "lpm", "lpm-128"]
FALL_BACK_ABOVE = 128
"""SGLang 0.5: `lpm` sorts by arrival while more calls than this wait (schedule_policy.py)."""


class Queued(Protocol):
    """What waits: a call with an id, a program, and a prompt."""

    id: str
    program: str
    path: Path


T = TypeVar("T", bound=Queued)


class Waiting(Protocol[T]):
    """The calls that wait inside an engine."""

    def __len__(self) -> int:
        """Return how many wait."""

    def add(self, item: T) -> None:
        """Append a call."""

    def put_back(self, item: T) -> None:
        """Put a preempted call before the others."""

    def head(self, cache: PagedCache) -> T | None:
        """Return the call that comes next, None when none waits."""

    def remove(self, call: str) -> T | None:
        """Take a call out; None if it does not wait here."""

    def retire(self, program: str) -> None:
        """Note that no more calls of a program will come."""


class Fcfs(Generic[T]):
    """First come, first served: vLLM's default, in the order in which calls were submitted.

    With calls of all a program's branches sent at its arrival that is the programs' order too;
    calls that a program sends later queue behind everybody who came meanwhile.
    """

    def __init__(self) -> None:
        self._items: OrderedDict[str, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: T) -> None:
        """Append a call."""
        self._items[item.id] = item

    def put_back(self, item: T) -> None:
        """Put a preempted call before the others."""
        self._items[item.id] = item
        self._items.move_to_end(item.id, last=False)

    def head(self, cache: PagedCache) -> T | None:
        """Return the call that came first."""
        return next(iter(self._items.values()), None)

    def remove(self, call: str) -> T | None:
        """Take a call out."""
        return self._items.pop(call, None)

    def retire(self, program: str) -> None:
        """Nothing is kept of a program."""


class Lpm(Generic[T]):
    """Longest prefix match: SGLang's `lpm`.

    The call whose prompt has the most tokens in the cache comes first, calls that find equally
    much in order of arrival. Of several calls whose common prompt is not cached yet the first
    alone is eligible, as SGLang holds back what a sibling is about to compute; here it stands for
    its program. With `most`, calls come in order of arrival while more than that many wait: what
    SGLang does, because sorting long queues costs it too much.

    SGLang sorts once a step, here every call is looked at anew, but not every program: only those
    that have had calls here, and whoever came first, for it finds what all share. What programs
    share beyond one workload's instructions is not seen across programs, nor what a call leaves
    for others of its program that wait already.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._items: OrderedDict[str, T] = OrderedDict()
        self._programs: dict[str, OrderedDict[str, T]] = {}
        self._warm: dict[str, None] = {}  # waiting programs that may find something
        self._ran: set[str] = set()  # programs that had calls here, and may have more
        self._places: dict[str, int] = {}
        self._last = self._first = 0

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: T) -> None:
        """Append a call."""
        self._items[item.id] = item
        self._programs.setdefault(item.program, OrderedDict())[item.id] = item
        self._last += 1
        self._places[item.id] = self._last
        if item.program in self._ran:
            self._warm[item.program] = None

    def put_back(self, item: T) -> None:
        """Put a preempted call before the others."""
        self.add(item)
        self._items.move_to_end(item.id, last=False)
        self._programs[item.program].move_to_end(item.id, last=False)
        self._first -= 1
        self._places[item.id] = self._first

    def head(self, cache: PagedCache) -> T | None:
        """Return the call that finds most of its prompt in the cache."""
        if not self._items:
            return None
        if self._most is not None and len(self._items) > self._most:
            return next(iter(self._items.values()))
        first = next(iter(self._items.values()))
        best = (-cache.found(first.path), self._places[first.id], first.id)
        for program in list(self._warm):
            waiting = self._programs.get(program)
            item = None if waiting is None else next(iter(waiting.values()))
            found = 0 if item is None else cache.found(item.path)
            if item is None or not found:
                del self._warm[program]
            else:
                best = min(best, (-found, self._places[item.id], item.id))
        return self._items[best[2]]

    def remove(self, call: str) -> T | None:
        """Take a call out; its prompt will be in the cache if it runs now."""
        item = self._items.pop(call, None)
        if item is None:
            return None
        siblings = self._programs[item.program]
        del siblings[call], self._places[call]
        self._ran.add(item.program)
        if siblings:
            self._warm[item.program] = None
        else:
            del self._programs[item.program]
        return item

    def retire(self, program: str) -> None:
        """Forget a program."""
        self._ran.discard(program)


def make_waiting(order: Order) -> Waiting[T]:
    """Return an empty queue of that order."""
    match order:
        case "fcfs":
            return Fcfs()
        case "lpm":
            return Lpm()
        case "lpm-128":
            return Lpm(FALL_BACK_ABOVE)
