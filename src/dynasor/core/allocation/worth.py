"""What going on is worth: the expected value of the votes that a program could still sample.

The leader's share of the votes is taken for the probability that it is right, which is roughly so
on outputs of real models. Votes to come can only raise the expected share of the final winner, by
what they find when they overturn the leader: nothing where the leader is far ahead, little where
no answer will ever have a large share, most where two answers are close.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, lgamma

__all__ = ["worth"]

PRIOR = 0.5
"""Votes that the leader, the runner-up and all others together are thought to have had before the
first one: Jeffreys' prior of three classes."""
NEGLIGIBLE = 1e-12


@lru_cache(maxsize=65536)
def worth(votes: int, leader: int, runner_up: int, left: int) -> tuple[float, int]:
    """Return what a further vote is worth at best, and how many votes make it so.

    The expected value of sample information (Raiffa and Schlaifer, Applied Statistical Decision
    Theory, 1961) of a block of votes, for each vote of it, over the block that maximises it, as in
    the KG(*) policy (Frazier and Powell, 2010; one vote alone mostly changes nothing). `votes` is
    all so far, of which `leader` and `runner_up` are for the two first; `left` may follow. Blocks
    of 1, 2, 4 ... and `left` votes are tried. The worth is a gain in probability, in [0, 1], 0
    where nothing can change any more.
    """
    best, span = 0.0, 0
    size = 1
    while size <= left:
        each = _gain(votes, leader, runner_up, size) / size
        if each > best:
            best, span = each, size
        if size == left:
            break
        size = min(2 * size, left)
    return best, span


def _gain(votes: int, leader: int, runner_up: int, more: int) -> float:
    """Return by how much `more` votes raise the winner's expected share of all votes.

    Of these votes, as many as expected go to the first two; between whole numbers it is linear.
    """
    prior = votes + 3 * PRIOR
    contested = more * (leader + runner_up + 2 * PRIOR) / prior
    whole = int(contested)
    rest = contested - whole
    lead = (1 - rest) * _overtaking(leader, runner_up, whole)
    if rest:
        lead += rest * _overtaking(leader, runner_up, whole + 1)
    return lead / (prior + more)


@lru_cache(maxsize=65536)
def _overtaking(leader: int, runner_up: int, more: int) -> float:
    """Return the runner-up's expected lead after `more` votes for either, 0 where it has none.

    The votes that it gets are beta-binomial. The sum begins at the fewest that overtake, which
    lies above the mode, so that its terms fall.
    """
    fewest = (more + leader - runner_up) // 2 + 1
    if fewest > more:
        return 0.0
    own, other = runner_up + PRIOR, leader + PRIOR
    chance = exp(
        _log_choose(more, fewest)
        + _log_beta(own + fewest, other + more - fewest)
        - _log_beta(own, other)
    )
    expected = 0.0
    for got in range(fewest, more + 1):
        expected += chance * (runner_up - leader + 2 * got - more)
        if chance * more < NEGLIGIBLE:
            break
        if got < more:
            chance *= (more - got) / (got + 1) * (own + got) / (other + more - got - 1)
    return expected


def _log_beta(first: float, second: float) -> float:
    return lgamma(first) + lgamma(second) - lgamma(first + second)


def _log_choose(of: int, chosen: int) -> float:
    return lgamma(of + 1) - lgamma(chosen + 1) - lgamma(of - chosen + 1)
