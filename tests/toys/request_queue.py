"""vLLM's `RequestQueue` over `ProgramQueue`: what the plug-in will do, with toy requests."""

from __future__ import annotations

from dataclasses import dataclass, field

from dynasor.core.ordering import Demand
from dynasor.core.queue import ProgramQueue

__all__ = ["ToyRequest", "ToyRequestQueue"]


@dataclass(eq=False)
class ToyRequest:
    """A request as an engine sees it: an id, its program, and that program's hints."""

    request_id: str
    session_id: str
    knob_left: int = 1
    tokens_per_knob: float = 1.0
    arrived: float = 0.0


@dataclass(eq=False)
class ToyRequestQueue:
    """Requests of many programs in the order of an ordering; the engine's clock is `now`."""

    ordering: object
    now: float = 0.0
    _demands: dict = field(default_factory=dict)

    def __post_init__(self):
        self._queue = ProgramQueue(self.ordering)

    def add_request(self, request):
        self._queue.push(self._demand(request), request.request_id, request)

    def pop_request(self):
        request = self._queue.pop(self.now)
        self._run(request, +1)
        return request

    def peek_request(self):
        request = self._queue.peek(self.now)
        if request is None:
            raise IndexError("peek from an empty queue")
        return request

    def prepend_request(self, request):
        """Take a preempted request back: it runs no more, and goes before its program's others."""
        self._run(request, -1)
        self._queue.prepend(self._demand(request), request.request_id, request)

    def prepend_requests(self, requests):
        for request in reversed(list(requests)):
            self.prepend_request(request)

    def remove_request(self, request):
        if self._queue.remove(request.request_id) is None:
            raise ValueError(f"{request.request_id} is not queued")

    def remove_requests(self, requests):
        for request in requests:
            self._queue.remove(request.request_id)

    def finish(self, request):
        """Not vLLM's: the plug-in learns of it elsewhere."""
        self._run(request, -1)

    def __bool__(self):
        return len(self._queue) > 0

    def __len__(self):
        return len(self._queue)

    def __iter__(self):
        return iter(self._queue)

    def _demand(self, request):
        known = self._demands.get(request.session_id)
        if known is None:
            number = len(self._demands)
            known = Demand(
                request.session_id, number, "w", "", request.arrived, request.knob_left, 1.0
            )
            self._demands[request.session_id] = known
        known.knob_left = request.knob_left
        known.tokens_per_knob = request.tokens_per_knob
        self._queue.update(request.session_id)
        return known

    def _run(self, request, change):
        self._demands[request.session_id].running += change
        self._queue.update(request.session_id)
