"""A file that grows: held by one process at a time, whole pieces only, picked up where it ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from dynasor.core.errors import DynasorError, UserError

__all__ = ["LockedFile"]


class LockedFile:
    """One file, opened or created, and locked until `close`.

    `end` is where the next piece goes, in bytes. What the file held is neither read nor changed
    here before `cut` or `rewrite` says what of it is kept.
    """

    def __init__(self, path: Path, noun: str, work: str, error: type[UserError]) -> None:
        """Open and lock the file; raises `error` where that is impossible.

        Messages call the file a `noun` ("trace"), and `work` is what goes on in it ("batch").
        """
        self.path = path
        self.end = 0
        self._noun, self._work, self._error = noun, work, error
        self._fd, self._is_new = self._open()

    def cut(self, end: int) -> None:
        """Keep the first `end` bytes and go on behind them; raises `DynasorError`."""
        self._is_new = False
        with self._writing():
            os.ftruncate(self._fd, end)
        self.end = end

    def append(self, piece: bytes) -> None:
        """Write a piece whole or not at all; raises `DynasorError`.

        It is in the file, if the process is killed, when this returns.
        """
        with self._writing():
            try:
                _write(self._fd, piece, self.end)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, self.end)
                raise
        self.end += len(piece)

    def rewrite(self, pieces: Iterable[bytes]) -> None:
        """Put a new file of these pieces in this one's place; the lock and the mode go with it.

        Where that fails, this one stays as it is; raises `DynasorError`.
        """
        self._is_new = False
        path = self.path.resolve()
        # One that a killed run has left behind is overwritten: the lock on this file guards it.
        beside = path.with_name(f".{path.name}.new")
        with self._writing():
            fd = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.fchmod(fd, stat.S_IMODE(os.fstat(self._fd).st_mode))
                end = 0
                for piece in pieces:
                    _write(fd, piece, end)
                    end += len(piece)
                os.fsync(fd)
                beside.replace(path)
            except BaseException:
                os.close(fd)
                beside.unlink(missing_ok=True)
                raise
        os.close(self._fd)
        self._fd, self.end = fd, end

    def close(self) -> None:
        """Give the file to others; safe to call twice.

        A file that was created here is removed if nobody has said what it should hold.
        """
        if self._fd < 0:
            return
        if self._is_new and os.fstat(self._fd).st_size == 0:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = -1

    def _open(self) -> tuple[int, bool]:
        """Return a file descriptor that holds the lock on what is at the path, and if it is new."""
        while True:
            is_new = not self.path.exists()
            try:
                fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError as exc:
                raise self._error(
                    f"{self._noun} {self.path} cannot be written: {exc.strerror}"
                ) from exc
            try:
                self._lock(fd)
                # Another process may have put a new file there between the opening and the lock.
                if _is_at(self.path, os.fstat(fd)):
                    return fd, is_new
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def _lock(self, fd: int) -> None:
        name = f"{self._noun} {self.path}"
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise self._error(f"{name} is no file; a {self._work} goes on in a file only")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise self._error(
                f"{name} is being written by another run; wait for its end or name another file"
            ) from exc
        except OSError as exc:
            raise self._error(f"{name} cannot be locked: {exc.strerror}") from exc

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Say what to do where the file cannot be written."""
        try:
            yield
        except OSError as exc:
            raise DynasorError(
                f"{self._noun} {self.path} cannot be written: {exc.strerror}; what is finished is "
                "kept: make room and run the same command again"
            ) from exc


def _write(fd: int, piece: bytes, start: int) -> None:
    """Write all of a piece; the system may take it in parts."""
    written = 0
    while written < len(piece):
        written += os.pwrite(fd, piece[written:], start + written)


def _is_at(path: Path, opened: os.stat_result) -> bool:
    try:
        present = path.stat()
    except FileNotFoundError:
        return False
    return (present.st_ino, present.st_dev) == (opened.st_ino, opened.st_dev)
