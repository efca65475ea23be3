"""How hard questions are, and the deadlines that follow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.recorded import recorded, recordings

from dynasor.evaluate.recorded import Recorded, trajectory
from dynasor.online.deadlines import TRIALS, Difficulty, Level, deadline_of
from dynasor.online.workload import Deadline, Part


@given(recordings(least=2), st.integers(1, 2))
def test_levels(question, cap):
    """A question's level is what the votes of its trials come to."""
    right = {trajectory(question, cap, seed).quality[-1] >= 0.5 for seed in range(TRIALS)}
    expected = {(True,): Level.ALWAYS_RIGHT, (False,): Level.ALWAYS_WRONG}
    level = expected.get(tuple(right), Level.CHANGING)
    difficulty = Difficulty(cap)
    assert difficulty.level(question) == difficulty.level(question) == level


@pytest.mark.parametrize(
    ("answers", "cap", "factor"),
    [("aaaa", 2, 1.0), ("abab", 1, 1.5), ("bbbb", 2, 1.0), ("----", 2, 2.0)],
)
def test_factors(answers, cap, factor):
    """Always right, changing and never right have a factor each."""
    part = Part("a", cap=cap, deadline=Deadline(100.0, scale=3.0))
    found = deadline_of(part, recorded(answers), Difficulty(cap))
    assert found == (300.0 * factor, factor)


def test_worth():
    """An answer worth less than a half is wrong."""
    for worth, level in ((0.49, Level.ALWAYS_WRONG), (0.5, Level.ALWAYS_RIGHT)):
        question = Recorded("q", "q?", (0, 0), (5, 5), (worth,))
        assert Difficulty(2).level(question) == level


def test_equal_factors():
    """Equal factors ask nobody what is right."""
    part = Part("a", deadline=Deadline(10.0, factors=(2.0, 2.0, 2.0)))
    question = recorded("a" * 20, right=(), has_quality=False)
    assert deadline_of(part, question, Difficulty(20)) == (20.0, 2.0)


def test_none():
    """A part without deadlines has none."""
    assert deadline_of(Part("a"), recorded("aaaa"), Difficulty(2)) == (None, 1.0)


def test_once():
    """A question is judged once, and what was found stays."""
    difficulty = Difficulty(2)
    difficulty.level(recorded("aaaa"))
    assert difficulty.level(recorded("bbbb", right=())) == Level.ALWAYS_RIGHT  # the same id
