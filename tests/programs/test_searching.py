"""Searches watched: every step is kept, with its call, whatever ends first."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.stage import EVEN, Stage
from toys.words import said

from dynasor.core.catalog import describe_program
from dynasor.core.chance import call_seed
from dynasor.core.types import Generate, Scored
from dynasor.programs.searching import (
    SEARCHES,
    BeamSearches,
    MctsSearches,
    RebaseSearches,
    Step,
)

KINDS = (RebaseSearches, BeamSearches, MctsSearches)


def run(kind, cap, shuffle, seed=7):
    """Run a search to its end, its calls ending in any order; return the steps and the stage.

    What a call brings depends on its own seed alone.
    """
    on = Stage(*KINDS)
    on.pool("reward", judge=8)
    params = {"question": "what?", "task": "words", "cap": cap, "seed": seed, "max_steps": 4}
    program = on.arrive(spec=kind.name, params=params, policy=EVEN)
    random = Random(shuffle)
    while on.live:
        call = random.choice(list(on.live))
        work, number = on.live[call].call.work, int(call.partition("#")[2])
        if isinstance(work, Generate):
            on.finish(call, text(work, number))
        else:
            on.finish(call, Scored(tuple(Random(one.prefix).random() for one in work.items)))
    on.check()
    return msgspec.json.decode(on.answers[program].answer.text, type=list[Step]), on


def text(work, number):
    """A step, or all that is left, by the number of its call."""
    random = Random(number)
    if work.sampling.stop:
        return said(random.choice(["so red", "so blue", "", "a step", "another"]), number)
    return said("a step\nanother\n" + random.choice(["so red", "so blue", "no idea"]), number)


@given(st.sampled_from(KINDS), st.integers(1, 6), st.integers(0, 99))
def test_every_step_is_kept(kind, cap, shuffle):
    """Steps stand in the order of their calls, with these calls' seeds and all of their tokens."""
    steps, on = run(kind, cap, shuffle)
    generated = {
        submit.call.id: int(submit.call.id.partition("#")[2])
        for submit in on.submits
        if isinstance(submit.call.work, Generate)
    }
    numbers = {call_seed(7, number): number for number in generated.values()}
    made = [numbers[step.seed] for step in steps]
    assert made == sorted(made)
    assert sum(step.tokens for step in steps) == sum(generated.values())
    for place, step in enumerate(steps):
        assert step.parent is None or step.parent < place
        assert step.is_finished or step.answer is None
        assert (step.reward is None) == (step.is_cut and kind is not MctsSearches)


@given(st.sampled_from((RebaseSearches, BeamSearches)), st.integers(1, 6), st.integers(0, 99))
def test_what_ends_first_does_not_matter(kind, cap, shuffle):
    """A search level by level is the same in whatever order its calls end."""
    assert run(kind, cap, shuffle)[0] == run(kind, cap, 0)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_stops_it(kind):
    """A threshold that everything reaches sees nothing, and there are no votes to lock."""
    program = kind("what?", task="words")
    assert set(program.update_certaindex().values()) == {0.0}
    assert program.votes is None
    assert program.answer() is None


def test_description():
    """Its parameters are JSON values, from which an equal program is built."""
    program = SEARCHES["rebase"]("what?", task="words", cap=7, seed=2**31, balance=0.5)
    assert msgspec.convert(describe_program(program).params, RebaseSearches) == program
