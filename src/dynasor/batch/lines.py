"""The lines of an input file, read one at a time however large the file is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dynasor.core.errors import ConfigError

__all__ = ["MAX_LINE_BYTES", "Line", "read_lines"]

MAX_LINE_BYTES = 8 << 20
"""The longest line that is read: two million tokens, beyond the context of the models of today."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """One line that is not blank; `number` counts from 1, blank lines included.

    `data` is None where the line is longer than `MAX_LINE_BYTES`.
    """

    number: int
    data: bytes | None


def read_lines(path: Path) -> Iterator[Line]:
    """Yield every line that is not blank; raises `ConfigError` for a file that cannot be read."""
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"input {path} is no file; a batch is read more than once")
        with path.open("rb") as file:
            yield from _lines(file)
    except OSError as exc:
        raise ConfigError(f"input {path} cannot be read: {exc.strerror}") from exc


def _lines(file: BinaryIO) -> Iterator[Line]:
    number = 0
    while data := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(data) > MAX_LINE_BYTES and not data.endswith(b"\n"):
            _skip_line(file)
            yield Line(number, None)
            continue
        if number == 1:
            data = data.removeprefix(_BYTE_ORDER_MARK)
        if data.strip():
            yield Line(number, data)


def _skip_line(file: BinaryIO) -> None:
    while (piece := file.readline(MAX_LINE_BYTES)) and not piece.endswith(b"\n"):
        pass
