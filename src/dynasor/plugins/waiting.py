"""`RankedRequests`: the queue of an engine's waiting requests, in the order of their programs.

It has the methods of vLLM's `RequestQueue` and keeps its items in a `ProgramQueue`, the one that
the gateway and the simulator use.

Siblings that share a prompt wait while the first of them computes it in several steps, and find
it in the engine's cache then. An engine that computes a prompt in one step needs no such care:
it files the blocks when it plans the step, so siblings planned with it share them already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from dynasor.core.ordering import Key
from dynasor.core.queue import ProgramQueue
from dynasor.plugins.ranking import KnownProgram, Programs, Request
from dynasor.plugins.settings import PluginSettings

__all__ = ["Prefill", "RankedRequests"]

R = TypeVar("R", bound=Request)


class Prefill:
    """How an engine computes prompts: at most `chunk` tokens of one a step (0: no such limit).

    `block` is how many tokens one block of its cache holds; 0 where nothing is cached.
    """

    __slots__ = ("block", "chunk")

    def __init__(self, chunk: int = 0, block: int = 0) -> None:
        self.chunk = chunk
        self.block = block


class RankedRequests(Generic[R]):
    """Waiting requests of many programs; `begin_step` before each step of the engine.

    While a step is planned time stands still, so that what was looked at is what is taken.
    `clock` returns seconds and never goes back; `programs` knows what the order rests on.
    """

    def __init__(
        self, settings: PluginSettings, slots: int, prefill: Prefill, clock: Callable[[], float]
    ) -> None:
        self.programs = Programs(settings, slots)
        self._clock = clock
        self._ordering = settings.make_ordering()
        self._queue: ProgramQueue[R] = ProgramQueue(
            self._ordering, settings.aging_factor, settings.patience_seconds
        )
        self._prefill = prefill
        self._held: dict[str, dict[str, R]] = {}
        self._head: R | None = None
        self._now = clock()

    def begin_step(self, ended: Iterable[str]) -> list[bytes]:
        """Note the time and the requests that have ended.

        Returns the hashes of cached blocks that will hardly be used again: the own ones of
        programs that have run all they announced. A program that is only idle keeps its own: it
        may come back, and an engine's cache loses what lies longest anyway.
        """
        self._now = self._clock()
        self._head = None
        finished = []
        for request_id in sorted(ended):
            moved = self.programs.ended(request_id, self._now)
            for program in moved:
                self._queue.update(program.demand.program)
            if moved and moved[0].is_spent:
                finished.append(moved[0])
        take = self.programs.footprints.take
        unused = [block for program in finished for block in take(program.demand.program)]
        self.programs.expire(self._now)
        if self._held:
            self._release_all()
        return unused

    def worst_first(self, running: Iterable[R]) -> list[R]:
        """Return running requests in the order of their programs, the worst one first.

        Within a program the one that started last is the worst: it has the least to lose.
        """
        known = self.programs.requests
        placed = [
            (self._rank(known[request.request_id].program), request)
            for request in running
            if request.request_id in known
        ]
        placed.sort(key=lambda one: (one[0], known[one[1].request_id].started or 0.0))
        return [request for _, request in reversed(placed)]

    def _rank(self, program: KnownProgram) -> tuple[Key, int]:
        """Return where a program stands that may have nothing waiting, as the queue ranks it."""
        demand = program.demand
        crosses = self._queue.crossing(demand)
        if crosses <= self._now:
            return (0, crosses), demand.number
        demand.as_of = self._now
        return (1, *self._ordering.key(demand)), demand.number

    # The methods of vLLM's RequestQueue.

    def add_request(self, request: R) -> None:
        """Append a request to its program's."""
        self._now = self._clock()
        self._head = None
        program = self.programs.arrived(request, self._now)
        self._queue.update(program.demand.program)
        self._queue.push(program.demand, request.request_id, request)

    def peek_request(self) -> R:
        """Return the best request that may start; raises `IndexError` where there is none."""
        if self._head is None:
            self._head = self._find_head()
        if self._head is None:
            raise IndexError("peek from an empty queue")
        return self._head

    def pop_request(self) -> R:
        """Take the best request that may start; raises `IndexError` where there is none."""
        request = self.peek_request()
        self._head = None
        self._queue.remove(request.request_id)
        program = self.programs.started(request, self._now)
        if self._prefill.chunk and (program.leader is None or not self._is_computing(program)):
            program.leader = request
        self._queue.update(program.demand.program)
        return request

    def prepend_request(self, request: R) -> None:
        """Put a request back before its program's others."""
        self._head = None
        self.programs.arrived(request, self._now)
        program = self.programs.stopped(request)
        if program.demand.program in self._held and not self._is_computing(program):
            self._release(program)
        self._queue.update(program.demand.program)
        self._queue.prepend(program.demand, request.request_id, request)

    def prepend_requests(self, requests: Iterable[R]) -> None:
        """Put requests back, the last one first."""
        for request in list(requests):
            self.prepend_request(request)

    def remove_request(self, request: R) -> None:
        """Take one request out; raises `ValueError` if it does not wait here."""
        if not self._discard(request):
            raise ValueError(f"request {request.request_id} does not wait here")

    def remove_requests(self, requests: Iterable[R]) -> None:
        """Take out those of the requests that wait here."""
        for request in list(requests):
            self._discard(request)

    def __bool__(self) -> bool:
        """Say whether a request may start now."""
        if self._head is None:
            self._head = self._find_head()
        return self._head is not None

    def __len__(self) -> int:
        """Return how many wait, those that may not start yet among them."""
        return len(self._queue) + sum(map(len, self._held.values()))

    def __iter__(self) -> Iterator[R]:
        """Yield all that wait: those that may start, best first, then the others."""
        yield from self._queue
        for held in self._held.values():
            yield from held.values()

    # Siblings.

    def _find_head(self) -> R | None:
        while (request := self._queue.peek(self._now)) is not None:
            program = self.programs.requests[request.request_id].program
            if not self._gains(program, request):
                return request
            self._queue.remove(request.request_id)
            self._held.setdefault(program.demand.program, {})[request.request_id] = request
        return None

    def _gains(self, program: KnownProgram, request: R) -> bool:
        """Return whether the next block that the program's leader computes is a request's too."""
        leader, block = program.leader, self._prefill.block
        if leader is None or not block or not self._is_computing(program):
            return False
        place = leader.num_computed_tokens // block
        ours, theirs = request.block_hashes, leader.block_hashes
        return place < len(ours) and place < len(theirs) and ours[place] == theirs[place]

    def _is_computing(self, program: KnownProgram) -> bool:
        """Return whether the leader's prompt takes it more than the step that is planned now."""
        leader = program.leader
        if leader is None:
            return False
        return leader.num_tokens - leader.num_computed_tokens > self._prefill.chunk

    def _release_all(self) -> None:
        """Let those wait in order again whose leader ends its prompt in this step."""
        for held in list(self._held.values()):
            program = self.programs.requests[next(iter(held))].program
            if not self._is_computing(program):
                self._release(program)

    def _release(self, program: KnownProgram) -> None:
        for request_id, request in reversed(self._held.pop(program.demand.program).items()):
            self._queue.prepend(program.demand, request_id, request)

    def _discard(self, request: R) -> bool:
        self._head = None
        request_id = request.request_id
        if self._queue.remove(request_id) is not None:
            return True
        for name, held in self._held.items():
            if held.pop(request_id, None) is not None:
                if not held:
                    del self._held[name]
                return True
        return False
