"""The records of an output file: one line for every question, in OpenAI's batch output format.

    {"id": "batch_req_...", "custom_id": "q1", "error": null,
     "response": {"status_code": 200, "request_id": "req_...", "body": {a chat completion}}}

A question that failed has a `status_code` of at least 400 and `body.error`; a line that could
not be run has no response but an `error` with its line number. A chat completion is OpenAI's,
with `usage` counting every token spent and one more top-level object, `dynasor`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import Struct

from dynasor.api import Result
from dynasor.batch.question import BadLine, Question
from dynasor.core.errors import DynasorError, UserError
from dynasor.core.program import Program
from dynasor.core.types import Spending

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
    body: dict[str, Any] = {} if error is None else _error_body(error)
    if error is None:
        name = f"chatcmpl-{_digest(question.custom_id)}"
        body = {"id": name, "object": "chat.completion", "created": created, "model": model}
        body["choices"] = [_choice(result)]
    body |= {"usage": _usage(result.spending), "dynasor": _story(asked, result)}
    return _record(question, 200 if error is None else error.http_status, body)


def refused_record(question: Question, error: UserError) -> Record:
    """Return the record of a question that was refused before it was asked."""
    bad = BadLine("invalid_request", str(error), "body", question.custom_id)
    return bad_line_record(question.line, bad)


def bad_line_record(line: int, bad: BadLine) -> Record:
    """Return the record of a line that cannot be run."""
    error = LineError(bad.code, bad.message, bad.param, line)
    return Record(f"batch_req_{_digest(f'line {line}')}", bad.custom_id, None, error)


def encode_record(record: Record) -> bytes:
    """Return one line with its end; what is not Unicode text is written as '?'."""
    try:
        return msgspec.json.encode(record) + b"\n"
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(record), ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace") + b"\n"


def _record(question: Question, status: int, body: dict[str, Any]) -> Record:
    digest = _digest(question.custom_id)
    response = Response(status, f"req_{digest}", body)
    return Record(f"batch_req_{digest}", question.custom_id, response, None)


def _choice(result: Result) -> dict[str, Any]:
    message = {"role": "assistant", "content": result.text, "refusal": None}
    # A text that gave an answer is a finished one; none at all means that no branch got that far.
    reason = "length" if result.text is None else "stop"
    return {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}


def _usage(spending: Spending) -> dict[str, Any]:
    return {
        "prompt_tokens": spending.prompt_tokens,
        "completion_tokens": spending.completion_tokens,
        "total_tokens": spending.prompt_tokens + spending.completion_tokens,
        "completion_tokens_details": {
            "finished_tokens": spending.finished_tokens,
            "aborted_tokens": spending.aborted_tokens,
            "failed_tokens": spending.failed_tokens,
            "estimated_tokens": spending.estimated_tokens,
        },
    }


def _story(asked: Asked, result: Result) -> dict[str, Any]:
    return {
        "algorithm": asked.program.name,
        "policy": asked.policy,
        "task": asked.program.task,
        "status": result.status,
        "reason": result.reason,
        "answer": result.answer,
        "certaindex": result.certaindex,
        "knob": result.knob,
        "cap": result.cap,
        "votes": result.votes,
        "calls": result.calls,
        "aborted_calls": result.aborted_calls,
        "failed_attempts": result.failed_attempts,
        "grouping_failures": result.grouping_failures,
        "notes": result.notes,
        "seconds": round(result.seconds, 3),
        "closed_seconds": round(result.closed_seconds, 3),
    }


def _error_body(error: DynasorError) -> dict[str, Any]:
    kind = "invalid_request_error" if error.http_status < 500 else "server_error"
    code = type(error).__name__
    return {"error": {"message": str(error), "type": kind, "param": None, "code": code}}


def _digest(text: str) -> str:
    """Return an id that is the same in every run, so that two outputs can be compared."""
    return blake2b(text.encode("utf-8", "replace"), digest_size=12).hexdigest()
