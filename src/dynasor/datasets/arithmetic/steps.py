"""One calculation: quantities, steps, and what follows when a step has another result."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Sign = Literal["+", "-", "*", "/"]

_OPERATIONS: dict[Sign, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.floordiv,
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """Hold a whole number and the index of the step that made it, None if the story states it."""

    value: int
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """Hold one operation on two quantities and its result; a division leaves no remainder."""

    left: Quantity
    sign: Sign
    right: Quantity
    result: int

    def __str__(self) -> str:
        """Write it as in a solution, ``12+7=19``."""
        return f"{self.left.value}{self.sign}{self.right.value}={self.result}"


def operate(left: int, sign: Sign, right: int) -> int:
    """Apply one operation; a quotient is rounded down."""
    return _OPERATIONS[sign](left, right)


def conclusion(answer: object) -> str:
    """Return the sentence that states an answer."""
    return f"The answer is \\boxed{{{answer}}}."


def true_result(step: Step) -> int:
    """Return what a step's operation gives, whatever result it has."""
    return operate(step.left.value, step.sign, step.right.value)


def recalculate(
    calculation: Sequence[Step], results: Mapping[int, int] | None = None
) -> list[Step] | None:
    """Work a calculation out again where some steps have other ``results`` than they should.

    Returns None where a division would leave a remainder or a difference fall below zero.
    """
    done: list[Step] = []

    def now(quantity: Quantity) -> Quantity:
        made_by = quantity.step
        return quantity if made_by is None else Quantity(done[made_by].result, made_by)

    for index, step in enumerate(calculation):
        left, right = now(step.left), now(step.right)
        if step.sign == "/" and (right.value == 0 or left.value % right.value):
            return None
        result = operate(left.value, step.sign, right.value)
        if result < 0:
            return None
        done.append(Step(left, step.sign, right, (results or {}).get(index, result)))
    return done
