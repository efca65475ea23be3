from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.core.estimates import RateEstimate, WorkloadEstimate


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
