from __future__ import annotations

from fractions import Fraction
from itertools import product

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.policies import play, view, votes_of, voting

from dynasor.core.allocation import (
    Beta,
    Even,
    Grant,
    Lock,
    Sequential,
    Shadowing,
    Stepwise,
    Stop,
    Threshold,
    View,
    make_policy,
    policies,
    posterior,
)
from dynasor.core.certaindex import Votes
from dynasor.core.errors import ConfigError, UnknownName
from dynasor.core.types import PolicySpec

# Even.


def test_even_grants_its_cap():
    """Even grants the whole cap at once and stops when all of it is settled."""
    assert Even().decide(view(cap=7)) == Grant(7)
    assert Even().decide(view(knob=6, granted=7, cap=7)) == Grant(0)
    assert Even().decide(view(knob=7, granted=7, cap=7)) == Stop("cap")


def test_even_ignores_certainty():
    """Even goes on however certain the program is."""
    assert Even().decide(view(knob=5, granted=5, entropy=1.0)) == Grant(15)


# Threshold.


@pytest.mark.parametrize(
    ("entropy", "expected"), [(0.69, Grant(15)), (0.7, Stop("certain")), (1.0, Stop("certain"))]
)
def test_threshold_measures(entropy, expected):
    """Threshold grants the rest at once unless the certaindex reaches the threshold."""
    assert Threshold().decide(view(knob=5, granted=5, entropy=entropy)) == expected


def test_threshold_measures_once():
    """Threshold never looks again after its one detection step."""
    for knob in (*range(5), *range(6, 20)):
        granted = 5 if knob < 5 else 20
        assert Threshold().decide(view(knob=knob, granted=granted, entropy=1.0)) == Grant(0)
    assert Threshold().decide(view(knob=20, granted=20, entropy=1.0)) == Stop("cap")


def test_threshold_grants_detect_first():
    """Threshold grants only the detection units first."""
    assert Threshold(detect=3).decide(view()) == Grant(3)


def test_threshold_beyond_the_cap():
    """A detection step above the cap comes down to the cap."""
    assert Threshold(detect=9).decide(view(cap=4)) == Grant(4)
    assert Threshold(detect=9).decide(view(knob=4, granted=4, cap=4, entropy=1.0)) == Stop("cap")


@pytest.mark.parametrize("entropy", [0.84, 0.85])
@pytest.mark.parametrize("reward", [0.98, 0.99])
def test_several_signals(entropy, reward):
    """With several signals every one must reach its own threshold."""
    policy = Threshold(detect=16, at={"entropy": 0.85, "reward": 0.99})
    seen = view(knob=16, granted=16, cap=128, entropy=entropy, reward=reward)
    both = entropy >= 0.85 and reward >= 0.99
    assert policy.decide(seen) == (Stop("certain") if both else Grant(112))


def test_missing_signal():
    """A signal that the program does not have is a configuration error that names those it has."""
    with pytest.raises(ConfigError, match="'reward'; the program has: entropy"):
        Threshold(detect=1, at={"reward": 0.5}).decide(view(knob=1, granted=1, entropy=1.0))


# Stepwise.


def test_stepwise_looks():
    """Stepwise measures after 5, 10 and 15 units and not in between."""
    asked = []

    class Watched(dict):
        def __getitem__(self, key):
            asked.append(self.knob)
            return 0.0

    for knob in range(20):
        granted = min(20, -(-max(knob, 1) // 5) * 5)
        signals = Watched(entropy=0.0)
        signals.knob = knob
        decision = Stepwise().decide(View(20, granted, 0, knob, signals, None))
        assert decision == Grant(5 if knob % 5 == 0 and knob else 0)
    assert asked == [5, 10, 15]


@pytest.mark.parametrize("certain_at", [5, 10, 15])
def test_stepwise_stops(certain_at):
    """Stepwise stops at the first block's end that is certain enough."""
    outcomes = [n if n < certain_at - 5 else 0 for n in range(20)]
    looks, _ = play(
        Stepwise(at=0.7),
        outcomes,
        20,
        lambda votes: {"entropy": float(votes.finished.size >= certain_at)},
    )
    assert looks[-1] == Stop("certain")
    assert len(looks) - 1 == certain_at


def test_stepwise_at_every_step():
    """With `every` 1 stepwise measures after each unit."""
    looks, most = play(Stepwise(every=1, at=0.7), [0, 0, 0], 20)
    assert len(looks) - 1 == 2
    assert most == 1


def test_stepwise_last_block():
    """The last block ends at the cap."""
    assert Stepwise(every=5).decide(view(knob=5, granted=5, cap=7, entropy=0.0)) == Grant(2)


# Beta.


def integral(leader, runner_up):
    """The same probability by exact integration of the posterior's polynomial density."""

    # density ~ p^a (1-p)^b; expand (1-p)^b and integrate term by term.
    def power_integral(low, high):
        total, sign, choose = Fraction(0), 1, 1
        for k in range(runner_up + 1):
            degree = leader + k + 1
            total += sign * choose * (high**degree - low**degree) / degree
            sign, choose = -sign, choose * (runner_up - k) // (k + 1)
        return total

    return power_integral(Fraction(1, 2), Fraction(1)) / power_integral(Fraction(0), Fraction(1))


@given(st.integers(0, 60), st.integers(0, 60))
def test_posterior(leader, runner_up):
    """The posterior is the integral of the Beta density above one half, to the last bit."""
    assert posterior(leader, runner_up) == float(integral(leader, runner_up))


def test_posterior_at_the_decision():
    """Four votes against none are 0.969, three are 0.9375: Beta 0.95 needs four."""
    assert posterior(4, 0) == 0.96875
    assert posterior(3, 0) == 0.9375
    assert posterior(0, 0) == posterior(9, 9) == 0.5


def test_beta_stops_with_its_winner():
    """Beta stops once the leader is probably ahead, and names it."""
    assert Beta().decide(voting(3, 3, 3, granted=7)) == Grant(0)
    assert Beta().decide(voting(3, 3, 3, 3)) == Stop("certain", 3)


def test_beta_looks_from_the_second_vote():
    """One vote is never enough, whatever the confidence; the second one may be."""
    assert Beta(confidence=0.0).decide(voting(0, granted=5)) == Grant(0)
    assert Beta(confidence=0.0).decide(voting(0, 1, granted=6)) == Stop("certain", 0)
    assert Beta(confidence=0.75).decide(voting(0, 0, granted=6)) == Stop("certain", 0)


def test_beta_counts_nulls_as_looks():
    """Nulls make a look possible but never a leader."""
    assert Beta(confidence=0.0).decide(voting(None, None, granted=6)) == Grant(0)
    assert Beta(confidence=0.5).decide(voting(None, 2, granted=6)) == Stop("certain", 2)


@pytest.mark.parametrize(
    ("order", "expected"), [("launch", Grant(0)), ("finish", Stop("certain", 0))]
)
def test_beta_order(order, expected):
    """In launch order a late first branch holds the decision back; in finish order it does not."""
    votes = Votes()
    tickets = [votes.launch() for _ in range(9)]
    for ticket in tickets[1:6]:
        votes.record(ticket, 0)
    seen = view(knob=5, granted=9, votes=votes)
    assert Beta(order=order).decide(seen) == expected


def test_beta_rounds_against_the_leader():
    """Of weighted votes the leader's count for no more than they weigh, the others' for no less."""
    weighted = votes_of((0, 1.0), (0, 1.0), (0, 1.0), (0, 0.9), (1, 0.05))
    seen = view(knob=5, granted=9, votes=weighted)
    assert posterior(3, 1) < 0.9 < posterior(3, 0)
    assert Beta(confidence=0.9).decide(seen) == Grant(0)
    assert Sequential(confidence=0.9, final=0.9).decide(seen) == Grant(0)


def test_beta_stops_at_the_cap():
    """At its cap Beta stops with the leader of the votes that count."""
    assert Beta().decide(voting(0, 1, 1, 0, cap=4)) == Stop("cap", 0)


def test_beta_needs_votes():
    """Beta refuses a program that does not vote."""
    with pytest.raises(ConfigError, match="'beta' needs votes"):
        Beta().decide(view())


def test_beta_speculates_within_the_cap():
    """Speculative units come on top of those in flight, and never beyond the cap."""
    policy = Beta(in_flight=4, speculative=3)
    assert policy.decide(voting(cap=20)) == Grant(4, 3)
    assert policy.decide(voting(cap=6)) == Grant(4, 2)
    assert policy.decide(voting(cap=4)) == Grant(4, 0)


def test_beta_tops_speculation_up():
    """A needed grant promotes speculative units, and as many new ones take their place."""
    seen = voting(0, 1, cap=20, granted=4, speculative=3)
    assert Beta(in_flight=4, speculative=3).decide(seen) == Grant(2, 2)


# In flight.

NEVER_CERTAIN = {  # with the most that its rule lets run at once, and at first
    Even: ({}, 20, 20),
    Threshold: ({"detect": 5, "at": 1.0}, 15, 5),
    Stepwise: ({"every": 4, "at": 1.0}, 4, 4),
    Beta: ({"confidence": 1.0}, 20, 20),
}


@pytest.mark.parametrize("in_flight", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", NEVER_CERTAIN)
def test_in_flight(kind, in_flight):
    """No policy keeps more units running than `in_flight`, and each uses them all if it may."""
    params, widest, _ = NEVER_CERTAIN[kind]
    looks, most = play(kind(**params, in_flight=in_flight), list(range(20)), 20)
    assert looks[-1].reason == "cap"
    assert len(looks) == 21
    assert most == min(in_flight, widest)


@pytest.mark.parametrize("kind", NEVER_CERTAIN)
def test_unbounded(kind):
    """Without `in_flight` each policy grants all that its rule allows at once."""
    params, _, first = NEVER_CERTAIN[kind]
    assert kind(**params, in_flight=None).decide(voting()) == Grant(first)


# Lock.

vote = st.one_of(st.none(), st.integers(0, 3))


def locked_winner(cap, votes, plays):
    """Play until the lock stops; return its winner, or None if it never does."""
    policy = Lock(Even())
    for number, (ticket, *what) in enumerate(plays):
        votes.lose(ticket) if what == ["lost"] else votes.record(ticket, *what)
        seen = View(cap, cap, 0, number + 1, {}, votes)
        decision = policy.decide(seen)
        if decision.__class__ is Stop and decision.reason == "locked":
            assert decision.winner is not None
            return decision.winner
    return None


@given(st.data())
@settings(max_examples=100)
def test_lock_is_lossless(data):
    """Whenever the lock stops its winner is the full vote's, whatever is null, lost or late."""
    groups = data.draw(st.lists(st.one_of(vote, st.just("lost")), min_size=1, max_size=14))
    order = data.draw(st.permutations(range(len(groups))))
    plays = [(ticket, groups[ticket]) for ticket in order]
    cut, full = Votes(), Votes()
    for votes in (cut, full):
        for _ in groups:
            votes.launch()
    winner = locked_winner(len(groups), cut, plays)
    for ticket, group in plays:
        full.lose(ticket) if group == "lost" else full.record(ticket, group)
    assert winner is None or winner == full.leader()


@given(st.data())
@settings(max_examples=100)
def test_lock_is_lossless_with_weights(data):
    """With weighted votes too, whatever weights up to the largest are still to come."""
    most = data.draw(st.sampled_from([0.25, 1.0, 3.0]))
    weight = st.integers(0, 8).map(lambda eighths: most * eighths / 8)
    votes = data.draw(st.lists(st.tuples(vote, weight), min_size=1, max_size=12))
    cut, full = Votes(most), Votes(most)
    for one in (cut, full):
        for _ in votes:
            one.launch()
    winner = locked_winner(len(votes), cut, [(n, *each) for n, each in enumerate(votes)])
    for number, each in enumerate(votes):
        full.record(number, *each)
    assert winner is None or winner == full.leader()


@pytest.mark.parametrize("cap", range(2, 7))
def test_lock_is_exact(cap):
    """The lock stops at the first vote after which nobody can draw level with the leader."""
    for groups in product((0, 1, 2), repeat=cap):
        for size in range(1, cap):
            seen = View(cap, cap, 0, size, {}, votes_of(*groups[:size]))
            decision = Lock(Even()).decide(seen)
            counts = [groups[:size].count(group) for group in (0, 1, 2)]
            first, second, _ = sorted(counts, reverse=True)
            worst = second + cap - size  # all that is left votes for the runner-up
            assert isinstance(decision, Stop) == (worst < first), groups[:size]


def test_lock_never_locks_nulls():
    """Nulls alone lock nothing: somebody may still vote."""
    assert Lock(Even()).decide(voting(None, None, None, cap=4, granted=4)) == Grant(0)


def test_lock_counts_losses():
    """Launches that will never vote cannot overtake anybody."""
    votes = votes_of(0, 1, 1)
    assert Lock(Even()).decide(view(3, 6, 6, votes=votes)) == Grant(0)
    for _ in range(3):
        votes.lose(votes.launch())
    assert Lock(Even()).decide(view(3, 6, 6, votes=votes)) == Grant(0), "nothing is left to save"
    votes = votes_of(1, 1)
    votes.lose(votes.launch())
    assert Lock(Even()).decide(view(3, 4, 4, votes=votes)) == Stop("locked", 1)


def test_lock_needs_no_votes():
    """A program without votes is left to the inner policy."""
    assert Lock(Even()).decide(view(cap=3)) == Grant(3)


def test_lock_before_the_inner_policy():
    """The lock stops before the inner policy's own rule does."""
    assert Lock(Beta(confidence=1.0)).decide(voting(0, 0, 0, cap=5)) == Stop("locked", 0)


# By name.


NEEDED = {"length": {"tokens": 100}, "skyline": {"curves": [[[0.5, 10]]]}}
"""The parameters without a default."""


@pytest.mark.parametrize("name", policies())
def test_by_name(name):
    """Every policy that ships is built from its name, with or without the lock."""
    needed = NEEDED.get(name, {})
    plain, locked = (make_policy(PolicySpec(name, needed, lock), policies()) for lock in (0, 1))
    if name == "shadow":
        assert (type(plain), type(locked)) == (Shadowing, Shadowing), "a lock would act"
        return
    assert isinstance(plain, policies()[name])
    assert isinstance(locked, Lock)


def test_unknown_policy():
    """An unknown policy is refused with the nearest name."""
    with pytest.raises(UnknownName, match="unknown policy 'evne'.*did you mean 'even'"):
        make_policy(PolicySpec("evne"), policies())


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        ("beta", {"foo": 4}, "foo"),
        ("beta", {"confidence": 1.5}, "confidence"),
        ("beta", {"in_flight": 0}, "in_flight"),
        ("beta", {"speculative": -1}, "speculative"),
        ("beta", {"order": "random"}, "order"),
        ("even", {"in_flight": "4"}, "in_flight"),
        ("threshold", {"detect": 0}, "detect"),
        ("threshold", {"at": {"entropy": 2.0}}, "entropy|at"),
        ("stepwise", {"every": 1.5}, "every"),
    ],
)
def test_wrong_parameter(name, params, says):
    """A parameter that is unknown, mistyped or out of range is refused by name."""
    with pytest.raises(ConfigError, match=says) as caught:
        make_policy(PolicySpec(name, params), policies())
    assert "its parameters" in str(caught.value)


def test_policies_are_values():
    """Policies are frozen: one serves many programs."""
    with pytest.raises(AttributeError):
        Beta().confidence = 0.5
    assert msgspec.structs.asdict(Beta())["in_flight"] == 4
