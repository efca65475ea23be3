"""Recorded samples in an engine's place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.recorded import in_order, recorded, recordings

from dynasor.core.errors import UserError
from dynasor.core.types import Call, Generate, Prompt, Score, Usage
from dynasor.evaluate.recording import RecordedTask, Recording
from dynasor.sim.engine import Segment

TASK = RecordedTask()


def call(program, number, *scored):
    """A program's n-th call: a generation, or a score of these texts."""
    items = tuple(Prompt((), text) for text in scored)
    work = Score(items) if scored else Generate(Prompt(()))
    return Call(f"{program}#{number}", program, "generate", work, program, program)


def drawn(recording, program, count):
    """The next samples' tokens and answers."""
    outcomes = [recording(call(program, number), 1) for number in range(count)]
    return [(one.tokens, TASK.extract(one.output.text)) for one in outcomes]


@given(recordings(), st.integers(0, 5))
def test_order(question, seed):
    """A program's calls get the samples of its question's shuffle, one after the other."""
    recording = Recording()
    recording.add("p", question, seed)
    found = drawn(recording, "p", len(question.tokens))
    expected = [
        (question.tokens[place], None if question.classes[place] is None else group)
        for place in question.order(seed)
        for group in [str(question.classes[place])]
    ]
    assert found == expected
    assert recording.drawn("p") == len(question.tokens)


def test_programs_do_not_meet():
    """Two programs of one question each draw all of its samples, with seeds of their own."""
    question, recording = recorded("abcdefgh", tokens=list(range(8))), Recording()
    recording.add("w/00000", question, 0)
    recording.add("w/00001", question, 1)
    first, second = (drawn(recording, f"w/0000{number}", 8) for number in range(2))
    assert first != second
    assert sorted(first) == sorted(second)


def test_retry():
    """Another attempt of a call gets the same sample, also after others have drawn."""
    recording = Recording()
    recording.add("p", in_order("abc", tokens=[1, 2, 3]), 0)
    first = recording(call("p", 0), 1)
    recording(call("p", 1), 1)
    assert recording(call("p", 0), 2) == recording(call("p", 0), 3) == first
    assert recording.drawn("p") == 2
    assert recording(call("p", 2), 1).tokens == 3


def test_path():
    """A prompt's segments travel with every outcome, and their tokens are billed."""
    path, recording = (Segment("w", 100), Segment("p", 7)), Recording()
    recording.add("p", recorded("ab"), 0, path)
    outcome = recording(call("p", 0), 1)
    assert (outcome.path, outcome.key) == (path, "")
    assert outcome.output.usage == Usage(107, 10)


def test_rewards():
    """A score call gets the rewards of the samples that it names."""
    recording = Recording()
    recording.add("p", in_order("-a", rewards=(0.25, 0.5)), 0)
    texts = [recording(call("p", number), 1).output.text for number in range(2)]
    assert [TASK.extract(text) for text in texts] == [None, "0"]
    outcome = recording(call("p", 2, *reversed(texts)), 1)
    assert (outcome.output.rewards, outcome.tokens) == ((0.5, 0.25), 0)


def test_no_rewards():
    """Rewards that were not recorded are an error in one line."""
    recording = Recording()
    recording.add("p", recorded("ab"), 0)
    with pytest.raises(UserError, match="'q' has no reward for every sample") as caught:
        recording(call("p", 0, "0"), 1)
    assert "\n" not in str(caught.value)


def test_forget():
    """A program that is forgotten leaves nothing, and may be forgotten twice."""
    recording = Recording()
    recording.add("p", recorded("ab"), 0)
    recording.forget("p")
    recording.forget("p")
    with pytest.raises(KeyError):
        recording(call("p", 0), 1)
