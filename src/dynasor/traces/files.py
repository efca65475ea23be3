"""Traces as files: read line by line, read whole, or written whole.

A file is gzip where its first two bytes say so; one whose name ends in `.gz` must be. Blank lines
are skipped. What is wrong with a file is one `TraceError` that names the file and the line.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from dynasor.core.errors import DynasorError
from dynasor.traces.format import Header, Kind, Line
from dynasor.traces.lines import LineReader, TraceError, kind_of, read_header

__all__ = [
    "Trace",
    "TraceError",
    "TraceFile",
    "checked",
    "is_gzip",
    "named_gzip",
    "numbered",
    "open_trace",
    "opened",
    "read_trace",
    "write_trace",
]

MAGIC = b"\x1f\x8b"
"""How every gzip file begins (RFC 1952, 2.3.1)."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole trace in memory; `digest` is the SHA-256 of the file's bytes, in hexadecimal."""

    path: Path
    header: Header
    lines: tuple[Line, ...]
    digest: str


class TraceFile:
    """An open trace: its `header`, and its `lines` as they are read, once; a context manager."""

    def __init__(self, path: Path, file: BinaryIO, kind: Kind | None = None) -> None:
        """Read the header; raises `TraceError`, also where the trace is not of the given kind."""
        self.path = path
        self._file = file
        self._numbered = numbered(path, file)
        first = next(self._numbered, None)
        if first is None:
            raise TraceError(f"trace {path} is empty; its first line should be a header")
        self.header = read_header(path, *first)
        if kind is not None and kind != self.header.kind:
            raise TraceError(f"trace {path} is of kind {self.header.kind}; {kind} is needed here")
        self.lines = self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._file.close()

    def _read(self) -> Iterator[Line]:
        reader = LineReader(self.path, self.header)
        for number, data in self._numbered:
            yield reader.read(number, data)


def open_trace(path: Path, kind: Kind | None = None) -> TraceFile:
    """Open a trace to read it line by line, however long it is.

    Raises `TraceError` for a file that is no trace of this version, or not of `kind`; while its
    lines are read, also for the first one that is wrong.
    """
    file = opened(path)
    try:
        return TraceFile(path, file, kind)
    except BaseException:
        file.close()
        raise


def read_trace(path: Path, kind: Kind | None = None) -> Trace:
    """Read a trace whole; raises `TraceError` for the first thing that is wrong with it."""
    with opened(path) as file:
        try:
            data = file.read()
        except OSError as exc:
            raise _unreadable(path, exc) from exc
    with TraceFile(path, io.BytesIO(data), kind) as trace:
        return Trace(path, trace.header, tuple(trace.lines), sha256(data).hexdigest())


def write_trace(path: Path, header: Header, lines: Iterable[Line]) -> None:
    """Write a new trace whole; equal content makes equal bytes.

    Raises `TraceError` for a file that exists or a line that could not be read again; nothing is
    left behind then.
    """
    if path.exists():
        raise TraceError(f"trace {path} exists already; name a new file")
    beside = path.with_name(f".{path.name}.new")
    first = msgspec.json.encode(header) + b"\n"
    reader = LineReader(path, read_header(path, 1, first))
    try:
        with beside.open("wb") as file, _packed(file, is_packed=named_gzip(path)) as out:
            out.write(first)
            for number, line in enumerate(lines, start=2):
                out.write(checked(reader, number, line))
        beside.rename(path)
    except OSError as exc:
        raise DynasorError(f"trace {path} cannot be written: {exc.strerror}") from exc
    finally:
        with suppress(OSError):  # after the renaming it is not there
            beside.unlink()


def checked(reader: LineReader, number: int, line: Line) -> bytes:
    """Return a line's bytes; raises `TraceError` where they would not be read as that line."""
    if kind_of(line) != reader.header.kind:
        raise TraceError(
            f"trace {reader.path} is of kind {reader.header.kind}; "
            f"the line {line.id!r} is of kind {kind_of(line)}"
        )
    try:
        data = msgspec.json.encode(line) + b"\n"
    except UnicodeEncodeError as exc:
        raise TraceError(f"trace {reader.path}: the line {line.id!r} is not Unicode text") from exc
    found = reader.read(number, data)
    # Numbers that are not finite become null. `extra` may hold tuples, which become lists.
    if msgspec.structs.replace(found, extra={}) != msgspec.structs.replace(line, extra={}):
        raise TraceError(
            f"trace {reader.path}: the line {line.id!r} would not be read as it was written; "
            "its numbers must be finite and its fields of their own types"
        )
    return data


def opened(path: Path) -> BinaryIO:
    """Open a file to read its bytes; raises `TraceError` where that is impossible."""
    try:
        return path.open("rb")
    except OSError as exc:
        raise _unreadable(path, exc) from exc


def numbered(path: Path, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank with their numbers, from 1, unpacked.

    Raises `TraceError` for a file that cannot be read to its end.
    """
    number = 0
    try:
        for number, data in enumerate(_unpacked(path, file), start=1):
            if data.strip():
                yield number, data
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        raise TraceError(
            f"trace {path} is cut off or damaged after line {number}: {exc}; get the whole file, "
            "or go on with the command that was writing it"
        ) from exc
    except OSError as exc:
        raise _unreadable(path, exc) from exc


def is_gzip(path: Path, beginning: bytes) -> bool:
    """Say if a file with this beginning is gzip; raises `TraceError` where its name lies."""
    if beginning.startswith(MAGIC):
        return True
    if named_gzip(path) and not MAGIC.startswith(beginning):
        raise TraceError(
            f"trace {path} is not gzip, though its name ends in .gz; compress it or rename it"
        )
    return named_gzip(path)


def named_gzip(path: Path) -> bool:
    """Say if a file of this name must be gzip."""
    return path.name.lower().endswith(".gz")


def _unpacked(path: Path, file: BinaryIO) -> Iterable[bytes]:
    beginning = file.read(len(MAGIC))
    file.seek(0)
    if not beginning or not is_gzip(path, beginning):
        return file
    return gzip.GzipFile(fileobj=file, mode="rb")


@contextmanager
def _packed(file: BinaryIO, *, is_packed: bool) -> Iterator[BinaryIO]:
    if not is_packed:
        yield file
        return
    # Neither name nor time: the digest is that of the content.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as out:
        yield out  # type: ignore[misc]


def _unreadable(path: Path, exc: OSError) -> TraceError:
    return TraceError(f"trace {path} cannot be read: {exc.strerror or exc}")
