"""Plans: who leaves when, and with which question."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.core.errors import ConfigError, UserError
from dynasor.load.planning import MOST_PROGRAMS, Question, plan, rate_of

QUESTIONS = [Question(str(number), f"q{number}") for number in range(5)]


@given(
    size=st.integers(1, 7),
    programs=st.integers(1, 60),
    seed=st.integers(0, 9),
    pace=st.floats(0, 9),
)
def test_questions_are_dealt_evenly(size, programs, seed, pace):
    """Every question is asked as often as any other, give or take once, at the times given."""
    questions = [Question(str(number), "q") for number in range(size)]
    times = (number * pace for number in count())
    found = plan(questions, times, programs=programs, seed=seed)
    asked = [sum(one.question is question for one in found) for question in questions]
    assert max(asked) - min(asked) <= 1
    assert [one.due for one in found] == [number * pace for number in range(programs)]
    assert len({one.program for one in found}) == programs


def test_seed():
    """A plan is the same for the same seed, and another one for another."""
    plans = [
        [one.question.id for one in plan(QUESTIONS, iter(range(99)), programs=40, seed=seed)]
        for seed in (1, 1, 2)
    ]
    assert plans[0] == plans[1] != plans[2]


def test_end():
    """A plan ends with the last program before its time, or with its number of programs."""
    assert len(plan(QUESTIONS, iter(range(99)), seconds=7)) == 7
    assert len(plan(QUESTIONS, iter(range(99)), seconds=7, programs=3)) == 3
    assert len(plan(QUESTIONS, iter(range(99)), seconds=7, programs=30)) == 7


def test_no_end():
    """A plan without an end, without a program or beyond all measure is refused."""
    with pytest.raises(ConfigError, match="neither programs nor seconds"):
        plan(QUESTIONS, count())
    with pytest.raises(ConfigError, match="no program arrives"):
        plan(QUESTIONS, iter([2.0]), seconds=1)
    with pytest.raises(ConfigError, match=f"more than {MOST_PROGRAMS:,} programs"):
        plan(QUESTIONS, count(0.0, 1e-9), seconds=1)
    with pytest.raises(UserError, match="no question"):
        plan([], count(), programs=1)


def test_rate():
    """A rate is of the gaps, and there is none where there are no gaps."""
    assert rate_of([1.0, 2.0, 3.0]) == 1.0
    assert rate_of([5.0]) is None
    assert rate_of([5.0, 5.0]) is None
