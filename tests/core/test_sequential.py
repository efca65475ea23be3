from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.policies import play, view, votes_of, voting

from dynasor.core.allocation import Beta, Grant, Sequential, Stop, View, posterior
from dynasor.core.errors import ConfigError

GROUPS = st.lists(st.sampled_from([0, 1, 2, 3, None]), min_size=1, max_size=30)


@given(groups=GROUPS, width=st.sampled_from([1, 4, None]), confidence=st.floats(0.5, 1.0))
def test_without_a_fall_it_is_beta(groups, width, confidence):
    """With `final` equal to `confidence` and no futility it decides as `beta` does."""
    ours = Sequential(confidence=confidence, final=confidence, in_flight=width)
    beta = Beta(confidence=confidence, in_flight=width)
    assert play(ours, groups, len(groups)) == play(beta, groups, len(groups))


def test_less_is_asked_for_near_the_cap():
    """The same lead that is too small early is enough when little is left to run."""
    policy = Sequential(confidence=0.95, final=0.5)
    votes = [0, 1, 0, 1, 0, 1, 0]
    assert 0.6 < posterior(4, 3) < 0.7
    assert policy.decide(voting(*votes, cap=40)) == Grant(4)
    assert policy.decide(voting(*votes, cap=8)) == Stop("certain", 0)


def test_a_tie_goes_on():
    """Two classes of equal size are no reason to stop before the cap, whatever is asked for."""
    assert posterior(2, 2) == 0.5
    assert Sequential(final=0.5001).decide(voting(0, 1, 0, 1, cap=5)) == Grant(1)


def test_futility():
    """From `patience` votes on, a leader with too small a share stops the program."""
    policy = Sequential(confidence=1.0, final=1.0, futility=0.4, patience=5, in_flight=1)
    assert policy.decide(voting(0, 1, 2, 3)) == Grant(1)
    assert policy.decide(voting(0, 1, 2, 3, 4)) == Stop("hopeless", 0)
    assert policy.decide(voting(0, 1, 2, 0, 4)) == Grant(1)


def test_no_answers_at_all_are_futile():
    """Branches without an answer count for futility; there is no leader then."""
    policy = Sequential(futility=0.1, patience=3)
    assert policy.decide(voting(None, None, None)) == Stop("hopeless", None)
    assert Sequential(patience=3).decide(voting(None, None, None)) == Grant(4)


def test_launch_order_is_the_default():
    """Votes that overtook an earlier launch wait for it."""
    votes = votes_of()
    slow, *quick = [votes.launch() for _ in range(6)]
    for ticket in quick:
        votes.record(ticket, 0)
    waiting = View(20, 6, 0, 5, {}, votes)
    assert Sequential().decide(waiting) == Grant(3)
    assert Sequential(order="finish").decide(waiting) == Stop("certain", 0)
    votes.record(slow, 1)
    assert Sequential(confidence=0.9).decide(View(20, 6, 0, 6, {}, votes)) == Stop("certain", 0)


def test_needs_votes():
    """A program that does not vote is refused."""
    with pytest.raises(ConfigError, match="'sequential' needs votes"):
        Sequential().decide(view())
