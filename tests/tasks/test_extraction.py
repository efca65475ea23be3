from __future__ import annotations

import pytest

from dynasor.tasks.extraction import last_box, last_statement


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("so \\boxed{5}.", "5"),
        ("\\boxed{1} or rather \\boxed{2}", "2"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\fbox{7}", "7"),
        ("\\boxed {7}", "7"),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed{\\left\\{ x \\right.}", "\\left\\{ x \\right."),
        ("\\boxed{\\boxed{3}}", "3"),
        ("\\boxed{a\\\\b}", "a\\\\b"),
        ("\\boxed{  }", ""),
        ("\\boxed{1} and \\boxed{\\frac{1}{2}", ""),
        ("\\boxed 5", None),
        ("no box {5}", None),
        ("", None),
    ],
)
def test_last_box(text, content):
    """The last box counts, its braces balanced; cut off or empty it holds nothing."""
    assert last_box(text) == content


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        ("The answer is 5.", "5"),
        ("The answer is $3.5$. Therefore", "3.5"),
        ("**Answer:** 12", "12"),
        ("Answer: (1+1)*(4*6) = 24\nDone", "(1+1)*(4*6) = 24"),
        ("The final answer is:\n\n  **x = 2**", "x = 2"),
        ("the answer is 4. No, the answer is 5", "5"),
        ("ANSWER : 9", "9"),
        ("答えは answer：九", "九"),
        ("Answer:", None),
        ("the answers islands", None),
        ("", None),
    ],
)
def test_last_statement(text, statement):
    """What follows the last "answer is" or "Answer:" is the answer, to its sentence's end."""
    assert last_statement(text) == statement


@pytest.mark.parametrize(
    "piece", [" ", "\\boxed{", "answer ", "answer is ", "{", "\\", "answer:\n"]
)
def test_a_megabyte_is_read_quickly(piece):
    """No completion takes more than linear time: this test would not end otherwise."""
    text = piece * (1_000_000 // len(piece))
    last_box("\\boxed{" + text)
    last_statement("answer is" + text)
