"""The output file: held by one run at a time, whole lines only, picked up where it ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from dynasor.batch.records import RECORD_BEGINNING, LineError, Record, encode_record
from dynasor.core.errors import DynasorError, UserError

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
        self._fd, self._is_new = _open_and_lock(path)
        self._end = 0

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
        self._is_new = False
        try:
            if drops_failures and progress.failed:
                self._rewrite(progress.size)
            else:
                os.ftruncate(self._fd, progress.size)
                self._end = progress.size
        except OSError as exc:
            raise _unwritable(self.path, exc) from exc

    def write(self, record: Record) -> None:
        """Append one record as one whole line; raises `DynasorError` where that is impossible."""
        try:
            self._append(self._fd, encode_record(record))
        except OSError as exc:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._end)
            raise _unwritable(self.path, exc) from exc

    def close(self) -> None:
        """Give the file to others; one that was created and never prepared is removed."""
        if self._fd < 0:
            return
        if self._is_new and os.fstat(self._fd).st_size == 0:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = -1

    def _append(self, fd: int, line: bytes) -> None:
        written = 0
        while written < len(line):
            written += os.pwrite(fd, line[written:], self._end + written)
        self._end += len(line)

    def _rewrite(self, size: int) -> None:
        """Copy what did not fail into a file beside this one, and rename that."""
        path = self.path.resolve()
        # One that a killed run has left behind is overwritten: the lock on the output guards it.
        beside = path.with_name(f".{path.name}.new")
        fd = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fchmod(fd, stat.S_IMODE(os.fstat(self._fd).st_mode))
            self._end = 0
            for data, head in _whole_lines(path, size):
                if not head.has_failed:
                    self._append(fd, data)
            os.fsync(fd)
            beside.replace(path)
        except BaseException:
            os.close(fd)
            beside.unlink(missing_ok=True)
            raise
        self._fd, old = fd, self._fd
        os.close(old)


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


def _unwritable(path: Path, exc: OSError) -> DynasorError:
    return DynasorError(
        f"output {path} cannot be written: {exc.strerror}; what is finished is kept: "
        "make room and run the same command again"
    )


def _open_and_lock(path: Path) -> tuple[int, bool]:
    """Return a file descriptor that holds the lock on what stands at `path`, and if it is new."""
    while True:
        is_new = not path.exists()
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as exc:
            raise OutputError(f"output {path} cannot be written: {exc.strerror}") from exc
        try:
            _lock(fd, path)
            # Another run may have put a new file there between the opening and the lock.
            if _is_at(path, os.fstat(fd)):
                return fd, is_new
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _lock(fd: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise OutputError(f"output {path} is no file; a batch goes on in a file only")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise OutputError(
            f"output {path} is being written by another run; wait for its end or name another file"
        ) from exc
    except OSError as exc:
        raise OutputError(f"output {path} cannot be locked: {exc.strerror}") from exc


def _is_at(path: Path, opened: os.stat_result) -> bool:
    try:
        present = path.stat()
    except FileNotFoundError:
        return False
    return (present.st_ino, present.st_dev) == (opened.st_ino, opened.st_dev)
