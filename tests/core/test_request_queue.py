"""`ProgramQueue` behind the methods that vLLM's scheduler calls."""

from __future__ import annotations

import pytest
from toys.request_queue import ToyRequest, ToyRequestQueue

from dynasor.core.ordering import AppFifo, Gang, Sjf


def ids(queue):
    return [request.request_id for request in queue]


def request(name, **hints):
    """Request `a1` belongs to session `a`."""
    return ToyRequest(name, name[0], **hints)


def filled(ordering, *names, **hints):
    queue = ToyRequestQueue(ordering)
    for name in names:
        queue.add_request(request(name, **hints.get(name[0], {})))
    return queue


def test_empty():
    """An empty queue is false, has no length, and raises IndexError as vLLM's deque does."""
    queue = ToyRequestQueue(AppFifo())
    assert not queue
    assert len(queue) == 0
    assert ids(queue) == []
    with pytest.raises(IndexError):
        queue.peek_request()
    with pytest.raises(IndexError):
        queue.pop_request()


def test_peek_is_what_pop_gives():
    """Peeking gives the request that popping will, and iteration shows the whole order."""
    queue = filled(Sjf(), "a1", "b1", "a2", "c1", b={"knob_left": 0}, c={"knob_left": 5})
    order = ids(queue)
    assert order == ["b1", "a1", "a2", "c1"]
    while queue:
        assert len(queue) == len(order)
        assert queue.peek_request().request_id == order[0]
        assert queue.pop_request().request_id == order.pop(0)


def test_gang_keeps_a_program_together():
    """Under gang a program that runs goes on before another begins."""
    queue = filled(Gang(), "a1", "b1", "a2", "b2")
    first = queue.pop_request()
    assert first.request_id == "a1"
    assert ids(queue) == ["a2", "b1", "b2"]
    second = queue.pop_request()
    queue.finish(first)
    queue.add_request(request("a3"))
    assert ids(queue) == ["a3", "b1", "b2"]
    queue.finish(second)
    third = queue.pop_request()
    assert third.request_id == "a3", "a came first"
    assert queue.pop_request().request_id == "b1"
    queue.add_request(request("a4"))
    queue.finish(third)
    assert ids(queue) == ["b2", "a4"], "only b holds a slot"


def test_sjf_hears_the_latest_hint():
    """Under shortest job first a later request's hint re-ranks what its program has waiting."""
    hints = {"a": {"knob_left": 9}, "b": {"knob_left": 5}}
    queue = filled(Sjf(), "a1", "b1", **hints)
    assert ids(queue) == ["b1", "a1"]
    queue.add_request(request("a2", knob_left=2))
    assert ids(queue) == ["a1", "a2", "b1"]


@pytest.mark.parametrize("ordering", [AppFifo(), Gang(), Sjf()], ids=["fifo", "gang", "sjf"])
def test_preemption(ordering):
    """A preempted request goes back before its program's others, and is the next to run."""
    queue = filled(ordering, "a1", "a2", "b1", "b2")
    running = queue.pop_request()
    queue.prepend_request(running)
    assert ids(queue) == ["a1", "a2", "b1", "b2"]
    assert queue.peek_request() is running


def test_preemption_of_several():
    """Requests preempted together keep their order, each before its program's others."""
    queue = filled(Gang(), "a1", "a2", "a3", "b1")
    running = [queue.pop_request() for _ in range(2)]
    queue.prepend_requests(running)
    assert ids(queue) == ["a1", "a2", "a3", "b1"]


def test_preempted_program_loses_its_place_in_the_gang():
    """A program all of whose requests were preempted ranks by arrival again."""
    queue = filled(Gang(), "a1", "b1", "b2")
    a = queue.pop_request()
    b = queue.pop_request()
    queue.finish(a)
    queue.add_request(request("a2"))
    assert ids(queue) == ["b2", "a2"]
    queue.prepend_request(b)
    assert ids(queue) == ["a2", "b1", "b2"]


def test_remove():
    """Requests are removed one by one or together, wherever they stand."""
    queue = filled(AppFifo(), "a1", "a2", "b1", "b2")
    requests = {one.request_id: one for one in queue}
    queue.remove_request(requests["a1"])
    assert ids(queue) == ["a2", "b1", "b2"]
    with pytest.raises(ValueError, match="a1 is not queued"):
        queue.remove_request(requests["a1"])
    queue.remove_requests([requests["a2"], requests["b2"]])
    assert ids(queue) == ["b1"]
    queue.remove_requests({requests["b1"]})
    assert not queue


def test_requests_without_a_session():
    """Without a session each request is its own program and keeps its turn."""
    queue = ToyRequestQueue(Gang())
    for name in ("x", "y", "z"):
        queue.add_request(ToyRequest(name, name))
    assert [queue.pop_request().request_id for _ in range(3)] == ["x", "y", "z"]
