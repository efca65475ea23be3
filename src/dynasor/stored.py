"""Small files of the project's own: one JSON object each, marked with its kind and its version."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from dynasor.core.errors import UserError

__all__ = ["Kind", "read", "write"]

T = TypeVar("T")


class Kind(Struct, frozen=True):
    """What a file is: `noun` for messages, the key `mark` that holds its `version`.

    `maker` is the command that makes such files, `again` what to do about another version, and
    `error` what is raised.
    """

    noun: str
    mark: str
    version: int
    maker: str
    again: str
    error: type[UserError]


def write(kind: Kind, path: Path, value: Struct) -> None:
    """Write a value, replacing what stands there at once; raises the kind's error."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=1)
    beside = path.with_name(f".{path.name}.{os.getpid()}")  # two at once are two files
    try:
        beside.write_bytes(text + b"\n")
        beside.replace(path)
    except OSError as exc:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise kind.error(f"{kind.noun} {path} cannot be written: {exc.strerror}") from exc


def read(kind: Kind, path: Path, shape: type[T]) -> T:
    """Read a value; raises the kind's error for a file that is none, or of another version."""
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise kind.error(f"{kind.noun} {path} cannot be read: {exc.strerror}") from exc
    try:
        version = msgspec.json.decode(data, type=dict[str, Any]).get(kind.mark)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise kind.error(f"{kind.noun} {path} is not a JSON object: {exc}") from exc
    if version is None:
        raise kind.error(
            f"{path} is no {kind.noun}: it has no {kind.mark!r}; `{kind.maker}` makes them"
        )
    if version != kind.version:
        raise kind.error(
            f"{kind.noun} {path} has version {version!r}; this build reads {kind.version}: "
            f"{kind.again}"
        )
    try:
        return msgspec.json.decode(data, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, UserError) as exc:
        raise kind.error(f"{kind.noun} {path}: {exc}") from exc
