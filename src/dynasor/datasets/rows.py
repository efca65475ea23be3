"""Rows of a data set before anybody asks what they mean, and those of a JSONL file.

A file is gzip where its first two bytes say so; blank lines are skipped.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from dynasor.core.errors import UserError

__all__ = ["DatasetError", "Row", "file_rows"]

_GZIP = b"\x1f\x8b"  # RFC 1952, 2.3.1
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Row = tuple[str, dict[str, Any]]
"""Where it stands, for messages, and what it holds."""


class DatasetError(UserError):
    """A data set that cannot be found, read or used."""


def file_rows(path: Path) -> Iterator[Row]:
    """Yield a file's lines that are not blank, each an object.

    Raises `DatasetError`, for a bad line with its number from 1.
    """
    number = 0
    try:
        with path.open("rb") as file:
            for number, data in enumerate(_unpacked(file), start=1):
                text = data.removeprefix(_BYTE_ORDER_MARK) if number == 1 else data
                if text.strip():
                    where = f"{path}, line {number}"
                    yield where, _object(where, text)
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        raise DatasetError(
            f"{path} is cut off or damaged after line {number}: {exc}; get the whole file"
        ) from exc
    except FileNotFoundError as exc:
        raise DatasetError(
            f"data set {path}: there is no such file; expected a JSONL file, arithmetic[:N] or "
            "hf:OWNER/NAME[:config][:split]"
        ) from exc
    except OSError as exc:
        raise DatasetError(f"data set {path} cannot be read: {exc.strerror or exc}") from exc


def _unpacked(file: BinaryIO) -> BinaryIO:
    beginning = file.read(len(_GZIP))
    file.seek(0)
    return cast("BinaryIO", gzip.open(file)) if beginning == _GZIP else file


def _object(where: str, data: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except UnicodeDecodeError as exc:
        raise DatasetError(f"{where} is not UTF-8; save the file as UTF-8") from exc
    except msgspec.ValidationError as exc:
        raise DatasetError(f"{where} is no JSON object: {exc}") from exc
    except (msgspec.DecodeError, RecursionError) as exc:
        raise DatasetError(f"{where} is not JSON: {exc}") from exc
