"""benchmarks/_watched.py: what programs under watch found, and what a smaller knob would have."""

from __future__ import annotations

import importlib

import msgspec
import pytest
from toys.searches import Script, search

from dynasor.core.types import PolicySpec, Score

ONE = PolicySpec("even", {"in_flight": 1}, has_lock=False)
STEPS = {"": ["one\ntwo\nso red", "uno\nso blue"], "one\n": ["so red"]}
REWARDS = {
    "one\n": 0.9,
    "one\ntwo\nso red\n": 1.0,
    "uno\n": 0.1,
    "uno\nso blue\n": 0.0,
    "one\nso red\n": 0.6,
}
SAMPLES = {"": ["so red", "none", "so blue", "so red"]}


@pytest.fixture
def watched(benchmarks):
    return importlib.import_module("_watched")


@pytest.fixture
def play(watched, stage):
    """Run a program under watch by a script; return the stage and what it kept."""

    def run(name, script, policy=ONE, **params):
        kind = watched.WATCHED[name]
        on = stage(kind, slots=16)
        program, _ = search(on, kind.name, policy, **{"task": "conclusion", **params})
        script.play(on)
        answered = on.answers[program]
        return on, msgspec.json.decode(answered.answer.text)

    return run


def found(watched, paths, knob=None, own=None):
    """A run of paths (answer, weight), one a unit, each of ten tokens; `red` is right."""
    answers = dict.fromkeys(answer for answer, _ in paths if answer is not None)
    classes = {answer: place for place, answer in enumerate(answers)}
    return watched.Found(
        paths=[watched.Path(unit, *path) for unit, path in enumerate(paths, start=1)],
        classes=classes,
        right=[classes["red"]] if "red" in classes else [],
        bills=[watched.Bill(10, 5, 2, 1, 1) for _ in paths],
        total=watched.Bill(*(len(paths) * one for one in (10, 5, 2, 1, 1))),
        own=own,
        knob=knob or len(paths),
        seconds=1.0,
        notes={},
    )


def test_iterations_have_bills_of_their_own(play):
    """Every iteration's calls are on its bill, sampled and judged tokens apart."""
    on, kept = play("mcts", Script(STEPS, REWARDS), cap=3, width=2)
    assert [path["answer"] for path in kept["paths"]] == ["red", "blue", "red"]
    assert [path["weight"] for path in kept["paths"]] == [1.0, 0.0, 0.6]
    assert [bill["calls"] for bill in kept["bills"]] == [1, 1, 1]
    assert [bill["judge_calls"] for bill in kept["bills"]] == [1, 1, 1]
    assert [bill["tokens"] for bill in kept["bills"]] == [10, 10, 10]
    assert [bill["judge_tokens"] for bill in kept["bills"]] == [6, 6, 6]
    assert kept["own"] == "red"
    on.check()


@pytest.mark.parametrize("knob", [1, 2])
def test_the_first_iterations_are_the_smaller_search(play, knob):
    """A search of fewer iterations, one by one, finds what the larger one found first."""
    _, whole = play("mcts", Script(STEPS, REWARDS), cap=3, width=2)
    _, part = play("mcts", Script(STEPS, REWARDS), cap=knob, width=2)
    assert part["paths"] == whole["paths"][:knob]
    assert part["bills"] == whole["bills"][:knob]


def test_branches_stand_by_their_launch(play):
    """Samples side by side keep their numbers; one without an answer is a path too."""
    on, kept = play("best-of-n", Script(SAMPLES), PolicySpec("even", has_lock=False), cap=4)
    assert [path["unit"] for path in kept["paths"]] == [1, 2, 3, 4]
    assert [path["answer"] for path in kept["paths"]] == ["red", None, "blue", "red"]
    assert len(kept["bills"]) == 4
    assert sum(isinstance(one.call.work, Score) for one in on.submits) == 4


def test_a_width_has_one_bill(play):
    """A search level by level is billed whole: no part of it is a smaller one."""
    script = Script({"": ["a none"], "a none\n": ["so red"]})
    _, kept = play("rebase", script, PolicySpec("even", has_lock=False), cap=2)
    assert kept["bills"] == []
    assert kept["rest"]["tokens"] == 40
    assert [path["answer"] for path in kept["paths"]] == ["red", "red"]


def test_answers_at_a_knob(watched):
    """The best path and the weighted vote of the first units; ties go to the earlier one."""
    one = found(watched, [("blue", 0.9), (None, 1.0), ("red", 0.5), ("red", 0.5), ("blue", 0.1)])
    blue, red = one.classes["blue"], one.classes["red"]
    assert watched.answer_of(one, "best") == blue
    assert [watched.answer_of(one, "vote", knob) for knob in (1, 2, 3, 4, 5)] == [
        *[blue] * 3,
        red,
        blue,
    ]
    assert watched.answer_of(found(watched, [(None, 1.0)]), "best") is None
    assert watched.answer_of(found(watched, [(None, 1.0)]), "vote") is None


def test_what_a_knob_spends(watched):
    """The first units' bills add up; the largest knob is all there was; others say so."""
    one = found(watched, [("red", 1.0)] * 4)
    assert watched.spent(one, 3).tokens == 30
    assert watched.spent(one, 4) == watched.spent(one) == one.total
    whole = msgspec.structs.replace(one, bills=[])
    with pytest.raises(ValueError, match="says nothing of 2"):
        watched.spent(whole, 2)
