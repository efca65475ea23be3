"""Read an arithmetic expression safely: its value, its numbers, and its normal form.

Only integers, decimals, ``+ - * /`` and parentheses; nothing is evaluated by Python. The size is
bounded, so that no input is slow. Two expressions have one normal form when commutativity,
associativity and signs are all that sets them apart: ``(10-4)*5-6`` and ``-6+5*(10-4)``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fractions import Fraction
from math import prod

from msgspec import Struct

__all__ = ["Expression", "read"]

# Four numbers take some thirty characters and ten nodes.
LONGEST = 200
MOST_NODES = 100

_SPELLINGS = (
    (re.compile(r"\\(?:left|right)(?![A-Za-z])|\\[,;:! ]|\$"), " "),
    (re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}"), r"((\1)/(\2))"),
    (re.compile(r"\\times(?![A-Za-z])|\\cdot(?![A-Za-z])|[×·⋅∗]|(?<=[\d)\s])[xX](?=[\d(\s])"), "*"),
    (re.compile(r"\\div(?![A-Za-z])|÷"), "/"),
    (re.compile("[−–]"), "-"),
    (re.compile(r"[\[{]"), "("),
    (re.compile(r"[\]}]"), ")"),
    (re.compile(r"(?<=\))\s*(?=[(\d])|(?<=\d)\s*(?=\()"), "*"),
)
_READABLE = re.compile(r"[0-9+\-*/(). ]+")
_CLAIM = re.compile(r"\s*=\s*[-+0-9./ ]*$")


class Expression(Struct, frozen=True):
    """An expression that was read: `value` None where it divides by zero.

    `numbers` are its literals in ascending order, `form` its normal form.
    """

    value: Fraction | None
    numbers: tuple[Fraction, ...]
    form: str


def read(text: str) -> Expression | None:
    """Read an expression, LaTeX or plain, with or without a final "= 24"; None if it is none."""
    tree = _parse(text)
    if tree is None:
        return None
    nodes = list(ast.walk(tree))
    if len(nodes) > MOST_NODES or not all(_is_arithmetic(node) for node in nodes):
        return None
    numbers = sorted(_literal(node) for node in nodes if isinstance(node, ast.Constant))
    try:
        value: Fraction | None = _value(tree)
    except ZeroDivisionError:
        value = None
    return Expression(value, tuple(numbers), _sum(tree))


def _parse(text: str) -> ast.expr | None:
    if len(text) > LONGEST:
        return None
    for pattern, spelling in _SPELLINGS:
        text = pattern.sub(spelling, text)
    text = _CLAIM.sub("", text).strip()
    if not _READABLE.fullmatch(text):
        return None
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _is_arithmetic(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return type(node.value) in {int, float}
    return isinstance(node, ast.BinOp | ast.UnaryOp | ast.operator | ast.unaryop) and not (
        isinstance(node, ast.FloorDiv | ast.Pow)
    )


def _literal(node: ast.Constant) -> Fraction:
    return Fraction(str(node.value))


def _value(node: ast.expr) -> Fraction:
    match node:
        case ast.BinOp(left, op, right):
            a, b = _value(left), _value(right)
            match op:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
            return a / b
        case ast.UnaryOp(op, operand):
            return -_value(operand) if isinstance(op, ast.USub) else _value(operand)
    assert isinstance(node, ast.Constant)
    return _literal(node)


def _sum(node: ast.expr) -> str:
    """Write a sum in normal form."""
    return _signed(sorted(_terms(node, 1)), 1)


def _signed(terms: list[tuple[str, int]], lead: int) -> str:
    return "".join(f"{'+' if sign == lead else '-'}{form}" for form, sign in terms)


def _terms(node: ast.expr, sign: int) -> Iterator[tuple[str, int]]:
    """Yield the terms of nested sums, each a product's form and its sign."""
    match node:
        case ast.BinOp(left, ast.Add(), right):
            yield from _terms(left, sign)
            yield from _terms(right, sign)
        case ast.BinOp(left, ast.Sub(), right):
            yield from _terms(left, sign)
            yield from _terms(right, -sign)
        case ast.UnaryOp(op, operand):
            yield from _terms(operand, -sign if isinstance(op, ast.USub) else sign)
        case _:
            factors = list(_factors(node, "*"))
            yield "".join(sorted(form for form, _ in factors)), sign * prod(s for _, s in factors)


def _factors(node: ast.expr, mark: str) -> Iterator[tuple[str, int]]:
    """Yield the factors of nested products, each a form behind "*" or "/", and its sign.

    The first term of a factor that is a sum gets a plus: ``3*(a-b)`` is ``-3*(b-a)``.
    """
    match node:
        case ast.BinOp(left, ast.Mult(), right):
            yield from _factors(left, mark)
            yield from _factors(right, mark)
        case ast.BinOp(left, ast.Div(), right):
            yield from _factors(left, mark)
            yield from _factors(right, "/" if mark == "*" else "*")
        case ast.UnaryOp(op, operand):
            yield "", -1 if isinstance(op, ast.USub) else 1
            yield from _factors(operand, mark)
        case ast.Constant():
            yield f"{mark}{_literal(node)}", 1
        case _:
            terms = sorted(_terms(node, 1))
            lead = terms[0][1]
            yield f"{mark}({_signed(terms, lead)})", lead
