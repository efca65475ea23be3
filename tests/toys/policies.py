"""Views and votes for the tests of policies, and a player that settles one unit at a time."""

from __future__ import annotations

from dynasor.core.allocation import Stop, View
from dynasor.core.certaindex import Votes


def view(knob=0, granted=0, cap=20, speculative=0, votes=None, **certaindex):
    return View(cap, granted, speculative, knob, certaindex, votes)


def votes_of(*groups, max_weight=1.0):
    """Votes launched and finished in this order; pairs carry a weight."""
    votes = Votes(max_weight)
    for group in groups:
        votes.record(votes.launch(), *(group if isinstance(group, tuple) else (group,)))
    return votes


def voting(*groups, cap=20, granted=None, **rest):
    knob = len(groups)
    granted = knob if granted is None else granted
    return view(knob, granted, cap, votes=votes_of(*groups), **rest)


def play(policy, outcomes, cap, certaindex=lambda votes: {"entropy": votes.finished.certaindex()}):
    """Settle one unit at a time; return what each look said, and the most that ran at once."""
    votes, granted, most, looks = Votes(), 0, 0, []
    tickets = []
    for knob in range(len(outcomes) + 1):
        signals = certaindex(votes) if knob else {}
        decision = policy.decide(View(cap, granted, 0, knob, signals, votes))
        looks.append(decision)
        if isinstance(decision, Stop):
            break
        granted += decision.needed
        tickets += [votes.launch() for _ in range(decision.needed)]
        assert granted <= cap
        assert granted > knob, f"nothing runs after {knob}"
        most = max(most, granted - knob)
        votes.record(tickets[knob], outcomes[knob])
    return looks, most
