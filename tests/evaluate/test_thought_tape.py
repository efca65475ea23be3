"""Recorded thoughts in an engine's place."""

from __future__ import annotations

import pytest
from toys.recorded import recorded

from dynasor.core.errors import UserError
from dynasor.core.types import Call, Generate, Prompt, Sampling, Score
from dynasor.evaluate.recorded import RecordedProbe, RecordedThought
from dynasor.evaluate.recording import RecordedTask, Recording
from dynasor.evaluate.thought_tape import CLOSED, PROBE

PROBES = (RecordedProbe(8, None, 3), RecordedProbe(16, 1, 4, -0.5))
CLEAR = RecordedThought(22, 0, PROBES, 17)
CUT = RecordedThought(24, 1, (*PROBES, RecordedProbe(24, 1, 5)), 24, is_elicited=True, is_cut=True)
TASK = RecordedTask()


class Program:
    """Calls of one program on a recording."""

    def __init__(self, *thoughts, seed=0):
        self.recording = Recording()
        self.recording.add("p", recorded("ab", is_ordered=True, thoughts=thoughts), seed)
        self.count = 0

    def call(self, work):
        self.count += 1
        return self.recording(Call(f"p#{self.count}", "p", "generate", work, "p", "p"), 1)

    def think(self, prefix="", most=8192):
        return self.call(Generate(Prompt((), prefix), Sampling(most)))

    def probe(self, thoughts):
        return self.call(Generate(Prompt((), thoughts + PROBE)))


def test_chain():
    """A chain has a character a token; its thoughts are closed, and its end has its answer."""
    found = Program(CLEAR).think()
    text = found.output.text
    assert (len(text), found.tokens, found.output.finish_reason) == (22, 22, "stop")
    thoughts, _, final = text.partition(CLOSED)
    assert (len(thoughts), TASK.extract(thoughts), TASK.extract(final)) == (17, None, "0")


def test_cut():
    """A chain that was cut is never closed, and has no answer of its own."""
    found = Program(CUT).think()
    assert CLOSED not in found.output.text
    assert (TASK.extract(found.output.text), found.output.finish_reason) == (None, "length")


def test_probes():
    """A probe says what the latest recorded one up to its place said; before the first nothing."""
    on = Program(CUT)
    text = on.think().output.text
    found = [on.probe(text[:at]) for at in (5, 8, 15, 16, 23, 24)]
    assert [TASK.extract(one.output.text) for one in found] == [None, None, None, "1", "1", "1"]
    assert [one.tokens for one in found] == [0, 3, 3, 4, 4, 5]
    assert found[3].output.mean_logprob == -0.5
    assert on.recording.missing("p") == 1


def test_chains_side_by_side():
    """Each of a program's chains is another one, and a seed says which is the first."""
    on = Program(CLEAR, CUT, seed=1)
    first, second, third = (on.think().output.text for _ in range(3))
    assert [len(one) for one in (first, second, third)] == [24, 22, 24]
    assert TASK.extract(on.probe(second[:16]).output.text) == "1"
    assert on.recording.missing("p") == 1


def test_pieces():
    """A chain that is asked for piece by piece is the same one."""
    on = Program(CLEAR)
    text, reason = "", "length"
    while reason == "length":
        found = on.think(text, 8)
        text, reason = text + found.output.text, found.output.finish_reason
        assert found.tokens == len(found.output.text)
    assert text == Program(CLEAR).think().output.text


def test_prompts():
    """A probe's prompt is the chain's beginning."""
    on = Program(CLEAR)
    chain = on.think()
    (segment,) = on.probe(chain.output.text[:16]).path
    assert (segment.key, segment.tokens) == (chain.key, 16)


@pytest.mark.parametrize("tokens", range(6))
def test_short(tokens):
    """A chain shorter than its codes still says what it came to."""
    found = Program(RecordedThought(tokens, 0, (), min(1, tokens))).think()
    assert (found.tokens, TASK.extract(found.output.text)) == (tokens, "0")


def test_what_is_no_chain():
    """A text that is no chain's, and a score, are one error each."""
    with pytest.raises(UserError, match="none of its chains"):
        Program(CLEAR).think("so")
    with pytest.raises(UserError, match="no rewards"):
        Program(CLEAR).call(Score((Prompt((), "so"),)))
