"""What programs ask: a data set's questions, or the requests of a batch file as they stand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dynasor.datasets.questions import DatasetError, QuestionLine
from dynasor.datasets.rows import file_rows
from dynasor.load.planning import Question

__all__ = ["of_batch", "of_dataset"]


def of_dataset(lines: Sequence[QuestionLine]) -> list[Question]:
    """Return a data set's questions."""
    return [Question(one.id, one.question, one.reference) for one in lines]


def of_batch(path: Path) -> list[Question]:
    """Return the requests of a file in OpenAI's batch format (`dynasor batch` reads it too).

    A line's `body` is sent as it is; its `reference`, which OpenAI's format does not have, is the
    right answer. Raises `DatasetError` for a line without messages, with its number.
    """
    questions = [_request(where, row) for where, row in file_rows(path)]
    if not questions:
        raise DatasetError(f"batch {path} has no requests; at least one is needed")
    return questions


def _request(where: str, row: dict[str, Any]) -> Question:
    body = row.get("body")
    messages = body.get("messages") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(messages, list) or not messages:
        raise DatasetError(f"{where} has no body with messages; expected OpenAI's batch format")
    reference = row.get("reference")
    if reference is not None and not isinstance(reference, str):
        raise DatasetError(f"{where}: reference is {reference!r}; expected a text")
    last = messages[-1]
    content = last.get("content") if isinstance(last, dict) else None
    text = content if isinstance(content, str) else ""
    return Question(str(row.get("custom_id", where)), text, reference, body)
