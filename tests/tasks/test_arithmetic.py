from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.tasks.arithmetic import LONGEST, read


@pytest.mark.parametrize(
    "text",
    [
        "(10-4)*5-6",
        "5*(10-4)-6 = 24",
        "-6 + 5 * (10 - 4)",
        "-(6 - (10-4)*5)",
        "5 \\times \\left(10 - 4\\right) - 6",
        "5×[10−4]−6",
        "5(10-4)-6",
        "$5 \\cdot (10-4) - 6$",
        "-5*(4-10)-6",
    ],
)
def test_spellings_of_one_solution(text):
    """Order, grouping, signs and LaTeX do not make a different expression."""
    expression = read(text)
    assert expression.value == 24
    assert expression.numbers == (4, 5, 6, 10)
    assert expression.form == read("(10-4)*5-6").form


def test_different_solutions_differ():
    """Two ways to one value are two expressions."""
    assert read("4*6*1*1").form != read("4*6/1*1").form
    assert read("8/(3-8/3)").form != read("(8/3-8)/3").form
    assert read("a-b") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8/(3-8/3)", 24),
        ("\\frac{8}{3-8/3}", 24),
        ("1.5*16", 24),
        ("-(-3)", 3),
        ("7/2", Fraction(7, 2)),
        ("8/(4-4)", None),
        ("6 ÷ 4", Fraction(3, 2)),
    ],
)
def test_values_are_exact(text, value):
    """Values are fractions; a division by zero has none."""
    assert read(text).value == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "none",
        "2**3",
        "9//2",
        "9^9",
        "f(1)",
        "__import__('os')",
        "1,2",
        "(" * 150,
        "1" * (LONGEST + 1),
        "+".join("1" * 99),
        "\x00",
        "\ud800",
        "007",
        "1 2",
        "4 * 6 = x",
        "٣+٤",
    ],
)
def test_what_is_no_expression(text):
    """Anything but bounded sums and products of numbers is not read at all."""
    assert read(text) is None


NUMBERS = st.integers(1, 13).map(str)
EXPRESSIONS = st.recursive(
    NUMBERS,
    lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({''.join(t)})"),
    max_leaves=6,
)


@given(left=EXPRESSIONS, right=EXPRESSIONS, op=st.sampled_from("+*"))
def test_commutativity(left, right, op):
    """Exchanging the sides of a sum or product changes neither form, value nor numbers."""
    assert read(f"{left}{op}{right}") == read(f"{right}{op}{left}")


@given(a=EXPRESSIONS, b=EXPRESSIONS, c=EXPRESSIONS)
def test_one_form_has_one_value(a, b, c):
    """Expressions that share a form share their value."""
    for one, other in [
        (f"{a}-({b}-{c})", f"{a}-{b}+{c}"),
        (f"{a}/({b}*{c})", f"{a}/{b}/{c}"),
        (f"({a}*{b})*{c}", f"{a}*({b}*{c})"),
    ]:
        assert read(one) == read(other)
