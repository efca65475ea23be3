from __future__ import annotations

import asyncio
import gc
import multiprocessing

import pytest

from dynasor.core.errors import DynasorError
from dynasor.tasks import tasks
from dynasor.workers.verdicts import Verdict
from dynasor.workers.worker import MOST_CHARACTERS, MOST_PAIRS, Worker, _trip


def test_a_trip_fits_a_pipe():
    """A request is cut so that sending it can never block."""
    assert len(_trip([("a", "b")] * 1_000)) == MOST_PAIRS
    sizes = [len(a) + len(b) for a, b in _trip([("a" * 2_000, "b" * 2_000)] * 1_000)]
    assert sum(sizes) <= MOST_CHARACTERS


def test_a_trip_takes_at_least_one_pair():
    """A pair larger than a request goes alone, and no pair never goes at all."""
    assert len(_trip([("a" * MOST_CHARACTERS, "b")] * 2)) == 1


async def test_nothing_starts_for_nothing():
    """Judging no pairs, and closing, start no process."""
    worker = Worker(tasks, 1.0)
    assert await worker.judge("math", []) == []
    await worker.close()


async def test_a_closed_worker_says_so():
    """Judging after close raises instead of starting a process that nobody ends."""
    worker = Worker(tasks, 1.0)
    await worker.close()
    with pytest.raises(DynasorError, match="closed"):
        await worker.judge("math", [("x", "y")])


@pytest.mark.process
async def test_a_process_that_cannot_start_gives_no_verdict(faulty):
    """Two failed starts in a row end the attempt: it neither hangs nor tries for ever."""
    worker = Worker(faulty.stillborn, 1.0)
    assert await worker.judge("faulty", [("ab", "ba"), ("ab", "cd")]) == []
    await worker.close()


@pytest.mark.process
async def test_an_idle_process_that_died_is_replaced(faulty):
    """A process that the system killed between two requests costs neither of them."""
    worker = Worker(faulty.registry, 5.0)
    assert await worker.judge("faulty", [("ab", "ba")]) == [Verdict.SAME]
    for process in multiprocessing.active_children():
        process.kill()
    await asyncio.sleep(0.5)
    assert await worker.judge("faulty", [("ab", "ba")]) == [Verdict.SAME]
    await worker.close()


@pytest.mark.process
async def test_a_request_longer_than_one_trip_is_decided_whole(faulty):
    """Verdicts of several trips come back as one list, in order."""
    worker = Worker(faulty.registry, 5.0)
    pairs = [(str(number), "x") for number in range(MOST_PAIRS + 50)] + [("ab", "ba")]
    verdicts = await worker.judge("faulty", pairs)
    await worker.close()
    assert verdicts == [Verdict.DIFFERENT] * (len(pairs) - 1) + [Verdict.SAME]


@pytest.mark.process
async def test_who_was_cancelled_leaves_no_complaint(faulty):
    """Closing after the caller was cancelled tells nobody of an error that nobody fetched."""
    complaints = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, story: complaints.append(story["message"])
    )
    worker = Worker(faulty.registry, 5.0)
    judging = asyncio.ensure_future(worker.judge("faulty", [("hang", "x")]))
    while worker._trip is None:
        await asyncio.sleep(0)
    judging.cancel()
    await asyncio.wait([judging])
    await worker.close()
    for _ in range(3):  # rounds of the loop: the trip's end reaches whoever waited for it
        await asyncio.sleep(0)
    del worker, judging
    gc.collect()
    assert complaints == []
