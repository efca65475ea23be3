"""benchmarks/_searches.py: states of recorded searches, and where policies stop them."""

from __future__ import annotations

import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.recorded import in_order, recorded, recordings

from dynasor.core.types import PolicySpec
from dynasor.evaluate.recorded import RecordedStep
from dynasor.evaluate.replay import Job, replay

EVEN = PolicySpec("even", has_lock=False)
UNITS = [1, 1, 2, 3, 3]
STEPS = [
    RecordedStep(4, -1, 0.5),
    RecordedStep(6, 0, 0.4, 0, True),
    RecordedStep(5, 0, 0.8, 1, True),
    RecordedStep(2, -1, 0.1),
    RecordedStep(3, 3, 0.6, 0, True),
]
"""Three iterations: a path of class 0, one of 1 that goes on from its first step, one of 0."""


@pytest.fixture
def searches(benchmarks):
    return importlib.import_module("_searches")


def line_up(searches, *qualities, tokens=10, signal=None):
    """States one unit apart; `signal` has their entropies, 1 unless told."""
    signals = signal or [1.0] * len(qualities)
    return [
        searches.State(unit, unit * tokens, {"entropy": entropy, "reward": entropy}, quality)
        for unit, (quality, entropy) in enumerate(zip(qualities, signals, strict=True), start=1)
    ]


def test_states_of_iterations(searches):
    """Tokens add up; rewards are meant; the best path answers, or the weighted vote."""
    question = recorded("01", right=(0,))
    best = searches.search_states("mcts", question, STEPS, UNITS, (1, 2, 3), "best")
    assert [state.tokens for state in best] == [10, 15, 20]
    assert [state.signals["reward"] for state in best] == pytest.approx([0.4, 0.6, 0.6])
    assert [state.signals["entropy"] for state in best][:2] == [0, 0]
    assert [state.quality for state in best] == [1, 0, 0]
    vote = searches.search_states("mcts", question, STEPS, UNITS, (1, 2, 3), "vote")
    assert [state.quality for state in vote] == [1, 0, 1]


def test_a_level_search_is_as_sure_as_its_best_path(searches):
    """Rebase's reward is the highest; without a finished path it is 0, and nothing is answered."""
    question = recorded("01")
    (state,) = searches.search_states("rebase", question, STEPS, UNITS, (3,), "best")
    assert state.signals["reward"] == 0.8
    (state,) = searches.search_states("rebase", question, STEPS[:1], UNITS[:1], (3,), "best")
    assert (state.signals, state.quality) == ({"entropy": 0, "reward": 0}, 0)


@given(question=recordings(least=2), at=st.floats(0, 1), detect=st.integers(1, 5), data=st.data())
def test_samples_are_stopped_where_the_scheduler_stops_them(question, at, detect, data):
    """A threshold spends and reaches on the states of samples what its replay does."""
    searches = importlib.import_module("_searches")
    cap = len(question.tokens)
    form = data.draw(st.sampled_from([("threshold", "detect"), ("stepwise", "every")]))
    spec = PolicySpec(form[0], {form[1]: detect, "at": at, "in_flight": 1}, has_lock=False)
    own = searches.outcome(spec, [[searches.sample_states(question, 0, cap)]])
    ours = replay([question], Job(spec, cap), 0)
    assert own.tokens.tolist() == ours.tokens.tolist()
    assert own.quality.tolist() == ours.quality.tolist()
    assert own.knob.tolist() == ours.knob.tolist()


def test_even_never_stops(searches):
    """Even allocation goes to the cap, a smaller one too."""
    question = [line_up(searches, 0, 0, 1)]
    assert searches.outcome(EVEN, [question]).tokens.tolist() == [30]
    assert searches.outcome(EVEN, [question], cap=2).quality.tolist() == [0]


def test_outcomes_are_means_over_searches(searches):
    """A question's two searches count alike."""
    spec = PolicySpec("threshold", {"detect": 1, "at": {"reward": 0.5}}, has_lock=False)
    sure, unsure = line_up(searches, 1, 0), line_up(searches, 1, 0, signal=[0.1, 0.1])
    found = searches.outcome(spec, [[sure, unsure]])
    assert (found.tokens.tolist(), found.quality.tolist()) == ([15], [0.5])


def test_a_curve_says_how_far(searches):
    """Sure searches that settle late raise the curve below them, hopeless ones do not."""
    early = line_up(searches, 1, 1, 1, 1, signal=[1.0] * 4)
    late = line_up(searches, 0, 0, 0, 1, signal=[0.5] * 4)
    hopeless = line_up(searches, 1, 0, 0, 0, signal=[0.1] * 4)
    found = searches.curve([[early], [late], [hopeless]], "reward", 2, 1.0)
    assert [units for _, units in found] == [4, 1]
    assert [searches.settled(one) for one in (early, late)] == [1, 4]
    initial = PolicySpec(
        "skyline", {"curves": [found], "detect": 1, "signal": "reward"}, has_lock=False
    )
    done = searches.outcome(initial, [[early], [late], [hopeless]])
    assert done.knob.tolist() == [1, 4, 4]


def test_a_curve_that_lowers_the_cap_is_obeyed(searches):
    """Where one reading says three units, there are three."""
    path = line_up(searches, 0, 0, 0, 1, signal=[0.5] * 4)
    spec = PolicySpec("skyline", {"curves": [[[1.0, 3]]], "detect": 1}, has_lock=False)
    assert searches.outcome(spec, [[path]]).knob.tolist() == [3]


def test_thresholds_follow_the_rewards(searches):
    """Levels lie among the rewards that are known, each once."""
    known = [[line_up(searches, 1, 1, signal=[level / 10] * 2)] for level in range(11)]
    levels = searches.reward_levels(known, 2)
    assert list(levels) == sorted(set(levels))
    assert 0 < levels[0] < levels[-1] < 1


def test_ordered_questions_are_not_shuffled(searches):
    """The units of a search stay as they came."""
    states = searches.sample_states(in_order("aab", tokens=[1, 2, 3]), 5, 3)
    assert [state.tokens for state in states] == [1, 3, 6]
