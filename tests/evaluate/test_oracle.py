"""The oracle, against trying every number of samples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.recorded import in_order, recorded, recordings

from dynasor.core.errors import UserError
from dynasor.core.types import PolicySpec
from dynasor.evaluate.oracle import oracle
from dynasor.evaluate.recorded import trajectory
from dynasor.evaluate.replay import Job, replay


@given(recordings(), st.integers(0, 5))
def test_brute_force(question, seed):
    """It stops at the first vote as good as the whole, or at once where the whole is wrong."""
    cap = len(question.tokens)
    ends = [trajectory(question, knob, seed) for knob in range(1, cap + 1)]
    best = ends[-1].quality[-1]
    good = [knob for knob, end in enumerate(ends, start=1) if end.quality[-1] >= best]
    knob = good[0] if best > 0 else 1
    found = oracle([question], cap, seed)
    assert found.knob.tolist() == found.launched.tolist() == [knob]
    assert found.tokens.tolist() == found.finished_tokens.tolist() == [ends[knob - 1].tokens[-1]]
    assert found.quality.tolist() == [ends[knob - 1].quality[-1]]
    assert found.certaindex.tolist() == [ends[knob - 1].certaindex[-1]]


@given(recordings(), st.integers(0, 5))
def test_bound(question, seed):
    """Even with the oracle's knob as its cap spends the same and is worth as much."""
    cap = len(question.tokens)
    found = oracle([question], cap, seed)
    spec = PolicySpec("even", has_lock=False)
    short = replay([question], Job(spec, int(found.knob[0])), seed)
    assert short.tokens.tolist() == found.tokens.tolist()
    assert short.quality.tolist() == found.quality.tolist()


def test_order_of_questions():
    """The arrays are in the questions' order."""
    questions = [in_order("ab", name="x", tokens=[1, 5]), in_order("baa", (1,), [2, 3, 4], "y")]
    found = oracle(questions, 2, 0)
    assert found.tokens.tolist() == [1, 2], "b is right in neither, or a is never ahead"
    assert oracle(questions[1:], 3, 0).tokens.tolist() == [9]


def test_cap():
    """A cap beyond what was recorded is refused."""
    with pytest.raises(UserError, match="'q' has 2"):
        oracle([recorded("ab")], 3, 0)
