"""A trace that grows: held by one writer at a time, whole lines only, picked up where it ended.

In a gzip file every line is a member of its own (RFC 1952, 2.2: members are simply joined), so
that a writer that is killed loses the line it was writing and no other.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from dynasor.core.errors import DynasorError
from dynasor.locked import LockedFile
from dynasor.traces.files import MAGIC, checked, is_gzip, opened
from dynasor.traces.format import Header, Line
from dynasor.traces.lines import LineReader, TraceError, read_header

__all__ = ["TraceWriter"]

CHUNK = 1 << 20

# What a header and any other line begin with, as this class writes them.
_BEGINNINGS = (b'{"dynasor_trace":', b'{"id":')

_Part = tuple[bytes, int | None]
"""Whole lines and where in the file they end; None: they are torn."""


class TraceWriter:
    """Creates a trace, or goes on with one that was begun with the same header.

    `finished` holds the ids that are there already. A context manager.
    """

    def __init__(self, path: Path, header: Header) -> None:
        """Open and lock the file, and cut off a torn last line.

        Raises `TraceError` for a file that is no trace, has another header, is damaged, or that
        another writer holds; the file is left as it is then.
        """
        self.path = path
        self._header = msgspec.json.encode(header) + b"\n"
        self._reader = LineReader(path, read_header(path, 1, self._header))
        self._file = LockedFile(path, "trace", "trace", TraceError)
        self._number = 0
        try:
            self._file.cut(self._resume())
            if self._number == 0:
                self._write(self._header)
        except BaseException:
            self._file.close()
            raise

    @property
    def header(self) -> Header:
        """The trace's header."""
        return self._reader.header

    @property
    def finished(self) -> set[str]:
        """The ids of the lines that are there."""
        return set(self._reader.places)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def append(self, line: Line) -> None:
        """Write one whole line; it is in the file, if the writer is killed, when this returns.

        Raises `TraceError` for a line that the trace cannot hold (another kind, an id that is
        there, a field out of range) and `DynasorError` where writing is impossible.
        """
        if line.id in self._reader.places:
            raise TraceError(f"trace {self.path} has a line {line.id!r} already; ids are unique")
        try:
            self._write(checked(self._reader, self._number + 1, line))
        except DynasorError:
            self._reader.places.pop(line.id, None)
            raise

    def close(self) -> None:
        """Give the file to others; safe to call twice."""
        self._file.close()

    def _resume(self) -> int:
        """Find out how the file is written, and take over what it holds; return its whole size."""
        try:
            with opened(self.path) as file:
                self._is_packed = is_gzip(self.path, file.read(len(MAGIC)))
                file.seek(0)
                parts = _members(self.path, file) if self._is_packed else _lines(file)
                return self._take_all(parts)
        except OSError as exc:
            raise TraceError(f"trace {self.path} cannot be read: {exc.strerror}") from exc

    def _take_all(self, parts: Iterator[_Part]) -> int:
        """Take over whole lines up to a torn end, and return where they end."""
        size = 0
        for text, end in parts:
            if end is None:
                self._check_torn(text)
                break
            *whole, rest = text.split(b"\n")
            if rest:
                raise TraceError(
                    f"trace {self.path} does not end with the end of a line; "
                    "add it, or name another file"
                )
            for data in whole:
                self._take(data)
            size = end
        return size

    def _take(self, data: bytes) -> None:
        self._number += 1
        if self._number > 1:
            if data.strip():
                self._reader.read(self._number, data)
            return
        found, given = read_header(self.path, 1, data), self._reader.header
        difference = _first_difference(found, given)
        if difference:
            raise TraceError(
                f"trace {self.path} was begun with {difference}; name another file, "
                "or give what it was begun with"
            )

    def _check_torn(self, text: bytes) -> None:
        """Make sure that what will be cut off is one line, or the beginning of one."""
        beginning = _BEGINNINGS[self._number > 0]
        shared = min(len(text), len(beginning))
        if text[:shared] != beginning[:shared] or b"\n" in text[:-1]:
            raise TraceError(
                f"trace {self.path} is cut off or damaged after line {self._number}, and not by "
                "a writer of traces; repair it, or name another file"
            )

    def _write(self, data: bytes) -> None:
        self._file.append(gzip.compress(data, mtime=0) if self._is_packed else data)
        self._number += 1


def _lines(file: BinaryIO) -> Iterator[_Part]:
    position = 0
    for data in file:
        position += len(data)
        yield data, position if data.endswith(b"\n") else None


def _members(path: Path, file: BinaryIO) -> Iterator[_Part]:
    """Yield what each member of a gzip file holds."""
    position, rest = 0, file.read(CHUNK)
    while rest:
        decoder, text = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16), bytearray()
        while not decoder.eof:
            if not rest:
                yield bytes(text), None
                return
            try:
                text += decoder.decompress(rest)
            except zlib.error as exc:
                raise TraceError(
                    f"trace {path} is damaged behind its first {position} bytes: {exc}; "
                    "repair it, or name another file"
                ) from exc
            position += len(rest) - len(decoder.unused_data)
            rest = decoder.unused_data or file.read(CHUNK)
        yield bytes(text), position


def _first_difference(found: Header, given: Header) -> str:
    """Return "seed 1, not 2" for the first field that differs, empty for equal headers."""
    for name in Header.__struct_fields__:
        one, other = getattr(found, name), getattr(given, name)
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            absent = sorted(one.keys() ^ other.keys())
            key = absent[0] if absent else next(key for key in one if one[key] != other[key])
            return f"{name}.{key} {one.get(key)!r}, not {other.get(key)!r}"
        return f"{name} {one!r}, not {other!r}"
    return ""
