"""Long thinking traces for the arithmetic problems: work it out, err, check, correct, conclude.

A trace first works every step out in small pieces (``47*8: 40*8=320, 7*8=56, 320+56=376.``), then
goes over all steps again until two passes in a row agree, and often once more. Slips are put in on
purpose; some are noticed at once, others only by the next pass. Where they stand is told beside
the text, so that a model can be trained to notice slips without being trained to make them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from dynasor.datasets.arithmetic.generator import Problem
from dynasor.datasets.arithmetic.slips import misread
from dynasor.datasets.arithmetic.steps import Step, conclusion, operate, recalculate, true_result

_SLIP, _UNNOTICED, _DOUBT = 0.08, 0.5, 0.03
"""Chances: of a slip at a step, that it stays unnoticed in its pass, of a needless second look."""

_AGAIN = 0.35
"""Chance of one more pass when two agree already."""

_MOST_PASSES = 4

_BEGIN = ("Let me think.", "Step by step.", "Let me see.", "Okay.")
_FIRST = ("First ", "", "Start with ")
_THEN = ("Then ", "Next ", "Now ", "", "")
_SO = ("So it is {}.", "That makes {}.", "I get {}.", "So {}.")
_CHECK = ("Let me check.", "Let me go over it again.", "Is that right?", "Check it:", "Once more.")
_AGREE = ("Again {}.", "Yes, {}.", "It is {} again.", "The same, {}.")
_DIFFER = ("So it is {}, not {}.", "Now I get {} and not {}.", "{} then, {} was wrong.")


@dataclass(frozen=True, slots=True)
class Thought:
    """Hold a trace and the spans [start, end) of characters that are slips.

    ``claims`` are the results of the passes in order; the last one is the problem's answer.
    """

    text: str
    slips: tuple[tuple[int, int], ...]
    claims: tuple[int, ...]


def think(problem: Problem, rng: Random) -> Thought:
    """Think a problem through; the same generator state gives the same trace."""
    return _Trace(problem, rng).run()


def workings(step: Step) -> list[str]:
    """Return the small equations that give a step's result, the last of them; one if it is easy."""
    a, b = step.left.value, step.right.value
    if step.sign in "+-" and b >= 10 and b % 10:
        tens, ones = b - b % 10, b % 10
        middle = operate(a, step.sign, tens)
        return [f"{a}{step.sign}{tens}={middle}", f"{middle}{step.sign}{ones}={step.result}"]
    if step.sign == "*" and max(a, b) > 10 and min(a, b) > 1:
        big, small = max(a, b), min(a, b)
        products = [(f"{part}*{small}", part * small) for part in _places(big)]
        return _add_up(products) if len(products) > 1 else [str(step)]
    if step.sign == "/" and step.result > 10:
        shares = [(f"{part * b}/{b}", part) for part in _places(step.result)]
        return _add_up(shares)
    return [str(step)]


def _places(number: int) -> list[int]:
    """Split a number by decimal places, 376 into 300, 70 and 6; zeros are left out."""
    digits = str(number)
    parts = [int(d) * 10 ** (len(digits) - 1 - i) for i, d in enumerate(digits)]
    return [part for part in parts if part]


def _add_up(parts: list[tuple[str, int]]) -> list[str]:
    lines = [f"{text}={value}" for text, value in parts]
    total = parts[0][1]
    for _, value in parts[1:]:
        lines.append(f"{total}+{value}={total + value}")
        total += value
    return lines


@dataclass(slots=True)
class _Trace:
    """Grow the text of one trace; ``found`` are the results of the pass so far."""

    problem: Problem
    rng: Random
    parts: list[str] = field(default_factory=list)
    length: int = 0
    slips: list[tuple[int, int]] = field(default_factory=list)
    claims: list[int] = field(default_factory=list)
    found: list[int] = field(default_factory=list)

    def run(self) -> Thought:
        if self.rng.random() < 0.6:
            self.say(self.rng.choice(_BEGIN) + "\n")
        self.work_out()
        while len(self.claims) < _MOST_PASSES:
            if self.is_settled() and self.rng.random() > _AGAIN:
                break
            self.check()
        return Thought("".join(self.parts), tuple(self.slips), tuple(self.claims))

    def is_settled(self) -> bool:
        """Tell whether two passes agree, and not by two slips with one result."""
        return self.claims[-2:] == [int(self.problem.answer)] * 2

    def say(self, text: str, *, is_slip: bool = False) -> None:
        if is_slip:
            self.slips.append((self.length, self.length + len(text)))
        self.parts.append(text)
        self.length += len(text)

    def work_out(self) -> None:
        """Make the first pass, a line a step, with workings."""
        for index in range(len(self.problem.calculation)):
            self.say(self.rng.choice(_THEN if index else _FIRST))
            self.take(index, self.equations, can_slip=True)
            self.say("\n")
        self.claims.append(self.found[-1])
        self.claim(self.rng.choice(_SO))

    def check(self) -> None:
        """Go over all steps again, briefly; say where the result differs from the pass before."""
        before, last = self.found, self.claims[-1]
        self.found = []
        self.say(self.rng.choice(_CHECK))
        # The last two passes that are allowed agree on the right result.
        can_slip = len(self.claims) < _MOST_PASSES - 2
        has_differed = False
        for index in range(len(before)):
            self.say(" ")
            self.take(index, self.result, can_slip=can_slip)
            if self.found[index] != before[index] and not has_differed:
                self.say(f" Before I had {before[index]}.")
                has_differed = True
        self.say("\n")
        self.claims.append(self.found[-1])
        if self.claims[-1] == last:
            self.claim(self.rng.choice(_AGREE))
        else:
            self.claim(self.rng.choice(_DIFFER), last)

    def take(self, index: int, write: Callable[[Step], None], *, can_slip: bool) -> None:
        """Take one step of a pass, with what the pass found so far: rightly, or with a slip."""
        step = self.step(index, self.found)
        wrong = misread(step.result, self.rng) if can_slip and self.rng.random() < _SLIP else None
        if wrong is None:
            write(step)
            if self.rng.random() < _DOUBT:
                self.say(" Wait, ")
                self.equations(step)
                self.say(" Yes.")
            self.found.append(step.result)
            return
        write(replace(step, result=wrong))
        if self.rng.random() < _UNNOTICED and self.is_possible([*self.found, wrong]):
            self.found.append(wrong)
            return
        self.say(" Wait, no. ")
        self.equations(step)
        self.found.append(step.result)

    def step(self, index: int, found: list[int]) -> Step:
        steps = recalculate(self.problem.calculation, dict(enumerate(found)))
        assert steps is not None, "a slip that makes a later step impossible is always noticed"
        return steps[index]

    def is_possible(self, found: list[int]) -> bool:
        """Tell whether the later steps still work: no remainder, nothing below zero."""
        return recalculate(self.problem.calculation, dict(enumerate(found))) is not None

    def claim(self, phrase: str, *others: int) -> None:
        """State the pass's result, at times as an interim final answer."""
        result = self.claims[-1]
        if self.rng.random() < 0.3 and not others:
            self.say(conclusion(result) + "\n")
        else:
            self.say(phrase.format(result, *others) + "\n")

    def equations(self, step: Step) -> None:
        """Write a step with its workings; a wrong result is marked as a slip."""
        right = replace(step, result=true_result(step))
        lines = workings(right)
        head, _ = lines[-1].rsplit("=", 1)
        if len(lines) > 1:
            self.say(f"{step.left.value}{step.sign}{step.right.value}: ")
        self.say("".join(f"{line}, " for line in lines[:-1]))
        self.equation(head, step.result, right.result)

    def result(self, step: Step) -> None:
        """Write a step without workings."""
        self.equation(
            f"{step.left.value}{step.sign}{step.right.value}", step.result, true_result(step)
        )

    def equation(self, left_side: str, result: int, truth: int) -> None:
        self.say(f"{left_side}=")
        self.say(str(result), is_slip=result != truth)
        self.say(".")
