"""Recorded chains as questions."""

from __future__ import annotations

import pytest
from toys.recorded import recorded

from dynasor.evaluate.recorded import RecordedProbe
from dynasor.evaluate.thoughts import all_answers, with_thoughts
from dynasor.traces import Chain, ChainLine, Probe

LINE = ChainLine(
    "q",
    "q?",
    (
        Chain("so", 26, "2", (Probe(8, "1", 3), Probe(16, None, 4), Probe(24, "2", 3, -0.1))),
        Chain("hm", 12, None, (Probe(8, "1", 3), Probe(12, None, 2)), is_elicited=True),
    ),
    "2",
)


def question(rounds=4):
    """The line's question; its answers are classes by appearance."""
    return with_thoughts(LINE, recorded("abcab-b--"[:7], name="q"), 8, rounds)


def test_answers_in_order():
    """The answers of a line are its chains', each followed by those of its probes."""
    assert [one.answer for one in all_answers(LINE).samples] == [
        "2", "1", None, "2", None, "1", None,
    ]  # fmt: skip


def test_chains():
    """Classes go back to the chains and probes that they came of."""
    first, second = question().thoughts
    assert (first.tokens, first.group, first.thoughts) == (26, 0, 25)
    assert first.probes[:2] == (RecordedProbe(8, 1, 3), RecordedProbe(16, 2, 4))
    assert (second.group, second.is_elicited, second.thoughts) == (1, True, 12)


def test_rounds():
    """A unit is a round of the first chain: its tokens, and what is known behind it."""
    found = question(rounds=5)
    assert found.tokens == (8, 8, 8, 2, 0)
    assert found.classes == (1, 2, 0, 0, 0)
    assert found.is_ordered
    assert found.longest == 26 + 4


@pytest.mark.parametrize(
    ("at", "tokens"), [(0, None), (7, None), (8, 3), (15, 3), (16, 4), (24, 3), (99, 3)]
)
def test_probe(at, tokens):
    """The probe of a place is the latest one up to it."""
    probe = question().thoughts[0].probe(at)
    assert (None if probe is None else probe.tokens) == tokens
