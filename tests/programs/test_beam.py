"""Beam search: the best steps of each level go on, alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.searches import Script, search, tree_holds, unfold

from dynasor.core.types import PolicySpec
from dynasor.programs.beam import Beam, beam_shares

rewards = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40)


@given(rewards, st.integers(1, 128), st.integers(1, 9))
def test_shares(rewards, width, expand):
    """The best steps share the width alike, each at most in `expand` ways where they suffice."""
    shares = beam_shares(rewards, width, expand)
    assert sum(shares) == width
    kept = [share for share in shares if share]
    assert max(kept) - min(kept) <= 1
    assert len(kept) == min(len(rewards), -(-width // expand), width)
    if len(rewards) * expand >= width:
        assert max(kept) <= expand
    worst = min(reward for reward, share in zip(rewards, shares, strict=True) if share)
    assert all(reward <= worst for reward, share in zip(rewards, shares, strict=True) if not share)


@pytest.mark.parametrize(
    ("rewards", "width", "expand", "shares"),
    [
        ([0.1, 0.9, 0.5, 0.9], 4, 4, [0, 4, 0, 0]),
        ([0.1, 0.9, 0.5, 0.8], 8, 4, [0, 4, 0, 4]),
        ([0.9, 0.5, 0.7], 10, 4, [4, 3, 3]),
        ([0.5, 0.5, 0.5], 2, 1, [1, 1, 0]),
        ([0.2, 0.9], 16, 4, [8, 8]),
        ([0.2, 0.9], 3, 2, [1, 2]),
    ],
)
def test_shares_by_hand(rewards, width, expand, shares):
    """Ties go to the first step, and what is left over to the best ones."""
    assert beam_shares(rewards, width, expand) == shares


def test_search(stage):
    """Only the best step of each level goes on; a finished path leaves with its part."""
    steps = {
        "": ["a none", "b none", "so red", "c none"],
        "b none\n": ["d none", "so blue", "e none"],
        "b none\ne none\n": ["so blue", "so green"],
    }
    rewards = {"b none\n": 0.8, "c none\n": 0.7, "so red\n": 1.0, "b none\ne none\n": 0.6}
    on = stage(slots=16)
    name, program = search(on, "beam", cap=4, choose="best")
    Script(steps, rewards).play(on)
    tree_holds(program)
    assert unfold(program)[4:] == [
        (2, "d none\n"),
        (2, "so blue\n"),
        (2, "e none\n"),
        (3, "so blue\n"),
        (3, "so green\n"),
    ]
    answered = on.answers[name]
    assert (answered.knob, answered.reason, answered.answer.value) == (4, "cap", "red")


def test_usual_policy(stage):
    """A beam takes all that it may have, in one search, and votes unless told otherwise."""
    on = stage(slots=32)
    name, program = search(on, "beam", Beam.usual_policy, cap=20)
    Script({"": ["so red"]}).play(on)
    assert (on.answers[name].knob, on.answers[name].reason) == (20, "cap")
    assert {node.unit for node in program.nodes} == {1}
    assert on.answers[name].votes == {"red": 10.0}


def test_without_a_judge(stage):
    """Where nothing can be scored all steps are worth the same, and the first ones go on."""
    script = Script({"": ["a none", "b none"], "a none\n": ["so red"]}, judge=lambda items: None)
    on = stage(slots=16)
    name, program = search(on, "beam", cap=2, expand=2)
    script.play(on)
    assert on.answers[name].notes == {"scores lost": 3}
    assert on.answers[name].answer.value == "red"
    assert len(program.nodes) == 4


def test_expand(stage):
    """A step that goes on in no way at all is refused."""
    on = stage()
    params = {"question": "q", "task": "words", "expand": 0}
    name = on.arrive(spec="beam", policy=PolicySpec("even"), params=params)
    assert on.answers[name].error_kind == "ConfigError"
    assert on.answers[name].error == "expand is 0; at least 1 is needed"
