"""Logs of a server: one line for each request and each program, for machines or for people.

    {"ts": "2026-05-01T12:00:00.123Z", "level": "info", "event": "request", "path": ...}
    12:00:00.123 request method=POST path=/v1/chat/completions status=200 seconds=0.012

Everything that the package warns of becomes a line too. No line holds a question, an answer or a
secret: programs are named by their ids.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from dynasor.gateway.lives import Ended

__all__ = ["log_program", "log_request", "logs_to"]

ROOT = "dynasor"
REQUESTS, PROGRAMS = "dynasor.requests", "dynasor.programs"
FIELDS = "dynasor_fields"
_PLAIN = re.compile(r"[\w.:/{}@+-]+", re.ASCII)
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What would end a line, move a cursor, or cannot be written at all."""


@contextmanager
def logs_to(kind: Literal["text", "json", "none"], stream: TextIO | None = None) -> Iterator[None]:
    """Write logs to `stream` (stderr if None) until the block is left.

    `none` writes no line for requests and programs; warnings go where they always go.
    """
    if kind == "none":
        yield
        return
    logger = logging.getLogger(ROOT)
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(_JsonLines() if kind == "json" else _TextLines())
    level, propagates = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # one line each, whatever the host's own logging does
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates


def log_request(
    method: str, path: str, status: int, seconds: float, **more: str | float | None
) -> None:
    """Write a line about a request that was answered; `more` that is None or empty is left out."""
    logger = logging.getLogger(REQUESTS)
    if not logger.isEnabledFor(logging.INFO):
        return
    fields = {
        "method": method,
        "path": path,
        "status": status,
        "seconds": round(seconds, 6),
        **{name: value for name, value in more.items() if value not in {None, ""}},
    }
    logger.info("request", extra={FIELDS: fields})


def log_program(ended: Ended) -> None:
    """Write a line about a program that is closed."""
    logger = logging.getLogger(PROGRAMS)
    if not logger.isEnabledFor(logging.INFO):
        return
    fields: dict[str, Any] = {
        "program": ended.program,
        "tenant": ended.tenant,
        "algorithm": ended.algorithm,
        "workload": ended.workload,
        "status": ended.status,
        "reason": ended.reason,
        "error": ended.error_kind,
        "knob": ended.knob,
        "cap": ended.cap,
        "certainty": ended.certainty,
        "prompt_tokens": ended.spending.prompt_tokens,
        "tokens": ended.spending.completion_tokens,
        "aborted_tokens": ended.spending.aborted_tokens,
        "calls": ended.calls,
        "failed_attempts": ended.failed_attempts,
        "seconds": round(ended.seconds, 6),
        "engine_seconds": round(ended.engine_seconds, 6),
        "slack_seconds": ended.slack_seconds,
    }
    shown = {name: value for name, value in fields.items() if value not in {None, ""}}
    logger.info("program", extra={FIELDS: shown})


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, FIELDS, {})
    return fields


class _JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; what is no event of ours has its text in `message`."""
        fields = _fields(record)
        line: dict[str, Any] = {
            "ts": _time(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage() if fields else "note",
        }
        if not fields:
            line["message"] = record.getMessage()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps({**line, **fields}, default=str)


class _TextLines(logging.Formatter):
    """One line for people, with `name=value`; what has spaces or line ends is quoted."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        fields = "".join(f" {name}={_shown(value)}" for name, value in _fields(record).items())
        time = _time(record).strftime("%H:%M:%S.%f")[:-3]
        text = f"{time} {_UNSHOWN.sub(_escaped, record.getMessage())}{fields}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _shown(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
