"""The queue of an engine's waiting requests, in the order of their programs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.engine_requests import Bench, Request, hinted

from dynasor.plugins.waiting import Prefill

SESSIONS = st.one_of(st.none(), st.sampled_from("abc"))
DOINGS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "pop", "preempt", "end", "remove", "skip", "wait"]),
        SESSIONS,
        st.integers(0, 9),
    ),
    max_size=60,
)


def test_least_remaining_work_first():
    """Programs run in the order of their remaining work, all requests of one together."""
    bench = Bench()
    bench.add(*(hinted(f"big {one}", "big", 4) for one in range(4)))
    bench.add(*(hinted(f"small {one}", "small", 2) for one in range(2)))
    assert bench.drain() == ["small 0", "small 1", "big 0", "big 1", "big 2", "big 3"]


@given(st.lists(st.integers(1, 300), min_size=1, max_size=30), st.integers(1, 4))
def test_plain_requests_come_in_order_of_arrival(lengths, slots):
    """Requests without session and hints start first come, first served, whatever was learned."""
    bench, running, started = Bench(slots=slots), [], []
    for one, tokens in enumerate(lengths):
        bench.add(Request(str(one)))
        bench.now += tokens
        bench.queue.begin_step([request.request_id for request in running])
        running = []
        if bench.queue:
            request = bench.queue.pop_request()
            started.append(request.request_id)
            request.end(tokens)
            running = [request]
    started += bench.drain()
    assert started == [str(one) for one in range(len(lengths))]


def test_what_was_looked_at_is_taken():
    """Between a look and the taking nothing changes places, though a program's time has come."""
    bench = Bench(ordering="sjf", aging_factor=1.0, patience_seconds=5.0)
    bench.add(hinted("old", "old", 900, 900))
    bench.now += 4.0
    bench.add(hinted("new", "new", 1))
    bench.queue.begin_step(())
    assert bench.queue.peek_request().request_id == "new"
    bench.now += 4.0
    assert bench.queue.pop_request().request_id == "new"


def test_long_waiting_programs_go_first():
    """A program that has waited too long goes before smaller ones: by its own size, or at last."""
    bench = Bench(ordering="sjf", aging_factor=2.0, patience_seconds=8.0)
    bench.add(hinted("huge", "huge", 900, 900))
    bench.now += 7.9
    bench.add(hinted("tiny", "tiny", 1, 1))
    bench.queue.begin_step(())
    assert bench.queue.peek_request().request_id == "tiny"
    bench.now += 0.2
    bench.queue.begin_step(())
    assert bench.queue.peek_request().request_id == "tiny"  # it has crossed first
    bench.queue.remove_request(bench.queue.peek_request())
    bench.add(hinted("late", "late", 1, 1))
    assert bench.queue.peek_request().request_id == "huge"


def test_preempted_request_comes_back_first():
    """A request that lost its slot stands before its siblings again."""
    bench = Bench()
    bench.add(*(hinted(str(one), "s", 3) for one in range(3)))
    first = bench.queue.pop_request()
    bench.queue.prepend_request(first)
    assert bench.drain() == ["0", "1", "2"]


def test_skipped_requests_keep_their_order():
    """Requests that the engine skipped, put back as it does, stand as they stood."""
    bench = Bench()
    bench.add(*(hinted(str(one), "s", 4) for one in range(4)))
    skipped = [bench.queue.pop_request() for _ in range(3)]
    bench.queue.prepend_requests(reversed(skipped))
    assert bench.drain() == ["0", "1", "2", "3"]


def test_worst_first():
    """Victims are the requests of the program with the most work left, its youngest first."""
    bench = Bench()
    bench.add(hinted("small", "small", 1), hinted("big 0", "big", 9), hinted("big 1", "big", 9))
    running = []
    for _ in range(3):
        bench.now += 1.0
        bench.queue.begin_step(())
        running.append(bench.queue.pop_request())
    worst = [request.request_id for request in bench.queue.worst_first(running)]
    assert worst == ["big 1", "big 0", "small"]


def test_unused_blocks():
    """A program that has run all it announced offers its own blocks; one with more to run none."""
    bench = Bench()
    done, more = hinted("done", "done", 1), hinted("more", "more", 2)
    done.block_hashes, more.block_hashes = [b"shared", b"1", b"2"], [b"shared", b"3"]
    bench.add(done, more)
    bench.drain()
    done.end(5)
    more.end(5)
    assert bench.queue.begin_step(["done", "more"]) == [b"2", b"1"]


def siblings(chunk: int = 4) -> tuple[Bench, list[Request]]:
    """Three siblings of one prompt of three blocks of two tokens; the first has started."""
    bench = Bench(Prefill(chunk, 2))
    requests = [hinted(str(one), "s", 3) for one in range(3)]
    for request in requests:
        request.block_hashes, request.num_tokens = [b"a", b"b", b"c"], 7
    bench.add(*requests)
    bench.queue.begin_step(())
    bench.queue.pop_request()
    return bench, requests


def test_siblings_wait_for_the_prompt():
    """Siblings wait while the first computes their prompt, and no longer: others may start."""
    bench, requests = siblings()
    bench.add(hinted("other", "t", 99))
    assert bench.drain() == ["other"]
    assert len(bench.queue) == 2
    assert [request.request_id for request in bench.queue] == ["1", "2"]
    requests[0].num_computed_tokens = 4
    bench.queue.begin_step(())
    for request in requests[1:]:
        assert bench.queue.pop_request() is request
        request.num_computed_tokens = 6  # found in the cache


def test_siblings_of_another_prompt_do_not_wait():
    """A sibling whose prompt differs in the next block starts at once."""
    bench, requests = siblings()
    requests[1].block_hashes = [b"x", b"y"]
    assert bench.drain() == ["1"]


@pytest.mark.parametrize("how", ["preempted", "ended"])
def test_siblings_do_not_wait_for_one_that_left(how):
    """When the one that computes the prompt loses its slot or is taken back, others begin."""
    bench, requests = siblings()
    assert bench.drain() == []
    if how == "preempted":
        bench.queue.prepend_request(requests[0])
        assert bench.drain() == ["0"]
        return
    requests[0].end(0, "abort")
    bench.queue.begin_step(["0"])
    assert bench.queue.pop_request().request_id == "1"
    assert not bench.queue
    assert len(bench.queue) == 1


def test_held_siblings_can_be_taken_back():
    """Requests that wait for a prompt can be removed like all others."""
    bench, requests = siblings()
    assert bench.drain() == []
    bench.queue.remove_requests(requests)
    assert len(bench.queue) == 0
    assert not list(bench.queue)


def test_empty():
    """An empty queue has no head, and nothing can be removed from it."""
    queue = Bench().queue
    assert not queue
    with pytest.raises(IndexError):
        queue.peek_request()
    with pytest.raises(IndexError):
        queue.pop_request()
    with pytest.raises(ValueError, match="request 1 does not wait here"):
        queue.remove_request(Request("1"))


@given(DOINGS, st.integers(0, 3), st.sampled_from(["rescue", "sjf", "gang", "app-fifo", "plas"]))
def test_nothing_is_lost(doings, chunk, ordering):
    """Whatever an engine does, each request is here once, or running, or gone; then all is gone."""
    bench = Bench(Prefill(chunk, 1), ordering=ordering, idle_seconds=5.0)
    queue, running, waiting, serial = bench.queue, {}, {}, 0
    for doing, session, number in doings:
        bench.now += number
        if doing == "add":
            serial += 1
            request = Request(f"r{serial}", session, {"dynasor_knob_left": number})
            request.block_hashes, request.num_tokens = [b"1", b"2", b"3"], 4
            waiting[request.request_id] = request
            bench.add(request)
        elif doing in {"pop", "skip"} and queue:
            head = queue.peek_request()
            assert queue.pop_request() is head
            if doing == "skip":
                queue.prepend_requests([head])
            else:
                running[head.request_id] = waiting.pop(head.request_id)
        elif doing == "preempt" and running:
            name, request = running.popitem()
            waiting[name] = request
            queue.prepend_request(request)
        elif doing in {"end", "remove"} and (running if doing == "end" else waiting):
            name, request = (running if doing == "end" else waiting).popitem()
            request.end(number, "stop" if doing == "end" else "abort")
            queue.remove_requests([request])
            queue.begin_step([name])
        elif doing == "wait":
            for request in running.values():
                request.num_computed_tokens += 1
            queue.begin_step(())
        assert sorted(request.request_id for request in queue) == sorted(waiting)
        assert len(queue) == len(waiting)
        assert len(queue.worst_first(running.values())) == len(running)
    for request in [*waiting.values(), *running.values()]:
        request.end(1, "abort")
    queue.remove_requests(list(waiting.values()))
    queue.begin_step([*waiting, *running])
    bench.now += 10.0
    queue.begin_step(())
    assert (len(queue), len(queue.programs), len(queue.programs.requests)) == (0, 0, 0)
    assert len(queue.programs.footprints) <= 3  # shared ones
