"""The end of a program as OpenAI words it: a completion or an error, its bill and its story.

A completion is OpenAI's, with `usage` counting every token spent and one more top-level object,
`dynasor`, that says what happened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from dynasor.api import Result
from dynasor.core.errors import DynasorError
from dynasor.core.program import Program
from dynasor.core.types import Spending

__all__ = [
    "Said",
    "chat_chunk",
    "chat_completion",
    "encode_json",
    "error_body",
    "finish_reason",
    "said",
    "story",
    "text_chunk",
    "text_completion",
    "usage",
]

ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
"""OpenAI's `type` by status; other 4xx are `invalid_request_error`, 5xx `server_error`."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a program has to say: `content` None without an answer, `thoughts` None without any."""

    content: str | None
    thoughts: str | None = None


def said(text: str | None, think_end: str = "") -> Said:
    """Part an answer from the thoughts before it, which end with `think_end`; empty: parts nothing.

    A text in which the thoughts never end is all answer.
    """
    if text is None or not think_end:
        return Said(text)
    thoughts, closed, content = text.partition(think_end)
    return Said(content.lstrip(), thoughts) if closed else Said(text)


def chat_completion(
    name: str, created: int, model: str, result: Result, think_end: str = ""
) -> dict[str, Any]:
    """Return a chat completion without its bill; `created` is a Unix time.

    Thoughts that end with `think_end` stand in `reasoning` (vLLM) and `reasoning_content`
    (SGLang), the content is what follows them.
    """
    whole = said(result.text, think_end)
    message: dict[str, Any] = {"role": "assistant", "content": whole.content, "refusal": None}
    if whole.thoughts is not None:
        message |= {"reasoning": whole.thoughts, "reasoning_content": whole.thoughts}
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": finish_reason(result),
    }
    head = {"id": name, "object": "chat.completion", "created": created, "model": model}
    return {**head, "choices": [choice]}


def text_completion(name: str, created: int, model: str, result: Result) -> dict[str, Any]:
    """Return a completion of the older kind without its bill; no answer is an empty text."""
    choice = {
        "index": 0,
        "text": result.text or "",
        "logprobs": None,
        "finish_reason": finish_reason(result),
    }
    head = {"id": name, "object": "text_completion", "created": created, "model": model}
    return {**head, "choices": [choice]}


def chat_chunk(
    head: Mapping[str, Any], delta: Mapping[str, Any], reason: str | None = None
) -> dict[str, Any]:
    """Return one chunk of a chat completion; `head` has its id, time and model."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    return {**head, "object": "chat.completion.chunk", "choices": [choice]}


def text_chunk(head: Mapping[str, Any], text: str, reason: str | None = None) -> dict[str, Any]:
    """Return one chunk of a completion of the older kind."""
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}
    return {**head, "object": "text_completion", "choices": [choice]}


def finish_reason(result: Result) -> str:
    """Return OpenAI's word: a text that gave an answer is a finished one.

    None at all means that no branch got that far.
    """
    return "length" if result.text is None else "stop"


def usage(spending: Spending) -> dict[str, Any]:
    """Return the bill: every token, itemised by how its call ended."""
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


def story(program: Program, policy: str, result: Result) -> dict[str, Any]:
    """Return what happened; `policy` as a user writes it. `shadow` is there where one was asked."""
    shadow = {} if result.shadow is None else {"shadow": msgspec.to_builtins(result.shadow)}
    return {
        "algorithm": program.name,
        "policy": policy,
        "task": program.task,
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
        **shadow,
    }


def error_body(
    error: DynasorError, *, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """Return an error as OpenAI shapes it: `param` is a field, `code` the error's class if None."""
    status = error.http_status
    kind = "server_error" if status >= 500 else ERROR_TYPES.get(status, "invalid_request_error")
    code = code or type(error).__name__
    return {"error": {"message": str(error), "type": kind, "param": param, "code": code}}


def encode_json(value: object) -> bytes:
    """Return JSON; what is not Unicode text (half a surrogate pair of a model's) becomes '?'."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")
