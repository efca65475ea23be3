from __future__ import annotations

import pytest

from dynasor.tasks import ChoiceTask


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("\\boxed{B}", "B"),
        ("\\boxed{(F) 12}", "F"),
        ("\\boxed{\\text{E}}", "E"),
        ("The answer is (B).", "B"),
        ("the answer is (c)", "C"),
        ("Answer: **D**", "D"),
        ("Answer: B) twelve", "B"),
        ("the answer is option G: x", "G"),
        ("The answer is B because", "B"),
        ("So the answer is A because", "A"),
        ("The answer is \\textbf{(J)}", "J"),
        ("A and B are wrong.\n\n(C)\n", "C"),
        ("The answer is B. No: the answer is D.", "D"),
        ("\\boxed{12}, so the answer is B", "B"),
        ("the answer is A good idea", None),
        ("the answer is I think B", None),
        ("the answer is a matter of taste", None),
        ("the answer is K", None),
        ("\\boxed{", None),
        ("", None),
    ],
)
def test_extraction(text, letter):
    """The letter comes from the last box, statement or line of its own, never from a word."""
    assert ChoiceTask().extract(text) == letter


@pytest.mark.parametrize(
    ("left", "right"), [("B", "(b)"), ("B", "B. twelve"), ("12 apples", "12  apples")]
)
def test_same(left, right):
    """One letter in two spellings is the same, and so is one text."""
    assert ChoiceTask().same(left, right)


def test_grading():
    """An answer is right when its letter is the reference's."""
    assert ChoiceTask().grade("?", "B", "(B)")
    assert not ChoiceTask().grade("?", "A", "B")
    assert not ChoiceTask().grade("?", "twelve", "B")
