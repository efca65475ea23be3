"""What a cluster can carry."""

from __future__ import annotations

import pytest
from toys.experiments import engine, even_urn, experiment, urn

from dynasor.core.types import PolicySpec
from dynasor.online import capacity
from dynasor.online.capacity import at_load, even_capacity
from dynasor.online.cluster import Cluster
from dynasor.online.run import simulate
from dynasor.online.systems import make_system
from dynasor.online.workload import Deadline, Timetable, WorkloadError

CLUSTER = Cluster(engine())


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    """Measure with fewer programs than figures need."""
    monkeypatch.setattr(capacity, "FEWEST", 96)


def batch_seconds(calls, programs, tokens=30):
    """How long `calls` calls of so many programs take together, with prompts of 20 tokens."""
    prompts = 20 * programs + 4 * (calls - programs)
    step = engine().step
    return step.of(prompts, 0, 0) + step.stretch(tokens - 1, 0, calls, calls * 21)


@pytest.mark.parametrize("cap", [1, 2, 4, 8])
def test_by_hand(cap):
    """Equal calls run in full batches: a batch's programs over its seconds, to the last digit."""
    one = experiment(even_urn(30), cluster=CLUSTER, programs=1, cap=cap)
    programs = 8 // cap
    assert even_capacity(one) == programs / batch_seconds(8, programs)


@pytest.mark.parametrize("replicas", [2, 3])
def test_replicas(replicas):
    """Replicas carry as many times as much."""
    one = experiment(even_urn(30), cluster=Cluster(engine(), replicas), programs=1, cap=2)
    assert even_capacity(one) == pytest.approx(4 * replicas / batch_seconds(8, 4), rel=1e-12)


def test_more_branches_than_slots():
    """A cap beyond what runs at once is carried in turns."""
    one = experiment(even_urn(30, 16), cluster=CLUSTER, programs=1, cap=16)
    first, second = batch_seconds(8, 1), batch_seconds(8, 1) - engine().step.of(16, 0, 0)
    assert 1 / (first + second) < even_capacity(one) * 1.01 < 1.05 / (first + second)


def test_only_the_workload_matters():
    """Policies, deadlines, the horizon, the length and the arrivals of a workload play no part."""
    plain = even_capacity(experiment(urn(), programs=5))
    rest = {"policy": "beta:confidence=0.9", "lock": False, "deadline": Deadline(1e-3)}
    assert even_capacity(experiment(urn(), programs=9, rate=7.0, horizon=1.0, **rest)) == plain
    assert even_capacity(experiment(urn(), duration_seconds=0.5, rate=0.01)) == plain


def test_carried():
    """At twice the capacity programs end at about the capacity; at half of it, as they come."""
    one = experiment(urn(40), cluster=CLUSTER, programs=300, rate=1.0)
    most = even_capacity(one)
    for load in (0.5, 2.0):
        found = simulate(at_load(one, load, most), make_system("gang", PolicySpec("even")))
        served = len(found) / (found.totals.end - found.arrived[0])
        assert served == pytest.approx(min(load, 1.0) * most, rel=0.1)


def test_at_load():
    """A load is a rate in units of the capacity; what arrives together has none."""
    assert at_load(experiment(urn(), programs=1, rate=9.0), 0.5, 3.0).workload.arrivals.rate == 1.5
    with pytest.raises(WorkloadError, match="all programs arrive together"):
        at_load(experiment(urn(), programs=1), 0.5, 3.0)
    assert Timetable("t.jsonl", rate=1.5)
