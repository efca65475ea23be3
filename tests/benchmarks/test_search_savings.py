"""benchmarks/search_savings.py and its MCTS halves: what is tried, and what is chosen."""

from __future__ import annotations

import argparse
import importlib

import numpy as np
import pytest

from dynasor.calibrate import Aim
from dynasor.core.types import PolicySpec

QUESTIONS = 12


@pytest.fixture
def script(benchmarks):
    return importlib.import_module("search_savings")


@pytest.fixture
def mcts(benchmarks):
    return importlib.import_module("_mcts_halves")


@pytest.fixture
def questions(benchmarks):
    """Searches of 20 iterations: every second one is sure and right from the start."""
    searches = importlib.import_module("_searches")

    def run(is_sure):
        level = 1.0 if is_sure else 0.2
        return [
            searches.State(
                unit,
                10 * unit,
                {"entropy": level if unit > 1 else 0.0, "reward": level},
                float(is_sure or unit > 15),
            )
            for unit in range(1, 21)
        ]

    return [[run(number % 2 == 0)] * 2 for number in range(QUESTIONS)]


def test_what_is_tried(script, questions):
    """Every signal alone and both together, at every place to look; samples have no reward."""
    opened = script.Opened(script.RECORDINGS["mcts-20"], None, [], questions)
    tried = script.families(opened, range(4))
    assert {"length", "threshold, entropy and reward", "stepwise, reward"} <= set(tried)
    both = tried["threshold, entropy and reward"]
    assert {spec.params["detect"] for spec in both} == {3, 5, 8}
    assert all(set(spec.params["at"]) == {"entropy", "reward"} for spec in both)
    assert len(tried["any certaindex"]) == sum(
        len(specs) for name, specs in tried.items() if "," in name
    )
    samples = script.Opened(script.RECORDINGS["self-consistency-20"], None, [], questions)
    assert not [name for name in script.families(samples, range(4)) if "reward" in name]


def test_two_rounds_can_be_stopped_once(script):
    """Rebase is looked at behind its first round, and at its end."""
    assert tuple(script.RECORDINGS["rebase-64"].stops) == (16, 64)
    assert script.RECORDINGS["rebase-64"].everies == ()


def test_thresholds_are_chosen_on_some_and_judged_on_others(script, questions, monkeypatch):
    """Half of the questions need three or fewer of twenty units; the rule that knows is found."""
    monkeypatch.setattr(script, "replayed", lambda *_: 0.0)
    options = argparse.Namespace(
        questions=6, calibration=6, seeds=2, loss=0.001, choose=None, judge=None
    )
    opened = script.Opened(script.RECORDINGS["mcts-20"], None, [], questions)
    found = script.savings(opened, options)
    assert found["choose"] == "best"
    assert found["even"] == {"accuracy": 1.0, "tokens": 200.0}
    row = found["rows"]["threshold, reward"]
    for choice in ("plain", "careful", "hindsight"):
        assert row[choice]["saved"]["estimate"] == pytest.approx(0.5 * 17 / 20)
        assert row[choice]["accuracy_change"]["estimate"] == 0
    assert row["share"] == {"plain": 1.0, "careful": 1.0}
    assert found["rows"]["length"]["plain"]["saved"]["estimate"] == 0


def test_figure_12_has_both_signals(mcts, questions):
    """Thresholds save nothing at the detection step's own cap, and half of most at the largest."""
    found = mcts.figure_12(questions, range(QUESTIONS))
    assert [row["signal"] for row in found["lines"]] == ["entropy"] * 4 + ["reward"] * 4
    assert [one["cap"] for one in found["even"]] == list(mcts.MCTS_CAPS)
    last = found["lines"][-1]["points"][-1]
    assert last["saved_at_cap"] == pytest.approx(0.5 * 17 / 20)
    assert last["change_at_cap"] == 0


@pytest.mark.parametrize("signal", ["entropy", "reward"])
def test_table_4_has_every_row(mcts, questions, signal):
    """On searches that are as sure as they are right, every row saves and loses nothing."""
    found = mcts.table_4(questions, Aim(20, 1, 0.001, seeds=2), 2, signal)
    assert list(found) == list(mcts.PAPER)
    for name, row in found.items():
        assert row["plain"]["saved"]["mean"] > 0.2, name
        assert row["plain"]["accuracy_change"]["least"] >= 0, name


def test_the_even_curve_of_states(mcts, questions):
    """Even's arrays are by seed, question and cap."""
    even = mcts.even_of(questions)
    assert even.tokens.shape == (2, QUESTIONS, 20)
    assert even.at(3).tokens.tolist() == [[30.0] * QUESTIONS] * 2
    spec = PolicySpec("threshold", {"detect": 3, "at": {"reward": 0.5}}, has_lock=False)
    spent = mcts.outcomes(spec, questions, 20).tokens
    assert np.array_equal(spent, [[30.0, 200.0] * (QUESTIONS // 2)] * 2)
