"""One input line as a question: what it asks, and what is wrong with one that cannot be run.

    {"custom_id": "q1", "method": "POST", "url": "/v1/chat/completions",
     "body": {"messages": [...], "temperature": 0.7, "dynasor": {"cap": 20}}}

OpenAI's batch input (https://platform.openai.com/docs/api-reference/batch/request-input). This
file knows the line; `dynasor.requests.body` knows its body.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from dynasor.batch.lines import MAX_LINE_BYTES, Line
from dynasor.core.errors import UserError
from dynasor.requests.body import ChatBody, Refused, read_body

__all__ = ["BadLine", "Question", "read_question"]

METHOD = "POST"
URL = "/v1/chat/completions"


class BadLine(UserError):
    """A line that cannot be run, as OpenAI words it: a code, a message and the parameter.

    Caught within `dynasor.batch`, where it becomes a record. `custom_id` None where the line has
    none that can be read.
    """

    def __init__(
        self, code: str, message: str, param: str | None = None, custom_id: str | None = None
    ) -> None:
        self.code, self.message, self.param, self.custom_id = code, message, param, custom_id
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Question:
    """One line that can be run; `line` is its number."""

    line: int
    custom_id: str
    body: ChatBody


def read_question(line: Line) -> Question:
    """Read one line; raises `BadLine`."""
    fields = _object(line)
    custom_id = _custom_id(fields)
    try:
        _check_target(fields)
        return Question(line.number, custom_id, _body(fields))
    except BadLine as exc:
        exc.custom_id = custom_id
        raise


def _object(line: Line) -> dict[str, Any]:
    if line.data is None:
        raise BadLine(
            "line_too_long", f"the line is longer than {MAX_LINE_BYTES >> 20} MiB; split the file"
        )
    try:
        return msgspec.json.decode(line.data, type=dict[str, Any])
    except UnicodeDecodeError as exc:
        raise BadLine("invalid_encoding", f"the line is not UTF-8: {exc.reason}") from exc
    except msgspec.ValidationError as exc:
        raise BadLine("invalid_json_line", f"the line is no JSON object: {exc}") from exc
    except (msgspec.DecodeError, RecursionError) as exc:
        raise BadLine("invalid_json_line", f"the line is not JSON: {exc}") from exc


def _custom_id(fields: dict[str, Any]) -> str:
    custom_id = fields.get("custom_id")
    if custom_id is None:
        raise BadLine("missing_required_parameter", "the line has no custom_id", "custom_id")
    if not isinstance(custom_id, str) or not custom_id.strip():
        raise BadLine(
            "invalid_custom_id", f"custom_id is {custom_id!r}; expected a text", "custom_id"
        )
    return custom_id


def _check_target(fields: dict[str, Any]) -> None:
    for name, only in (("method", METHOD), ("url", URL)):
        if fields.get(name) != only:
            raise BadLine(
                f"invalid_{name}", f"{name} is {fields.get(name)!r}; only {only!r} is served", name
            )


def _body(fields: dict[str, Any]) -> ChatBody:
    if "body" not in fields:
        raise BadLine("missing_required_parameter", "the line has no body", "body")
    try:
        body = read_body(fields["body"])
        _check_batch(body)
    except Refused as exc:
        raise BadLine("invalid_request", str(exc), exc.param) from exc
    return body


def _check_batch(body: ChatBody) -> None:
    """Refuse what only a server can do."""
    if body.stream:
        raise Refused(
            "body.stream", "body.stream is not supported: a batch is written when it is answered"
        )
    if body.extras.program_id is not None:
        at = "body.dynasor.program_id"
        raise Refused(at, f"{at} is not supported: the custom_id names a question")
