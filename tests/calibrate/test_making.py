"""Profiles from a recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toys.recorded import header, recorded

from dynasor.calibrate import Aim, behaviour, calibrate_splits, halves, make_profile, measure
from dynasor.core.allocation import make_policy, policies
from dynasor.core.types import PolicySpec
from dynasor.evaluate.classes import Sorting
from dynasor.evaluate.replay import Job, Replayed, replay
from dynasor.profile import read_profile
from dynasor.traces import Trace

HOW = Sorting(labels="reference")

TRACE = Trace(Path("t.jsonl"), header(task="math", model="m", workload="w"), (), "d" * 64)
AIM = Aim(cap=8, width=2, seeds=2, has_lock=True, processes=1)


def made(policy="esc", count=10):
    answers = ["aaaaaaaa", "abababab", "abbabbaa", "bbaabbbb", "abcdabcd"]
    questions = [recorded(answers[n % 5], name=f"q{n}") for n in range(count)]
    measured = measure(questions, [policy], AIM)
    splits = calibrate_splits(measured, policy, 3)
    return make_profile(TRACE, measured, splits, HOW, "2026-01-31"), splits, questions


@pytest.mark.parametrize("policy", ["esc", "skyline", "length"])
def test_round_trip(tmp_path, policy):
    """What is written is read again as it was."""
    profile, _, _ = made(policy)
    path = tmp_path / "p.json"
    profile.write(path)
    assert read_profile(path).policy_spec() == profile.policy_spec()
    again = read_profile(path)
    again.write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    make_policy(again.policy_spec(), policies())
    assert {one.name for one in tmp_path.iterdir()} == {"p.json", "again.json"}


def test_what_it_says():
    """It names what it was made for and on, and the first split's choice with its width."""
    profile, splits, _ = made()
    first = splits[0]
    assert (profile.task, profile.workload, profile.model) == ("math", "w", "m")
    assert (profile.trace, profile.made, profile.labels) == ("d" * 64, "2026-01-31", "reference")
    assert profile.policy_spec() == PolicySpec("esc", {"in_flight": 2, **first.spec.params})
    assert (profile.cap, profile.width, profile.lock) == (8, 2, True)
    measured = profile.measured
    assert (measured.fitted_on, measured.judged_on, measured.shuffles) == (5, 5, 2)
    assert measured.saved.estimate == pytest.approx(first.judged.saved.estimate, abs=1e-5)
    assert len(measured.splits_saved) == len(measured.splits_accuracy_change) == 3


def test_behaviour_of_the_judged():
    """How programs behaved is that of the judged half, one value a question."""
    profile, _, questions = made()
    _, judge = halves(10, 0)
    held_out = [questions[place] for place in judge]
    found = replay(held_out, Job(profile.policy_spec(), 8), 0)
    assert profile.behaviour == behaviour(found, 8)
    assert len(profile.behaviour.knob) == 5


def test_behaviour():
    """The knob is a share of the cap; tokens are those of finished branches."""
    columns = (
        [90.0, 40.0],
        [4.0, 2.0],
        [6.0, 2.0],
        [1.0, 0.0],
        [0.5, 0.0],
        [60.0, 40.0],
        [0.0, 0.0],
    )
    found = behaviour(Replayed(*(np.array(column) for column in columns)), 8)
    assert found.certaindex == (0.5, 0.0)
    assert found.knob == (0.5, 0.25)
    assert found.tokens_per_knob == (15.0, 20.0)
