from __future__ import annotations

import contextvars
from multiprocessing import Pipe

import pytest

from dynasor.workers import bench
from dynasor.workers.bench import Bench, judge
from dynasor.workers.verdicts import STARTED, Verdict


@pytest.fixture
def inbox(faulty):
    """Make this process a worker's bench, and return what hears its reports."""
    inbox, outbox = Pipe(duplex=False)
    token = bench._BENCH.set(Bench(faulty.registry(), outbox, 5.0))
    yield inbox
    bench._BENCH.reset(token)
    inbox.close()
    outbox.close()


def heard(inbox):
    reports = []
    while inbox.poll():
        reports.append(inbox.recv_bytes())
    return reports


def test_decides_up_to_the_first_match(inbox):
    """A list of pairs is decided in order, and what follows a match is not looked at."""
    pairs = [("ab", "cd"), ("ab", "ba"), ("ab", "hang")]
    assert judge("faulty", pairs) == [Verdict.DIFFERENT, Verdict.SAME]


def test_reports_each_verdict_as_it_falls(inbox):
    """The pipe carries a byte for the beginning and one for every verdict."""
    judge("faulty", [("ab", "cd"), ("ab", "ba")])
    assert heard(inbox) == [STARTED, b"!", b"="]


@pytest.mark.parametrize("trap", ["raise", "quit"])
def test_an_exception_is_a_failure_of_its_pair_only(inbox, trap):
    """What a comparison raises, SystemExit included, costs no other verdict."""
    verdicts = judge("faulty", [(trap, "cd"), ("ab", "ba")])
    assert verdicts == [Verdict.FAILED, Verdict.SAME]


def test_a_context_without_bench_is_no_worker():
    """The bench belongs to a worker process: importing the module sets up nothing."""
    with pytest.raises(LookupError):
        contextvars.Context().run(judge, "faulty", [("ab", "cd")])
