from __future__ import annotations

from fractions import Fraction
from functools import cache

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dynasor.core.allocation.worth import PRIOR, worth

HALF = Fraction(1, 2)


@cache
def urn(leader, runner_up, more):
    """The runner-up's expected lead after `more` draws from Polya's urn, draw by draw, exactly."""
    if not more:
        return Fraction(max(0, runner_up - leader))
    first, second = leader + HALF, runner_up + HALF
    gets_it = second / (first + second)
    wins = urn(leader, runner_up + 1, more - 1)
    return gets_it * wins + (1 - gets_it) * urn(leader + 1, runner_up, more - 1)


def reference(votes, leader, runner_up, left):
    """The worth again, from the urn: the best block of 1, 2, 4 ... or all."""
    total = votes + 3 * HALF
    blocks = [*(2**n for n in range(12) if 2**n < left), left]
    worths = []
    for block in blocks:
        contested = block * (leader + runner_up + 2 * HALF) / total
        whole = int(contested)
        lead = (1 - contested + whole) * urn(leader, runner_up, whole)
        lead += (contested - whole) * urn(leader, runner_up, whole + 1)
        worths.append((lead / (total + block) / block, block))
    best = max(each for each, _ in worths)
    return float(best), next(block for each, block in worths if each == best)


@st.composite
def states(draw):
    """Votes with a leader and a runner-up among them."""
    leader = draw(st.integers(0, 14))
    runner_up = draw(st.integers(0, leader))
    return leader + runner_up + draw(st.integers(0, 12)), leader, runner_up


@given(state=states(), left=st.integers(1, 20))
def test_it_is_the_urns(state, left):
    """The worth is that of drawing from an urn, to rounding; so is the block where it counts."""
    each, block = worth(*state, left)
    expected, best = reference(*state, left)
    assert each == pytest.approx(expected, rel=1e-9, abs=1e-11)
    if expected > 1e-6:
        assert worth(*state, min(block, left))[0] == pytest.approx(expected, rel=1e-9)
        assert block == pytest.approx(best) or each == pytest.approx(expected)


@given(state=states(), left=st.integers(0, 200))
def test_bounds(state, left):
    """The worth is a small probability, and its block no longer than what is left."""
    each, block = worth(*state, left)
    assert 0.0 <= each <= 0.5
    assert 0 <= block <= left
    assert (each > 0) == (block > 0)


@given(state=states(), left=st.integers(0, 14))
def test_a_leader_out_of_reach_is_worth_nothing(state, left):
    """Where the votes left could at most draw level nothing is worth anything."""
    _, leader, runner_up = state
    assume(leader - runner_up >= left)
    assert worth(*state, left) == (0.0, 0)


@given(state=states(), left=st.integers(1, 60))
def test_a_greater_lead_is_worth_less(state, left):
    """One vote more for the leader never raises what the others are worth."""
    votes, leader, runner_up = state
    assert worth(votes + 1, leader + 1, runner_up, left)[0] <= worth(*state, left)[0] + 1e-12


def test_small_shares_are_worth_less():
    """Two answers that tie are worth more when they have most votes than when they have few."""
    tied = [worth(votes, 2, 2, 20)[0] for votes in (4, 8, 16, 32)]
    assert tied == sorted(tied, reverse=True)
    assert tied[0] > 10 * tied[-1]


def test_one_vote_after_a_tie():
    """After one vote each, the next gives one of them half a chance of a lead of one."""
    total = 2 + 3 * PRIOR
    gain = (2 + 2 * PRIOR) / total * 0.5 / (total + 1)
    assert worth(2, 1, 1, 1) == (pytest.approx(gain), 1)


def test_many_votes():
    """Thousands of votes neither overflow nor vanish where two answers are close."""
    each, block = worth(4000, 2000, 2000, 4000)
    assert 0 < each < 1e-3
    assert block
    assert worth(4000, 3999, 1, 4000)[0] < 1e-12
