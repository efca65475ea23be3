"""A first look through the input: how much there is, and whether the output belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from dynasor.batch.lines import Line, read_lines
from dynasor.batch.output import Progress

__all__ = ["Survey", "survey"]


class _Named(msgspec.Struct):
    custom_id: Any = None


@dataclass(frozen=True, slots=True)
class Survey:
    """`total` lines are not blank, `left` of them may need work.

    `strangers` counts the finished custom_ids that no line of the input has.
    """

    total: int
    left: int
    strangers: int


def survey(path: Path, progress: Progress) -> Survey:
    """Read the input once, its custom_ids only; raises `ConfigError` where that is impossible."""
    decoder = msgspec.json.Decoder(_Named)
    seen: set[str] = set()
    total = left = 0
    for line in read_lines(path):
        total += 1
        name = _name(line, decoder)
        is_first = name is not None and name in progress.finished and name not in seen
        if name is not None:
            seen.add(name)
        if not is_first and progress.bad_lines.get(line.number, ...) != name:
            left += 1
    return Survey(total, left, len(progress.finished - seen))


def _name(line: Line, decoder: msgspec.json.Decoder[_Named]) -> str | None:
    if line.data is None:
        return None
    try:
        name = decoder.decode(line.data).custom_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return name if isinstance(name, str) and name.strip() else None
