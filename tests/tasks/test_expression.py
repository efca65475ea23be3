from __future__ import annotations

import pytest

from dynasor.tasks import ExpressionTask


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Steps: ...\nAnswer: (6 - 4) * 12 = 24", "(6 - 4) * 12 = 24"),
        ("\\boxed{4*6*1*1}", "4*6*1*1"),
        ("4 * 6 = 24", None),
    ],
)
def test_extraction(text, answer):
    """The expression stands in the last box or behind the last "Answer:"."""
    assert ExpressionTask().extract(text) == answer


def test_same_is_always_decided():
    """Expressions are compared by form, other texts as texts, and one never equals the other."""
    same = ExpressionTask().same
    assert same("4*6", "6 \\times 4 = 24")
    assert not same("4*6", "4+6")
    assert same("No  solution", "no solution")
    assert not same("4*6", "four times six")


@pytest.mark.parametrize(
    ("answer", "is_right"),
    [
        ("4*6*1*1", True),
        ("(1*1)*(4*6) = 24", True),
        ("4*6", False),
        ("4*6*1*1*1", False),
        ("4*6+1-1 = 23", True),
        ("4+6+1+1 = 24", False),
        ("46/1-1-1", False),
        ("24", False),
        ("none", False),
        ("4/(1-1)*6", False),
    ],
)
def test_grading(answer, is_right):
    """An answer is right when it makes 24 of exactly the numbers given; claims do not count."""
    assert ExpressionTask().grade("1 1 4 6", answer, "24") is is_right


def test_the_target_is_the_gold_number():
    """Another gold number, or an expression that makes it, is the target instead of 24."""
    assert ExpressionTask().grade("2, 3 and 5", "2*3+5", "11")
    assert ExpressionTask().grade("2 3 5", "2*3+5", "5+3*2 = 11")
    assert ExpressionTask().grade("4 6", "4*6", "(no number)")
