"""Outputs that cannot be used fail their call, as an engine's fault that is not tried again."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.stage import toy
from toys.words import said

from dynasor.core.calls import flaw_of
from dynasor.core.errors import CallFailed
from dynasor.core.program import Sample
from dynasor.core.types import Embed, Embedded, Generate, Prompt, Score, Scored, Usage

TWO = Score((Prompt((), "a"), Prompt((), "b")))
FLAWS = {
    (nan, 0.5): "a reward of nan; expected 0 to 1",
    (0.5, inf): "a reward of inf; expected 0 to 1",
    (-0.1, 0.5): "a reward of -0.1; expected 0 to 1",
    (0.5, 1.5): "a reward of 1.5; expected 0 to 1",
    (0.5,): "1 rewards for 2 partial solutions; expected one each",
    (): "0 rewards for 2 partial solutions; expected one each",
    (0.5, 0.5, 0.5): "3 rewards for 2 partial solutions; expected one each",
}


@pytest.mark.parametrize("rewards", FLAWS)
def test_flaws(rewards):
    """A flaw says what was given and what was expected."""
    assert flaw_of(TWO, Scored(rewards)) == FLAWS[rewards]


@given(st.lists(st.floats(0.0, 1.0), max_size=5))
def test_flawless(rewards):
    """One reward an item, each in [0, 1], is what is expected."""
    work = Score(tuple(Prompt((), str(number)) for number in range(len(rewards))))
    assert flaw_of(work, Scored(tuple(rewards))) == ""


def test_other_work():
    """What is generated or embedded has no such flaws."""
    assert flaw_of(Generate(Prompt(())), said("x")) == ""
    assert flaw_of(Embed(("x",)), Embedded(())) == ""


def scores(self, context):
    try:
        yield TWO
    except CallFailed as exc:
        self.heard.append(exc)
        self.note("scores lost")
    yield Sample(Generate(Prompt(())))


@pytest.mark.parametrize("rewards", FLAWS)
def test_flawed_output(stage, rewards):
    """A flawed output is billed and ends its call for good: the strand hears whose fault it is."""
    on = stage(toy(scores))
    on.pool("reward", judge=1)
    name = on.arrive(spec="toy", params={})
    heard = on.run(name).program.heard
    on.finish("p0#1", Scored(rewards, Usage(4, 3)))
    assert on.calls == ["p0#2"], "it is not tried again"
    (failure,) = heard
    assert (failure.kind, failure.attempts) == ("EngineGarbage", 1)
    assert f"call p0#1 on judge: {FLAWS[rewards]}" in str(failure)
    on.drain()
    assert on.answers[name].notes == {"scores lost": 1}
    assert on.bills[name].failed_attempts == 1
    assert on.bills[name].spending.failed_tokens == 3


def test_flaw_that_is_let_through(stage):
    """A program that does not catch it fails with the story of the flaw."""

    def execute(self, context):
        yield TWO

    on = stage(toy(execute))
    on.pool("reward", judge=1)
    name = on.arrive(spec="toy", params={})
    on.finish("p0#1", Scored((nan, nan)))
    assert on.answers[name].error_kind == "EngineGarbage"
    assert "a reward of nan" in on.answers[name].error


def test_flaw_that_nobody_waits_for(stage):
    """An aborted call that ends with a flawed output is only billed as aborted."""
    on = stage(toy(scores))
    on.pool("reward", judge=1)
    name = on.arrive(spec="toy", params={})
    on.withdraw(name)
    on.finish("p0#1", Scored((), Usage(4, 3)))
    assert on.bills[name].spending.aborted_tokens == 3
    assert on.bills[name].failed_attempts == 0
