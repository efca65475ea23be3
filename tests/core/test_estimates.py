from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.core.estimates import RateEstimate, UnitsEstimate, WorkloadEstimate


def test_prior():
    """Before anything was measured an estimate is its prior."""
    assert WorkloadEstimate(256.0).published == 256.0
    assert RateEstimate(0.02).seconds_per_token == 0.02


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 5))))
def test_published_follows(samples):
    """The published value is always within a tenth of the mean, and moves only when told so."""
    estimate, tokens, knobs = WorkloadEstimate(100.0), 0, 0
    for sample in samples:
        before = estimate.published
        has_moved = estimate.add(*sample)
        tokens, knobs = tokens + sample[0], knobs + sample[1]
        assert has_moved == (estimate.published != before)
        if knobs:
            reference = estimate.published if not has_moved else tokens / knobs
            assert abs(tokens / knobs - estimate.published) <= 0.1 * reference + 1e-9
        else:
            assert estimate.published == 100.0


def test_small_moves_are_not_published():
    """A mean that moves by less than a tenth re-ranks nobody."""
    estimate = WorkloadEstimate(100.0)
    assert not estimate.add(109, 1)
    assert estimate.published == 100.0
    assert estimate.add(120, 1)
    assert estimate.published == 114.5


def test_rate_takes_the_first_sample():
    """The first measurement replaces the prior, later ones move the mean by a twentieth."""
    rate = RateEstimate(0.02)
    rate.add(10.0, 100)
    assert rate.seconds_per_token == 0.1
    rate.add(30.0, 100)
    assert rate.seconds_per_token == pytest.approx(0.11)


def test_rate_ignores_empty_calls():
    """A call without tokens says nothing about the rate."""
    rate = RateEstimate(0.02)
    rate.add(10.0, 0)
    assert rate.seconds_per_token == 0.02
    rate.add(1.0, 10)
    assert rate.seconds_per_token == 0.1


def test_units_left_without_a_past():
    """Before enough programs have ended, what is left of the cap is expected."""
    units = UnitsEstimate()
    assert units.left(0, 0.0, 20) == 20
    for _ in range(3):
        units.learn([(4, 1.0)], 4)
    assert units.left(4, 1.0, 20) == 16
    assert units.published is None


def test_units_left_by_certainty():
    """Who stands where others were nearly done is nearly done; who is less certain is not."""
    units = UnitsEstimate()
    for _ in range(4):
        units.learn([(4, 1.0)], 4)
        units.learn([(4, 0.1), (10, 0.3)], 20)
    assert units.left(4, 1.0, 20) == 0
    assert units.left(4, 0.2, 20) == 16
    assert units.left(4, 0.6, 20) == 8, "of no such certainty, the mean of all"
    assert units.left(0, 0.0, 20) == units.published == pytest.approx(12, rel=0.2)


@given(
    st.lists(st.tuples(st.integers(1, 30), st.floats(0, 1), st.integers(0, 30)), max_size=40),
    st.integers(0, 40),
    st.floats(0, 1),
    st.integers(1, 40),
)
def test_units_left_within_the_cap(ended, knob, certainty, cap):
    """What is expected lies between nothing and what is left of the cap."""
    units = UnitsEstimate()
    for settled, sure, more in ended:
        units.learn([(settled, sure)], settled + more)
    assert 0 <= units.left(knob, certainty, cap) <= max(0, cap - knob)


def test_units_follow_a_workload_that_changes():
    """After some hundreds of programs of another kind the old ones are forgotten."""
    units = UnitsEstimate()
    for _ in range(1000):
        units.learn([], 20)
    for _ in range(1000):
        units.learn([], 2)
    assert units.left(0, 0.0, 20) == pytest.approx(2, abs=0.5)
