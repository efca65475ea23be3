"""Measures of a run, against values by hand."""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf, isinf, isnan
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.simulated import simulated

from dynasor.core.errors import UserError
from dynasor.online.measures import (
    attainment,
    fairness,
    is_saturated,
    jain,
    latencies,
    live_between,
    rank_quantile,
    saturated_throughput,
    tightest_scale,
    waits_over_solo,
)

SECONDS = st.floats(0.01, 1000)
LATENCIES = st.lists(st.one_of(SECONDS, st.just(inf)), min_size=1, max_size=40)

# Attainment.


def test_attainment():
    """Programs that were late, or never ended, missed their deadlines."""
    sim = simulated([1, 5, 6, inf], deadline=5.0)
    assert attainment(sim, warm_up=0.0) == 0.5


def test_attainment_after_the_warm_up():
    """The first programs do not count."""
    sim = simulated([9] * 2 + [1] * 18, deadline=5.0)
    assert attainment(sim) == 1.0
    assert attainment(sim, warm_up=0.0) == 0.9


def test_programs_without_deadline():
    """Who has no deadline is left out; where none has one, there is no attainment."""
    sim = simulated([1, 9, 9, inf], deadline=[5.0, 5.0, inf, inf])
    assert attainment(sim, warm_up=0.0) == 0.5
    assert isnan(attainment(simulated([1, 2])))
    assert isnan(tightest_scale(simulated([1, 2])))
    assert isnan(attainment(simulated([])))


def test_failed_programs_miss():
    """An error that came in time is no deadline met, at any scale."""
    sim = simulated([1, 1], status=["answered", "failed"], deadline=5.0)
    assert attainment(sim, 100.0, warm_up=0.0) == 0.5


def test_enforced_deadlines():
    """Where deadlines ended programs, a wider one cannot be judged, a tighter one can."""
    sim = simulated([1, 3, 5], status=["answered", "answered", "deadline"], deadline=5.0)
    assert attainment(sim, warm_up=0.0) == pytest.approx(2 / 3)
    assert attainment(sim, 0.4, warm_up=0.0) == pytest.approx(1 / 3)
    for measure in (lambda: attainment(sim, 2.0, 0.0), lambda: tightest_scale(sim, 0.9, 0.0)):
        with pytest.raises(UserError, match="deadlines ended 1 programs.*run again"):
            measure()


def test_tightest_scale():
    """Nine of ten programs need at most the ninth longest share of their deadlines."""
    sim = simulated([10.0 * n for n in range(1, 11)], deadline=50.0)
    assert tightest_scale(sim, 0.9, warm_up=0.0) == pytest.approx(1.8)
    assert tightest_scale(sim, 1.0, warm_up=0.0) == pytest.approx(2.0)


def test_no_scale_is_wide_enough():
    """Too many programs that never ended leave no scale."""
    assert isinf(tightest_scale(simulated([1, inf], deadline=5.0), warm_up=0.0))


@given(LATENCIES, st.floats(0.1, 100), st.floats(0.01, 1))
def test_scale_and_attainment_agree(seconds, deadline, at):
    """The tightest scale attains its share, and no smaller scale does."""
    sim = simulated(seconds, deadline=deadline)
    scale = tightest_scale(sim, at, warm_up=0.0)
    if isinf(scale):
        assert np.isfinite(seconds).mean() < at
        return
    assert attainment(sim, scale, warm_up=0.0) >= at - 1e-9
    assert attainment(sim, np.nextafter(scale, 0), warm_up=0.0) < at


@given(LATENCIES, st.floats(0.1, 100), st.floats(0.1, 10), st.floats(1, 10))
def test_attainment_rises_with_the_scale(seconds, deadline, scale, wider):
    """A wider deadline is met by as many programs or more."""
    sim = simulated(seconds, deadline=deadline)
    assert attainment(sim, scale) <= attainment(sim, scale * wider)


# Latency and fairness.


def test_latencies():
    """What has not ended takes for ever; what failed does not count."""
    status = ["answered", "failed", "", "deadline"]
    assert latencies(simulated([1, 2, inf, 4], status=status)).tolist() == [1, inf, 4]


def test_fairness():
    """Latency over the tokens at the full cap, without programs that would use none."""
    sim = simulated([10, 20, inf, 5], full_tokens=[100, 400, 100, 0])
    assert fairness(sim).tolist() == [0.1, 0.05, inf]


def test_jain():
    """Equal values are wholly fair; one of n that has all is 1/n fair."""
    assert jain(np.array([3.0, 3.0, 3.0])) == pytest.approx(1)
    assert jain(np.array([0.0, 0.0, 0.0, 7.0])) == pytest.approx(0.25)
    assert jain(np.array([1.0, 2.0])) == pytest.approx(9 / 10)
    for values in ([], [0.0, 0.0], [1.0, inf]):
        assert isnan(jain(np.array(values)))


amounts = st.one_of(st.just(0.0), st.floats(1e-9, 1e9))


@given(st.lists(amounts, min_size=1, max_size=30).filter(any), st.floats(0.1, 100))
def test_jain_is_between_a_share_and_one(values, factor):
    """The index is between 1/n and 1, and does not depend on the unit."""
    found = jain(np.array(values))
    assert 1 / len(values) - 1e-9 <= found <= 1 + 1e-9
    assert jain(factor * np.array(values)) == pytest.approx(found)


def test_waits_over_solo():
    """The longest wait is measured in times alone; a program of no work has none."""
    sim = simulated([1, 2, inf], solo_seconds=[2, 0, 4], longest_wait=[1, 5, 40])
    assert waits_over_solo(sim).tolist() == [0.5, 10]


@given(LATENCIES, st.floats(0.01, 1))
def test_rank_quantile(values, at):
    """It is one of the values: a share of at least `at` is not above it, and less is below it."""
    found = rank_quantile(np.array(values), at)
    assert found in values
    assert np.mean(np.array(values) <= found) >= at - 1e-9
    assert np.mean(np.array(values) < found) < at


# Load.


def test_saturated_throughput():
    """Tokens count between samples that both saw a call wait."""
    course = [(0, 1, 0, 0, 0), (10, 1, 3, 0, 50), (20, 1, 2, 0, 250), (30, 1, 0, 0, 300)]
    assert saturated_throughput(simulated([1], course=course)) == 20.0


def test_never_saturated_throughput():
    """Where no call ever waited, nothing is known of the engines' limit."""
    assert isnan(saturated_throughput(simulated([1])))
    assert isnan(saturated_throughput(simulated([1], course=[])))


def test_live_between():
    """A mean over time: half of the time one program, and another that never ends."""
    sim = simulated([5, inf], arrived=[0, 2])
    assert live_between(sim, 0.0, 10.0) == pytest.approx((5 + 8) / 10)
    assert live_between(sim, 5.0, 10.0) == pytest.approx(1)


def queue(rate, seed, count=800, servers=20, longest=None):
    """Programs at random times on servers, each for a random time of 10 seconds in the mean."""
    chance = Random(seed)
    now, free = 0.0, [0.0] * servers
    arrived, seconds = [], []
    for _ in range(count):
        now += chance.expovariate(rate)
        start = max(now, heappop(free))
        end = start + chance.expovariate(0.1)
        heappush(free, end)
        arrived.append(now)
        seconds.append(inf if longest is not None and end > longest else end - now)
    return simulated(seconds, arrived=arrived)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
def test_a_queue_that_keeps_up(share, seed):
    """Servers busy up to four fifths of the time are not saturated."""
    assert not is_saturated(queue(2 * share, seed))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("share", [1.5, 2.0, 5.0])
def test_a_queue_that_falls_behind(share, seed):
    """Programs that come half as fast again as they are served, or faster, saturate."""
    assert is_saturated(queue(2 * share, seed))


def test_a_horizon_hides_no_saturation():
    """Programs that the end of the run cut off are live until then."""
    assert is_saturated(queue(5.0, 0, longest=100.0))


@pytest.mark.parametrize("arrived", [[], [3.0], [1.0] * 30])
def test_no_rate(arrived):
    """No program, one alone, or all at once saturate nothing."""
    assert not is_saturated(simulated([100.0] * len(arrived), arrived=arrived))
