"""Multiple choice: one letter from A to J."""

from __future__ import annotations

import re

from dynasor.core.types import Message, Prompt
from dynasor.tasks.extraction import last_box, last_statement

__all__ = ["ChoiceTask"]

INSTRUCTION = (
    "Choose the right option. Think step by step, then give the letter of the option, and "
    "nothing else, in \\boxed{}."
)

# A letter stands at the beginning; the rest is its reason.
LONGEST_READ = 100

# What may surround a letter, as in "**(B)**", "\\text{B}" or "Option B".
_WRAPPING = re.compile(r"\\[a-z]+|[{}(\[*$`\"']|\b(?:option|choice)\b", re.IGNORECASE)
# "B) 12", "b.", "B because"; A and I are words too: "A good", "I think".
_OPTION = re.compile(r"([A-Ja-j])\s?(?:[).:,\]]|$)|([B-HJ])\b|([AI])(?=\s(?:because|since|as)\b)")
_LINE = re.compile(r"^[ \t]*[(*]{0,3}([A-J])[)*.]{0,4}[ \t]*$", re.MULTILINE)


class ChoiceTask:
    """Questions whose answer is one of the options A to J."""

    name = "choice"
    runs_programs = False

    def prompt(self, question: str) -> Prompt:
        r"""Ask for the option's letter in ``\boxed{}``; the question lists its options."""
        return Prompt((Message("system", INSTRUCTION), Message("user", question)))

    def extract(self, text: str) -> str | None:
        """Return the letter of the last box, "answer is" or line of its own, in that order."""
        for statement in (last_box(text), last_statement(text)):
            letter = _letter(statement or "")
            if letter:
                return letter
        lines = _LINE.findall(text)
        return str(lines[-1]) if lines else None

    def same(self, left: str, right: str) -> bool:
        """Compare letters; what is no letter is compared as text."""
        return _option(left) == _option(right)

    def prepare(self) -> None:
        """Do nothing: nothing is slow here."""

    def equal(self, answer: str, reference: str) -> bool:
        """Do as `same`."""
        return self.same(answer, reference)

    def grade(self, question: str, answer: str | None, gold: str) -> bool:
        """Compare with the reference letter."""
        return answer is not None and self.same(answer, gold)


def _letter(statement: str) -> str | None:
    """Return the letter that a statement begins with, in upper case."""
    found = _OPTION.match(" ".join(_WRAPPING.sub(" ", statement[:LONGEST_READ]).split()))
    return found[found.lastindex or 0].upper() if found else None


def _option(answer: str) -> str:
    """Return the letter that an answer is, or the answer itself, its blanks folded."""
    return _letter(answer) or " ".join(answer.split())
