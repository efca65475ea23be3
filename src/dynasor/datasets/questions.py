"""Questions to ask, by name: a JSONL file, the generated problems, or a data set of the hub.

    questions.jsonl        a file, gzip where its first two bytes say so
    arithmetic:500         the project's own held-out problems, the first 500
    hf:openai/gsm8k:main   a data set of the Hugging Face hub, with its configuration or split

What a row must have is a question; what has no place of its own is kept as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from dynasor.datasets.arithmetic import heldout
from dynasor.datasets.hub import hub_rows
from dynasor.datasets.rows import DatasetError, Row, file_rows

__all__ = ["DatasetError", "QuestionLine", "load_questions", "workload_of"]

ARITHMETIC = "arithmetic"
HUB = "hf:"
USUAL_PROBLEMS, MOST_PROBLEMS = 500, 5_000
"""Held-out arithmetic problems: how many without a number, and how many take under a minute."""

# GSM8K's references are a worked solution whose last line is "#### 42".
_CONCLUSION = re.compile(r"(?:^|\n)#### *(\S[^\n]*)\s*\Z")
_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class QuestionLine:
    """One question; `id` is unique in its data set.

    `reference` is the right answer, None where nobody knows it; `extra` has the fields that no
    other one takes, as JSON values.
    """

    id: str
    question: str
    reference: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Fields:
    """The names under which a row may have its question and its reference, the likeliest first.

    `must_have` is a reference's name that was given: a row without it is an error.
    """

    question: tuple[str, ...]
    reference: tuple[str, ...]
    must_have: str | None = None

    def chosen(self, question: str | None, reference: str | None) -> _Fields:
        """Return the names with those that were given instead of the guesses."""
        return _Fields(
            self.question if question is None else (question,),
            self.reference if reference is None else (reference,),
            reference,
        )


OF_FILES = _Fields(("question",), ("reference", "gold", "answer"))
OF_HUB = _Fields(
    ("question", "problem", "prompt"), ("answer", "reference", "solution", "final_answer")
)


def load_questions(
    name: str,
    limit: int | None = None,
    *,
    question_field: str | None = None,
    reference_field: str | None = None,
) -> list[QuestionLine]:
    """Return the questions of a data set in its order, the first `limit` of them, at least one.

    Where a row has no `id`, the n-th one is "qn". `question_field` and `reference_field` say
    what the fields are called, else it is guessed: `question` and one of `reference`, `gold` and
    `answer` in a file, the hub's customs there. Of a reference in GSM8K's form the conclusion
    behind "####" is kept. Raises `DatasetError`, for a bad line with the file and its number.
    """
    if limit is not None and limit < 1:
        raise DatasetError(f"limit is {limit}; at least one question is needed")
    if _is_arithmetic(name):
        return _arithmetic(name, limit)
    if name.startswith(HUB):
        rows: Iterable[Row] = hub_rows(name.removeprefix(HUB))
        fields = OF_HUB.chosen(question_field, reference_field)
    else:
        rows = file_rows(Path(name))
        fields = OF_FILES.chosen(question_field, reference_field)
    questions = _read_all(islice(rows, limit), fields)
    if not questions:
        raise DatasetError(f"data set {name} has no questions; at least one is needed")
    return questions


def workload_of(name: str) -> str:
    """Return what a trace calls a data set: its name without its place and its number."""
    if _is_arithmetic(name):
        return ARITHMETIC
    if name.startswith(HUB):
        return name.removeprefix(HUB)
    path = Path(name)
    return path.name.removesuffix(".gz").removesuffix(".jsonl") or path.name


def _is_arithmetic(name: str) -> bool:
    return name.partition(":")[0] == ARITHMETIC


def _arithmetic(name: str, limit: int | None) -> list[QuestionLine]:
    _, colon, digits = name.partition(":")
    count = USUAL_PROBLEMS if not colon else int(digits) if _DIGITS.fullmatch(digits) else 0
    if not 1 <= count <= MOST_PROBLEMS:
        raise DatasetError(
            f"data set {name}: expected {ARITHMETIC} or {ARITHMETIC}:N with N from 1 to "
            f"{MOST_PROBLEMS}"
        )
    return [
        QuestionLine(one.id, one.question, one.answer, {"steps": one.steps})
        for one in heldout(min(count, limit or count))
    ]


def _read_all(rows: Iterable[Row], fields: _Fields) -> list[QuestionLine]:
    places: dict[str, str] = {}
    questions = []
    for number, (where, row) in enumerate(rows, start=1):
        one = _question(where, number, row, fields)
        first = places.setdefault(one.id, where)
        if first != where:
            raise DatasetError(f"{where} repeats the id {one.id!r} of {first}; ids are unique")
        questions.append(one)
    return questions


def _question(where: str, number: int, row: dict[str, Any], fields: _Fields) -> QuestionLine:
    asked = next((name for name in fields.question if name in row), None)
    if asked is None:
        raise _missing(where, row, fields.question, "--question-field says what it is called")
    told = next((name for name in fields.reference if name in row), None)
    if told is None and fields.must_have is not None:
        raise _missing(where, row, fields.reference, "--reference-field should name one of these")
    question = row[asked]
    if not isinstance(question, str) or not question.strip():
        raise DatasetError(f"{where}: {asked} is {_shown(question)}; expected a text")
    return QuestionLine(
        _id(where, row, number),
        question,
        None if told is None else _reference(where, told, row[told]),
        {name: value for name, value in row.items() if name not in {"id", asked, told}},
    )


def _missing(where: str, row: dict[str, Any], names: Sequence[str], hint: str) -> DatasetError:
    has = ", ".join(row) or "nothing"
    return DatasetError(f"{where} has no field {' or '.join(names)} (it has: {has}); {hint}")


def _id(where: str, row: dict[str, Any], number: int) -> str:
    given = row.get("id")
    if given is None:
        return f"q{number}"
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    if not isinstance(given, str) or not given.strip():
        raise DatasetError(f"{where}: id is {_shown(given)}; expected a text or a whole number")
    return given


def _reference(where: str, name: str, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DatasetError(f"{where}: {name} is {_shown(value)}; expected a text or a number")
    text = str(value)
    conclusion = _CONCLUSION.search(text)
    return (text if conclusion is None else conclusion[1]).strip() or None


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"{text[:40]}..."
