"""Programs, policies and orderings as people write them: `NAME` or `NAME:key=value,...`."""

from __future__ import annotations

import json
import re
from typing import Any

from dynasor.core.config import OrderingSpec
from dynasor.core.errors import ConfigError
from dynasor.core.types import PolicySpec, ProgramSpec

__all__ = [
    "SAID_ELSEWHERE",
    "format_policy",
    "format_program",
    "parse_ordering",
    "parse_policy",
    "parse_program",
]

QUOTED_OR_CHAR = re.compile(r'"(?:[^"\\]|\\.)*"|.', re.DOTALL)
SETTINGS = frozenset({"task", "cap"})
SAID_ELSEWHERE = frozenset({"question", "messages"}) | SETTINGS
"""Fields of every program that say what is asked, of whom and how far, not how."""


def parse_policy(text: str, *, has_lock: bool = True) -> PolicySpec:
    """Read `NAME` or `NAME:key=value,...`; values are JSON where they can be, else text."""
    name, params = _parse(text, "policy")
    return PolicySpec(name, params, has_lock)


def format_policy(spec: PolicySpec) -> str:
    """Write a policy so that `parse_policy` reads it again; the lock is not part of it."""
    return _format(spec.name, spec.params)


def parse_program(text: str) -> ProgramSpec:
    """Read a program, written like a policy; raises `ConfigError` for what is said elsewhere.

    That is the question and what every question has a setting for: task and cap.
    """
    name, params = _parse(text, "program")
    for key in params:
        if key in SAID_ELSEWHERE:
            is_setting = key in SETTINGS
            place = "has a setting of its own" if is_setting else "comes with each question"
            raise ConfigError(f"program {text!r}: {key!r} {place}; leave it out")
    return ProgramSpec(name, params)


def format_program(spec: ProgramSpec) -> str:
    """Write a program so that `parse_program` reads it again."""
    return _format(spec.name, spec.params)


def parse_ordering(
    text: str, aging_factor: float, patience_seconds: float | None = None
) -> OrderingSpec:
    """Read an ordering, written like a policy."""
    name, params = _parse(text, "ordering")
    return OrderingSpec(name, params, aging_factor, patience_seconds)


def _parse(text: str, kind: str) -> tuple[str, dict[str, Any]]:
    name, _, rest = text.partition(":")
    params: dict[str, Any] = {}
    for part in _split(rest):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{kind} {text!r}: expected NAME:key=value,key=value, got {part!r}")
        if key.strip() in params:
            raise ConfigError(f"{kind} {text!r}: {key.strip()!r} is given twice")
        params[key.strip()] = _value(value.strip())
    return name.strip(), params


def _format(name: str, params: dict[str, Any]) -> str:
    written = ",".join(f"{key}={json.dumps(value)}" for key, value in params.items())
    return f"{name}:{written}" if written else name


def _split(text: str) -> list[str]:
    """Split at commas that stand outside of braces and quoted texts."""
    parts, depth = [""], 0
    for piece in QUOTED_OR_CHAR.findall(text):
        if len(piece) == 1:
            depth += (piece in "{[") - (piece in "}]")
        if piece == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += piece
    return [part for part in parts if part.strip()]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # no JSON, a number of 5,000 digits, a tower of brackets
        return text
