"""Recorded searches as the states at which a policy may stop them, and policies asked there.

A search whose units come one after the other (MCTS, samples) can be stopped behind each of them;
one that was recorded in two rounds (Rebase) behind the first, and at its end. What policies decide
there is asked of the policies themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

import numpy as np
from msgspec import Struct

from dynasor.calibrate import Chosen
from dynasor.core.allocation import make_policy, policies
from dynasor.core.allocation.policy import Grant, Policy, Stop, View
from dynasor.core.certaindex import Tally
from dynasor.core.types import PolicySpec
from dynasor.evaluate.offline import Means
from dynasor.evaluate.recorded import Recorded, RecordedStep
from dynasor.programs import Mcts, Rebase, SelfConsistency
from dynasor.programs.best_of_n import NEUTRAL

__all__ = [
    "CAUTIONS",
    "CONFIDENCE",
    "ENTROPIES",
    "REWARDS",
    "Question",
    "State",
    "curve",
    "judged",
    "outcome",
    "reward_levels",
    "sample_states",
    "search_params",
    "search_states",
    "share",
    "stopped",
]

ENTROPIES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
QUANTILES = np.linspace(0.05, 0.95, 16)
"""Where thresholds on the reward stand among rewards that are known."""
CAUTIONS = {"plain": 0.0, "careful": 2.0}
"""Standard errors that are charged on top of a loss."""
CONFIDENCE, BALANCE = "confidence", 0.02
"""Confidences lie closer together than a judge's rewards: Rebase's softmax is sharper for them."""
REWARDS = ("model", CONFIDENCE)
BINS = 20
"""Points of a curve, as in `dynasor.calibrate.skyline`."""


class State(Struct, frozen=True):
    """A search behind so many units.

    `tokens` were sampled by then; `signals` are its certaindex; `quality` in [0, 1] is what its
    answer is worth.
    """

    units: int
    tokens: int
    signals: dict[str, float]
    quality: float


Question = list[list[State]]
"""The states of one question's searches: `[seed][stop]`."""


def search_params(program: str, rewards: str) -> dict[str, Any]:
    """Return the parameters of a search whose rewards come from there; none for samples."""
    if program == SelfConsistency.name:
        return {}
    sharper = {"balance": BALANCE} if (program, rewards) == (Rebase.name, CONFIDENCE) else {}
    return {"rewards": rewards, **sharper}


def search_states(
    program: str,
    question: Recorded,
    steps: Sequence[RecordedStep],
    units: Sequence[int],
    stops: Iterable[int],
    choose: str,
) -> list[State]:
    """Return a search's states; `units` are its steps' units of the knob, `stops` some of them.

    The signals are those of the program: entropy over the finished paths' answers, and their mean
    reward (MCTS) or the highest (the others). `choose` is how it answers, `best` or `vote`.
    """
    reward = fmean if program == Mcts.name else max
    found: list[State] = []
    for stop in stops:
        made = [step for step, unit in zip(steps, units, strict=True) if unit <= stop]
        paths = [step for step in made if step.is_finished]
        rewards = [path.reward for path in paths if path.reward is not None]
        votes = [(path.group, NEUTRAL if path.reward is None else path.reward) for path in paths]
        tally = counted(votes)
        answer = tally.leader() if choose == "vote" else best(votes)
        signals = {"entropy": tally.certaindex(), "reward": reward(rewards) if rewards else 0.0}
        tokens = sum(step.tokens for step in made)
        found.append(State(stop, tokens, signals, question.worth(answer)))
    return found


def sample_states(question: Recorded, seed: int, cap: int) -> list[State]:
    """Return the states of self-consistency over a seeded shuffle of a question's samples."""
    tally, tokens = Tally(), 0
    found: list[State] = []
    for units, place in enumerate(question.order(seed)[:cap], start=1):
        tally.add(question.classes[place])
        tokens += question.tokens[place]
        worth = question.worth(tally.leader())
        found.append(State(units, tokens, {"entropy": tally.certaindex()}, worth))
    return found


def counted(votes: Iterable[tuple[int | None, float]]) -> Tally:
    """Count weighted votes."""
    tally = Tally()
    for group, weight in votes:
        tally.add(group, weight)
    return tally


def best(votes: Iterable[tuple[int | None, float]]) -> int | None:
    """Return the class of the path that is worth most, the first of equals."""
    answered = [vote for vote in votes if vote[0] is not None]
    return max(answered, key=lambda vote: vote[1])[0] if answered else None


def stopped(policy: Policy, states: Sequence[State]) -> State:
    """Return the state at which a policy stops a search, asked behind every unit there is."""
    cap = states[-1].units
    for state in states[:-1]:
        if state.units >= cap:
            return state
        view = View(cap, state.units, 0, state.units, state.signals, None, state.tokens)
        decision = policy.decide(view)
        if isinstance(decision, Stop):
            return state
        if isinstance(decision, Grant) and decision.cap is not None:
            cap = min(cap, max(state.units, decision.cap))
    return states[-1]


def outcome(spec: PolicySpec, questions: Sequence[Question], cap: int | None = None) -> Means:
    """Return what a policy makes of every question, a mean over its searches.

    A smaller `cap` ends every search there. The policy must let one unit run at a time, which is
    what it is asked for here.
    """
    policy = make_policy(spec, policies())
    ends = [
        [
            stopped(policy, [one for one in states if cap is None or one.units <= cap])
            for states in question
        ]
        for question in questions
    ]
    tokens, knob, quality = (
        np.array([fmean(float(getattr(end, name)) for end in row) for row in ends])
        for name in ("tokens", "units", "quality")
    )
    return Means(tokens, knob, knob, quality, np.zeros(len(tokens)))


def reward_levels(known: Iterable[Question], units: int) -> tuple[float, ...]:
    """Return quantiles of the rewards behind so many units."""
    rewards = [
        next(state for state in states if state.units == units).signals["reward"]
        for question in known
        for states in question
    ]
    return tuple(sorted({round(float(level), 4) for level in np.quantile(rewards, QUANTILES)}))


def curve(
    questions: Iterable[Question], signal: str, reading: int, covered: float
) -> list[list[float]]:
    """Fit one curve of the policy `skyline`, as `dynasor.calibrate.skyline` does, for any signal.

    It says, for a certaindex behind `reading` units, how far the searches of that certaindex or
    more went until their answer was for good worth what it is in the end: all that come to
    something with `covered` 1, that share of them otherwise.
    """
    rows = [
        (states[reading - 1].signals[signal], settled(states))
        for question in questions
        for states in question
        if states[-1].quality > 0
    ]
    level = np.floor(np.array([row[0] for row in rows]) * BINS) / BINS
    needed = np.array([row[1] for row in rows])
    points: list[list[Any]] = []
    most = 0
    for point in sorted(set(level.tolist()), reverse=True):
        most = max(most, int(np.quantile(needed[level >= point], covered, method="higher")))
        points.append([min(1.0, round(point + 1 / BINS - 1e-6, 6)), most])
    return points[::-1]


def settled(states: Sequence[State]) -> int:
    """Return the units behind which a search's answer is never worth less than at its end."""
    last = states[-1].quality
    worse = [place for place, state in enumerate(states) if state.quality < last]
    return states[worse[-1] + 1].units if worse else states[0].units


def judged(one: Chosen) -> dict[str, Any]:
    """Return how a choice did on the questions that it did not see, with intervals.

    `excess` is how much more than allowed it counts as losing where it was chosen.
    """
    return {
        "excess": one.excess,
        "saved": asdict(one.judged.saved),
        "accuracy_change": asdict(one.judged.accuracy_change),
    }


def share(chosen: Chosen, hindsight: Chosen) -> float | None:
    """Return what a choice saves over what hindsight saves; None where that is nothing."""
    most = hindsight.judged.saved.estimate
    return chosen.judged.saved.estimate / most if most > 0 else None
