"""The records of an output file: one line for every question, in OpenAI's batch output format.

    {"id": "batch_req_...", "custom_id": "q1", "error": null,
     "response": {"status_code": 200, "request_id": "req_...", "body": {a chat completion}}}

A question that failed has a `status_code` of at least 400 and `body.error`; a line that could
not be run has no response but an `error` with its line number. What a body says is
`dynasor.requests.completion`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from msgspec import Struct

from dynasor.api import Result
from dynasor.batch.question import BadLine, Question
from dynasor.core.errors import UserError
from dynasor.core.program import Program
from dynasor.requests.body import Refused
from dynasor.requests.completion import chat_completion, encode_json, error_body, story, usage

__all__ = [
    "RECORD_BEGINNING",
    "Asked",
    "LineError",
    "Record",
    "Response",
    "answer_record",
    "bad_line_record",
    "encode_record",
    "refused_record",
]

RECORD_BEGINNING = b'{"id":"batch_req_'
"""How every line begins that `encode_record` wrote."""


class Response(Struct, frozen=True):
    """What the question got; `body` is a chat completion, or has an `error`."""

    status_code: int
    request_id: str
    body: dict[str, Any]


class LineError(Struct, frozen=True):
    """Why a line could not be run; `line` counts from 1."""

    code: str
    message: str
    param: str | None
    line: int


class Record(Struct, frozen=True):
    """One line of the output: a response, or an error."""

    id: str
    custom_id: str | None
    response: Response | None
    error: LineError | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it was asked; `policy` as a user writes it."""

    question: Question
    program: Program
    policy: str


def answer_record(asked: Asked, result: Result, model: str, created: int) -> Record:
    """Return the record of a question that ended, well or badly; `created` is a Unix time."""
    question = asked.question
    error = result.error
    if error is None:
        name = f"chatcmpl-{_digest(question.custom_id)}"
        body = chat_completion(name, created, model, result)
    else:
        body = error_body(error)
    body["usage"] = usage(result.spending)
    body["dynasor"] = story(asked.program, asked.policy, result)
    return _record(question, 200 if error is None else error.http_status, body)


def refused_record(question: Question, error: UserError) -> Record:
    """Return the record of a question that was refused before it was asked."""
    param = error.param if isinstance(error, Refused) else "body"
    bad = BadLine("invalid_request", str(error), param, question.custom_id)
    return bad_line_record(question.line, bad)


def bad_line_record(line: int, bad: BadLine) -> Record:
    """Return the record of a line that cannot be run."""
    error = LineError(bad.code, bad.message, bad.param, line)
    return Record(f"batch_req_{_digest(f'line {line}')}", bad.custom_id, None, error)


def encode_record(record: Record) -> bytes:
    """Return one line with its end; what is not Unicode text is written as '?'."""
    return encode_json(record) + b"\n"


def _record(question: Question, status: int, body: dict[str, Any]) -> Record:
    digest = _digest(question.custom_id)
    response = Response(status, f"req_{digest}", body)
    return Record(f"batch_req_{digest}", question.custom_id, response, None)


def _digest(text: str) -> str:
    """Return an id that is the same in every run, so that two outputs can be compared."""
    return blake2b(text.encode("utf-8", "replace"), digest_size=12).hexdigest()
