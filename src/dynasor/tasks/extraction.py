r"""Where a completion states its answer: the last ``\boxed{...}``, or the last "answer is"."""

from __future__ import annotations

import re

__all__ = ["last_box", "last_statement"]

_BOX = re.compile(r"\\f?box(?:ed)?\s{0,4}\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
# Bounded repetitions: a completion may hold megabytes of blanks, and nothing here may be slow.
_STATEMENT = re.compile(r"\banswer(?:\s{1,4}is|\s{0,4}[:：])[\s:：*]{0,8}", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\.(?:\s|$)")


def last_box(text: str) -> str | None:
    r"""Return what stands in the last ``\boxed{}`` or ``\fbox{}`` of a completion.

    Braces are balanced and ``\{`` is no brace. None where there is no box; the empty string
    where the last one is empty or never closed (the completion was cut off).
    """
    openers = list(_BOX.finditer(text))
    if not openers:
        return None
    start = openers[-1].end()
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth == 0:
            return text[start : brace.start()].strip()
    return ""


def last_statement(text: str) -> str | None:
    """Return what follows the last "answer is" or "Answer:", up to the end of its sentence.

    Markdown emphasis and dollar signs around it are taken off. None where nothing follows.
    """
    openers = list(_STATEMENT.finditer(text))
    if not openers:
        return None
    line = text[openers[-1].end() :].partition("\n")[0]
    return _SENTENCE_END.split(line, maxsplit=1)[0].strip(" \t\r*$`") or None
