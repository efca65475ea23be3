"""Python functions: extracted from a completion, compared by their syntax.

Grading takes running them against a reference program, which this module never does: see
`dynasor.workers.sandbox`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import suppress
from textwrap import indent

from dynasor.core.types import Message, Prompt
from dynasor.tasks.syntax import LONGEST_PARSED, module_of, normal_form, wrapped_body

__all__ = ["CodeTask", "assertions", "program"]

INSTRUCTION = (
    "Complete the Python function. Write the whole function, with the imports that it needs, in "
    "one ```python block. Do not write tests or examples of use."
)

_FENCED = re.compile(r"^ {0,3}```[^\n`]*\n(.*?)(?:^ {0,3}```|\Z)", re.MULTILINE | re.DOTALL)
_UNINDENTED = re.compile(r"^[^\s]", re.MULTILINE)
_ASSERT = re.compile(r"^[ \t]*assert\b", re.MULTILINE)
# Lines of a string or a bracket may stand unindented within a body; more are no body.
MOST_CUTS = 20
# A model writes five to twenty tests at once.
MOST_ASSERTIONS = 100


class CodeTask:
    """Questions that ask for a Python function: a signature with a docstring, or prose.

    Two answers are the same when they have one normal form (`dynasor.tasks.syntax`). Answers that
    do the same in different ways are told apart; `Sandbox.agree` groups them by what they do.
    """

    name = "code"
    runs_programs = True
    takes_any_text = True

    def prompt(self, question: str) -> Prompt:
        """Ask for the whole function in one fenced block."""
        return Prompt((Message("system", INSTRUCTION), Message("user", question)))

    def extract(self, text: str) -> str | None:
        """Return the last fenced block that is Python, else the last one, else the text itself.

        Text without a block is an answer where it parses: as a module that does more than name
        values, or as the indented continuation of a function, up to where that ends.
        """
        blocks = [block for block in _FENCED.findall(text) if block.strip()]
        if blocks:
            return _trimmed(next((one for one in reversed(blocks) if _is_code(one)), blocks[-1]))
        code = _trimmed(text)
        return code if _is_module(code) else _body(code)

    def same(self, left: str, right: str) -> bool:
        """Compare normal forms; what does not parse is compared as text, blanks folded."""
        if left == right:
            return True
        one, other = normal_form(left), normal_form(right)
        if one is None or other is None:
            return one is other and left.split() == right.split()
        return one == other

    def prepare(self) -> None:
        """Do nothing: nothing is slow here."""

    def equal(self, answer: str, reference: str) -> bool:
        """Do as `same`."""
        return self.same(answer, reference)

    def grade(self, question: str, answer: str | None, gold: str) -> bool | None:
        """Return False for no answer, and None else: only running it decides."""
        return False if answer is None else None


def program(question: str, answer: str) -> tuple[str, ...]:
    """Return the pieces of source, to be run one after the other, that an answer amounts to.

    An answer that defines functions of its own follows the question's imports and helpers, if the
    question is Python. Any other completes the question's text: as it is, or indented.
    """
    if _defines(module_of(answer)):
        return (answer,) if module_of(question) is None else (question, answer)
    gap = "" if question.endswith("\n") else "\n"
    whole = f"{question}{gap}{answer}"
    inside = f"{question}{gap}{indent(answer, '    ')}"
    # Unindented, "return x" parses too, but is no part of the function.
    attempts = (whole, inside, answer) if answer[:1].isspace() else (inside, whole, answer)
    return (next((one for one in attempts if module_of(one) is not None), whole),)


def assertions(text: str, function: str) -> tuple[str, ...]:
    """Return the distinct assert statements in a model's text that mention `function`.

    `text` may continue a prompt that ended with "assert". Statements that are cut off or do not
    parse are left out; at most 100 are returned, each written on one line.
    """
    text = text[:LONGEST_PARSED]
    starts = [0, *(found.end() for found in _ASSERT.finditer(text))]
    ends = [*(found.start() for found in _ASSERT.finditer(text)), len(text)]
    found = (_assertion(text[start:end]) for start, end in zip(starts, ends, strict=True))
    mentions = re.compile(rf"\b{re.escape(function)}\b")
    kept = dict.fromkeys(one for one in found if one and mentions.search(one))
    return tuple(kept)[:MOST_ASSERTIONS]


def _assertion(condition: str) -> str | None:
    """Return the assert statement of the longest condition that the text begins with."""
    lines = condition.strip().splitlines()
    for count in range(min(len(lines), MOST_CUTS), 0, -1):
        tree = module_of("assert " + "\n".join(lines[:count]))
        if tree is not None and len(tree.body) == 1:
            with suppress(ValueError, RecursionError):
                return ast.unparse(tree)
    return None


def _trimmed(text: str) -> str:
    """Remove blank lines around code, keeping its first line's indentation."""
    begin = len(text) - len(text.lstrip())
    return text[text.rfind("\n", 0, begin) + 1 :].rstrip()


def _is_code(text: str) -> bool:
    code = _trimmed(text)
    return _is_module(code) or _body(code) is not None


def _is_module(code: str) -> bool:
    """Tell a program from words such as "Paris", which are expressions too."""
    tree = module_of(code)
    return tree is not None and not all(isinstance(one, ast.Expr) for one in tree.body)


def _defines(tree: ast.Module | None) -> bool:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return tree is not None and any(isinstance(one, kinds) for one in tree.body)


def _body(code: str) -> str | None:
    """Return the shortest beginning of a text that is a function's body and ends where it ends."""
    if len(code) > LONGEST_PARSED:
        return None
    for body in _beginnings(code):
        if wrapped_body(body) is not None:
            return body.rstrip()
    return None


def _beginnings(code: str) -> Iterator[str]:
    """Yield what stands before unindented lines, and the whole."""
    for count, found in enumerate(_UNINDENTED.finditer(code)):
        if count == MOST_CUTS:
            return
        yield code[: found.start()]
    yield code
