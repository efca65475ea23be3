"""Find an expression that makes a number, as in the Game of 24: "1 1 4 6"."""

from __future__ import annotations

import re
from fractions import Fraction

from dynasor.core.types import Message, Prompt
from dynasor.tasks.arithmetic import Expression, read
from dynasor.tasks.extraction import last_box, last_statement

__all__ = ["ExpressionTask"]

INSTRUCTION = (
    "Use each of the given numbers exactly once, with + - * / and parentheses, to make 24. "
    "Work step by step, then write one line: Answer: <expression> = 24"
)

TARGET = Fraction(24)
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
# More numbers than that are no question of this kind.
LONGEST_QUESTION = 2_000


class ExpressionTask:
    """Questions that list numbers; an answer combines all of them into the target.

    Two answers are the same when they have one normal form (`dynasor.tasks.arithmetic`): the
    hundred spellings of one solution are one class, two solutions are two.
    """

    name = "expression"
    runs_programs = False

    def prompt(self, question: str) -> Prompt:
        """Ask for an expression on a line that begins with "Answer:"."""
        return Prompt((Message("system", INSTRUCTION), Message("user", question)))

    def extract(self, text: str) -> str | None:
        """Return the last box's content, or else what follows the last "Answer:"."""
        box = last_box(text)
        return last_statement(text) if box is None else box or None

    def same(self, left: str, right: str) -> bool:
        """Compare normal forms; what is no expression is compared as text."""
        one, other = read(left), read(right)
        if one is None or other is None:
            return one is other and _folded(left) == _folded(right)
        return one.form == other.form

    def prepare(self) -> None:
        """Do nothing: nothing is slow here."""

    def equal(self, answer: str, reference: str) -> bool:
        """Do as `same`."""
        return self.same(answer, reference)

    def grade(self, question: str, answer: str | None, gold: str) -> bool:
        """Check that the answer makes the gold number (or expression's value) of all numbers.

        A gold text that is no number stands for 24. A claim such as "= 24" proves nothing.
        """
        made = read(answer) if answer is not None else None
        if made is None or made.value is None:
            return False
        return made.value == _target(read(gold)) and made.numbers == _given(question)


def _target(gold: Expression | None) -> Fraction:
    return TARGET if gold is None or gold.value is None else gold.value


def _given(question: str) -> tuple[Fraction, ...]:
    return tuple(sorted(Fraction(one) for one in _NUMBER.findall(question[:LONGEST_QUESTION])))


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
