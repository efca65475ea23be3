from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.tasks import MathTask


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("... \\boxed{\\sqrt{2}}", "\\sqrt{2}"),
        ("The answer is 4, so \\boxed{5}", "5"),
        ("The answer is 5 square metres.", "5 square metres"),
        ("The answer is $\\frac{1}{2}$", "\\frac{1}{2}"),
        ("The answer is wrong since we have forgotten a term", None),
        ("The answer is 5 but \\boxed{", None),
        ("The answer is 5 but \\boxed{}", None),
        ("thinking", None),
    ],
)
def test_extraction(text, answer):
    """The last box is the answer, or else a statement that is no prose."""
    assert MathTask().extract(text) == answer


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("5", "5.0"),
        ("1,000", "1000"),
        ("36,\\!000", "36{,}000"),
        ("\\dfrac{1}{2}", "0.5"),
        ("-\\frac{1}{2}", "-1/2"),
        ("−3", "-3."),
        ("\\$18.90", "18.9"),
        ("007", "7"),
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3,\\tfrac{\\pi}{2})"),
        ("\\text{east}", "east"),
        ("\\text{No solution.}", "No solution"),
        ("x\\, y", "x y"),
    ],
)
def test_same_at_sight(left, right):
    """Spellings that cannot mean different things are the same without a worker."""
    assert MathTask().same(left, right) is True
    assert MathTask().grade("?", left, right) is True


@pytest.mark.parametrize(
    ("left", "right"), [("5", "6"), ("0.333333", "1/3"), ("-1/2", "1/2"), ("1,000", "1")]
)
def test_numbers_differ_exactly(left, right):
    """Plain numbers are compared as fractions, without rounding."""
    assert MathTask().same(left, right) is False
    assert MathTask().grade("?", left, right) is False


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("1 2", "12"),
        ("1 \\, 2", "12"),
        ("10%", "10"),
        ("5\\text{ cm}", "5\\text{ m}"),
        ("1/0", "2/0"),
        ("\\leftarrow", "arrow"),
        ("East", "east"),
        ("\\frac12", "\\frac{1}{2}"),
        ("1,2", "12"),
        ("٣", "3"),
        ("a\\\\ b", "a\\ b"),
    ],
)
def test_what_may_differ_is_left_to_a_worker(left, right):
    """No normalisation decides what takes knowledge of mathematics."""
    assert MathTask().same(left, right) is None
    assert MathTask().grade("?", left, right) is None


@given(numerator=st.integers(), denominator=st.integers(min_value=1), factor=st.integers(1, 99))
def test_a_fraction_is_its_expansion(numerator, denominator, factor):
    """Expanding a fraction does not change it."""
    plain = f"{numerator}/{denominator}"
    expanded = f"\\frac{{{numerator * factor}}}{{{denominator * factor}}}"
    assert MathTask().same(plain, expanded) is True


def test_an_overlong_answer_is_its_text():
    """A derivation of thousands of characters is never parsed."""
    long = "1+" * 2_000 + "1"
    assert MathTask().same(long, long) is True
    assert MathTask().same(long, "2001") is False


@pytest.mark.slow
def test_final_verdicts_are_math_verifys():
    """Formulas are equal by meaning, a derivation counts as its result, nonsense as its text."""
    task = MathTask()
    task.prepare()
    assert task.equal("\\sqrt{117}", "3\\sqrt{13}")
    assert task.equal("7 + 2 = 9", "9")
    assert task.equal("5", "x=5")
    assert task.equal("\\{2,1\\}", "\\{1,2\\}")
    assert not task.equal("x+1", "x-1")
    assert not task.equal("", "1")
    assert task.equal("$ {{ $", "{{")
