r"""Mathematics: a final ``\boxed{}``, compared as mathematics by math-verify."""

from __future__ import annotations

import logging
import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

from dynasor.core.types import Message, Prompt
from dynasor.tasks.extraction import last_box, last_statement

__all__ = ["MathTask"]

INSTRUCTION = (
    "Solve the problem step by step. Put the final answer, and nothing else, in \\boxed{}."
)

# math-verify compares by computer algebra, whose cost grows steeply with the length; an answer
# this long is a derivation that lost its way.
LONGEST_PARSED = 2_000
PARSES_KEPT = 1_024

# "The answer is 5 square metres" states one; "the answer is wrong since we have ..." does not.
MOST_WORDS = 2
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")

_SPELLINGS = (
    (re.compile(r"\\(?:left|right)(?![A-Za-z])"), ""),
    (re.compile(r"\\[dt]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\!"), ""),
    (re.compile(r"(?<!\\)\\[,;: ]"), " "),
    (re.compile(r"\\?\$"), ""),
    (re.compile(r"\{,\}"), ","),
    (re.compile("−"), "-"),
    (re.compile(r"\s+"), " "),
    # A blank between two letters or digits means something ("1 2"); no other does.
    (re.compile(r"(?<![0-9A-Za-z]) | (?![0-9A-Za-z])"), ""),
    (re.compile(r"^\\(?:text|mathrm|mbox|textbf)\{([^{}\\]+)\}(\.?)$"), r"\1\2"),
    (re.compile(r"(?<=[^.])\.$"), ""),
)
_GROUPED = re.compile(r"-?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_RATIO = re.compile(
    r"(?P<sign>[+-]?)(?:\\frac\{(?P<a>-?[0-9]+)\}\{(?P<b>-?[0-9]+)\}|(?P<c>[0-9]+)/(?P<d>[0-9]+))"
)


class MathTask:
    r"""Questions with one mathematical answer: numbers, formulas, sets, matrices, words."""

    name = "math"
    runs_programs = False

    def __init__(self) -> None:
        self._parsed = lru_cache(PARSES_KEPT)(_parse)

    def prompt(self, question: str) -> Prompt:
        r"""Ask for a step-by-step solution that ends in ``\boxed{}``."""
        return Prompt((Message("system", INSTRUCTION), Message("user", question)))

    def extract(self, text: str) -> str | None:
        """Return the last box's content, or else what a last "answer is" states.

        None where the last box is empty or cut off, and where the statement is prose.
        """
        box = last_box(text)
        if box is not None:
            return box or None
        statement = last_statement(text)
        if statement is None or len(_WORD.findall(statement)) > MOST_WORDS:
            return None
        return statement

    def same(self, left: str, right: str) -> bool | None:
        """Decide equal spellings, plain numbers (exactly) and overlong answers (as text)."""
        if left == right:
            return True
        if max(len(left), len(right)) > LONGEST_PARSED:
            return False
        one, other = _spelled(left), _spelled(right)
        if one == other:
            return True
        a, b = _number(one), _number(other)
        return None if a is None or b is None else a == b

    def prepare(self) -> None:
        """Import math-verify, and silence its advice to bring a time limit of one's own."""
        logging.getLogger("math_verify").setLevel(logging.ERROR)
        self.equal("x+1", "1+x")

    def equal(self, answer: str, reference: str) -> bool:
        """Return math-verify's verdict; what it cannot read equals its own spelling only.

        Its own time limits are alarms, which work in a main thread only: they are off.
        """
        if _spelled(answer) == _spelled(reference):
            return True
        gold, target = self._parsed(reference), self._parsed(answer)
        if not gold or not target:
            return False
        from math_verify import verify  # noqa: PLC0415 - takes a second, in workers only

        return bool(verify(gold, target, timeout_seconds=None))

    def grade(self, question: str, answer: str | None, gold: str) -> bool | None:
        """Grade what `same` can decide."""
        return False if answer is None else self.same(answer, gold)


def _parse(text: str) -> list[Any]:
    """Read an answer with math-verify; an empty list where it cannot."""
    from math_verify import parse  # noqa: PLC0415 - takes a second, in workers only

    return list(parse(f"\\boxed{{{text}}}", parsing_timeout=None))


@lru_cache(maxsize=4096)
def _spelled(text: str) -> str:
    """Bring an answer to one spelling, changing nothing that could change its meaning."""
    for pattern, spelling in _SPELLINGS:
        text = pattern.sub(spelling, text)
    return text.replace(",", "") if _GROUPED.fullmatch(text) else text


@lru_cache(maxsize=4096)
def _number(text: str) -> Fraction | None:
    r"""Return the plain number that a spelled answer is: decimal, a/b or ``\frac{a}{b}``."""
    if _DECIMAL.fullmatch(text):
        return Fraction(text)
    ratio = _RATIO.fullmatch(text)
    if ratio is None:
        return None
    above, below = int(ratio["a"] or ratio["c"]), int(ratio["b"] or ratio["d"])
    if below == 0:
        return None
    return Fraction(above, below) * (-1 if ratio["sign"] == "-" else 1)
