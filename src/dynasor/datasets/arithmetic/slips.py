"""Solutions of arithmetic problems that go wrong, and how far each of their lines is right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import get_args

from dynasor.datasets.arithmetic.generator import Problem
from dynasor.datasets.arithmetic.steps import Quantity, Sign, Step, conclusion, recalculate

_TRIES = 8

_EQUATION = re.compile(r"(\d+)([-+*/])(\d+)=(\d+)\.?")


@dataclass(frozen=True, slots=True)
class Attempt:
    """Hold the lines of one solution, and for each whether all is right as far as that line."""

    lines: tuple[str, ...]
    is_right: tuple[bool, ...]


def misread(number: int, rng: Random) -> int:
    """Return a number that is wrong the way a slip is: off by one, by ten, or in one digit."""
    while True:
        kind = rng.randrange(4)
        if kind == 0:
            wrong = number + rng.choice((-1, 1))
        elif kind == 1:
            wrong = number + rng.choice((-10, 10))
        else:
            digits = list(str(number))
            digits[rng.randrange(len(digits))] = str(rng.randrange(10))
            wrong = int("".join(digits))
        if wrong != number and wrong >= 0:
            return wrong


def careless(problem: Problem, chance: float, rng: Random) -> str:
    """Return a solution that slips with this chance at each step with a number of three digits.

    What follows a slip is worked out from its result; a slip that would make a later step
    impossible is not made.
    """
    results: dict[int, int] = {}
    for index in range(len(problem.calculation)):
        step = _worked(problem, results)[index]
        if max(step.left.value, step.right.value, step.result) < 100 or rng.random() >= chance:
            continue
        slipped = results | {index: misread(step.result, rng)}
        if recalculate(problem.calculation, slipped) is not None:
            results = slipped
    steps = _worked(problem, results)
    return "\n".join([*(f"{step}." for step in steps), conclusion(steps[-1].result)])


def _worked(problem: Problem, results: dict[int, int]) -> list[Step]:
    steps = recalculate(problem.calculation, results)
    assert steps is not None, "only what is possible is made"
    return steps


def attempt(problem: Problem, rng: Random) -> Attempt:
    """Return the right solution, or as often one that goes wrong at some step and carries on."""
    steps = list(problem.calculation)
    if rng.random() >= 0.5:
        for _ in range(_TRIES):
            wrong = _go_wrong(steps, rng)
            if wrong is not None and _results(wrong) != _results(steps):
                return grade(problem, [*(f"{s}." for s in wrong), conclusion(wrong[-1].result)])
    return grade(problem, problem.solution.split("\n"))


def grade(problem: Problem, lines: Sequence[str]) -> Attempt:
    """Tell how far a solution is right: its lines must be the worked solution's, in order.

    The operands of a sum or a product may be exchanged. A solution that stops early is right as far
    as it goes.
    """
    right = problem.solution.split("\n")
    verdicts: list[bool] = []
    for index, line in enumerate(lines):
        before = verdicts[-1] if verdicts else True
        verdicts.append(before and index < len(right) and _read(line) == _read(right[index]))
    return Attempt(tuple(lines), tuple(verdicts))


def _read(line: str) -> tuple[str, ...]:
    equation = _EQUATION.fullmatch("".join(line.split()))
    if equation is None:
        return (line.strip(),)
    left, sign, right, result = equation.groups()
    operands = sorted((left, right)) if sign in "+*" else (left, right)
    return (*operands, sign, result)


def _results(steps: Sequence[Step]) -> list[int]:
    return [step.result for step in steps]


def _go_wrong(steps: list[Step], rng: Random) -> list[Step] | None:
    """Change one step; None where the rest could not be carried on with that change."""
    at = rng.randrange(len(steps))
    step = steps[at]
    kind = rng.randrange(5)
    if kind <= 1:
        return recalculate(steps, {at: misread(step.result, rng)})
    if kind == 2:
        sign: Sign = rng.choice([s for s in get_args(Sign) if s != step.sign])
        return recalculate([*steps[:at], replace(step, sign=sign), *steps[at + 1 :]])
    if kind == 3:
        return recalculate([*steps[:at], _other_operand(steps, at, rng), *steps[at + 1 :]])
    return _skip(steps, at)


def _other_operand(steps: list[Step], at: int, rng: Random) -> Step:
    """Take a number that stands elsewhere in the story, or the count of an earlier step."""
    step = steps[at]
    stated = [q for s in steps for q in (s.left, s.right) if q.step is None]
    earlier = [Quantity(s.result, i) for i, s in enumerate(steps[:at])]
    other = rng.choice(stated + earlier)
    is_left = step.left.step is not None and rng.random() < 0.5
    return replace(step, left=other) if is_left else replace(step, right=other)


def _skip(steps: list[Step], at: int) -> list[Step] | None:
    """Leave a step out; what used its result uses the number it started from."""
    if at == len(steps) - 1:
        return None if at == 0 else recalculate(steps[:-1])
    gone = steps[at].left

    def moved(quantity: Quantity) -> Quantity:
        if quantity.step is None or quantity.step < at:
            return quantity
        return gone if quantity.step == at else Quantity(quantity.value, quantity.step - 1)

    rest = [replace(s, left=moved(s.left), right=moved(s.right)) for s in steps[at + 1 :]]
    return recalculate([*steps[:at], *rest])
