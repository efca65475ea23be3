"""The output file: held by one run at a time, whole lines only, picked up where it ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from dynasor.batch.records import RECORD_BEGINNING, LineError, Record, encode_record
from dynasor.core.errors import UserError
from dynasor.locked import LockedFile

__all__ = ["Output", "OutputError", "Progress", "read_progress"]


class OutputError(UserError):
    """An output file that cannot be used: somebody else's, in use, or out of reach."""


class _Status(msgspec.Struct):
    status_code: int


class _Head(msgspec.Struct):
    """What of a record says whether its question is done."""

    id: str
    custom_id: str | None
    response: _Status | None
    error: LineError | None

    @property
    def has_failed(self) -> bool:
        return self.error is not None or self.response is None or self.response.status_code >= 400


@dataclass(slots=True)
class Progress:
    """What an output file already holds.

    `finished` has the custom_ids with a response; `bad_lines` maps the numbers of input lines
    that could not be run to their custom_id, None without one; `failed` counts the records that
    are no answer; `size` is where the last whole line ends, in bytes.
    """

    finished: set[str] = field(default_factory=set)
    bad_lines: dict[int, str | None] = field(default_factory=dict)
    failed: int = 0
    size: int = 0


class Output:
    """One output file, opened and locked; a context manager.

    Nothing in the file changes before `prepare`.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file; raises `OutputError`, also where another run holds it."""
        self.path = path
        self._file = LockedFile(path, "output", "batch", OutputError)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def prepare(self, progress: Progress, *, drops_failures: bool) -> None:
        """Cut off a torn last line; with `drops_failures` take all failed records out first.

        That happens in a new file, which then takes the place of the old one.
        """
        if drops_failures and progress.failed:
            records = _whole_lines(self.path, progress.size)
            self._file.rewrite(data for data, head in records if not head.has_failed)
        else:
            self._file.cut(progress.size)

    def write(self, record: Record) -> None:
        """Append one record as one whole line; raises `DynasorError` where that is impossible."""
        self._file.append(encode_record(record))

    def close(self) -> None:
        """Give the file to others; one that was created and never prepared is removed."""
        self._file.close()


def read_progress(path: Path, *, drops_failures: bool = False) -> Progress:
    """Return what a file holds; with `drops_failures` failed records count as not done.

    Raises `OutputError` for a file that holds anything but records.
    """
    progress = Progress()
    try:
        for data, head in _whole_lines(path, None):
            progress.size += len(data)
            if head.has_failed:
                progress.failed += 1
            if not (head.has_failed and drops_failures):
                _note(progress, head)
    except OSError as exc:
        raise OutputError(f"output {path} cannot be read: {exc.strerror}") from exc
    return progress


def _note(progress: Progress, head: _Head) -> None:
    if head.error is not None:
        progress.bad_lines[head.error.line] = head.custom_id
    elif head.custom_id is not None:
        progress.finished.add(head.custom_id)


def _whole_lines(path: Path, size: int | None) -> Iterator[tuple[bytes, _Head]]:
    """Yield the records up to `size` bytes, None for all but a torn last one."""
    decoder = msgspec.json.Decoder(_Head)
    position = 0
    with path.open("rb") as file:
        for number, data in enumerate(file, start=1):
            position += len(data)
            if size is not None and position > size:
                return
            if not data.endswith(b"\n"):
                _check_torn(path, number, data)
                return
            try:
                yield data, decoder.decode(data)
            except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
                raise _foreign(path, number) from exc


def _check_torn(path: Path, number: int, data: bytes) -> None:
    """Make sure that what will be cut off is the beginning of a record."""
    shared = min(len(data), len(RECORD_BEGINNING))
    if data[:shared] != RECORD_BEGINNING[:shared]:
        raise _foreign(path, number)


def _foreign(path: Path, number: int) -> OutputError:
    return OutputError(
        f"output {path}, line {number} is no record of a batch; name another file, "
        "or repair this one"
    )
