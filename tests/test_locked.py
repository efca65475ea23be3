"""Files that grow: one holder at a time, whole pieces, and nothing lost where writing fails."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.core.errors import DynasorError, UserError
from dynasor.locked import LockedFile


class LogError(UserError):
    """A log that cannot be used."""


@pytest.fixture
def path(tmp_path):
    """Where a file is to be."""
    return tmp_path / "log"


def opened(path):
    """Open a log, to be closed at the end of a `with`."""
    return contextlib.closing(LockedFile(path, "log", "diary", LogError))


def full(fd, data, offset):
    """Write as a full disk does."""
    raise OSError(errno.ENOSPC, "No space left on device")


def test_goes_on(path):
    """What is kept stays, what is behind it is cut off, pieces follow."""
    path.write_bytes(b"one two")
    with opened(path) as file:
        file.cut(4)
        file.append(b"three")
        assert file.end == 9
    assert path.read_bytes() == b"one three"


def test_one_holder(path):
    """A second holder is refused while the first has it, and welcome after that."""
    with opened(path), pytest.raises(LogError, match=r"^log .*log is being written by another run"):
        LockedFile(path, "log", "diary", LogError)
    with opened(path):
        pass


def test_nothing_said_nothing_left(path):
    """A new file is removed unless something was said of its content; an old one stays."""
    with opened(path):
        assert path.exists()
    assert not path.exists()
    with opened(path) as file:
        file.cut(0)
    assert path.read_bytes() == b""
    with opened(path):
        pass
    assert path.exists()


def test_closing_twice(path):
    """Closing is safe to repeat."""
    with opened(path) as file:
        file.close()


def test_no_file(tmp_path):
    """A folder, a missing folder and a device are refused in the words of the caller."""
    with pytest.raises(LogError, match=r"^log .* cannot be written: Is a directory$"):
        LockedFile(tmp_path, "log", "diary", LogError)
    with pytest.raises(LogError, match=r"cannot be written: No such file"):
        LockedFile(tmp_path / "no" / "log", "log", "diary", LogError)
    with pytest.raises(LogError, match="^log /dev/null is no file; a diary goes on in a file only"):
        LockedFile(Path("/dev/null"), "log", "diary", LogError)


def test_no_locks(path, monkeypatch):
    """A file system without locks is one clear error."""

    def flock(fd, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(LogError, match="cannot be locked: No locks available"):
        LockedFile(path, "log", "diary", LogError)


def test_file_that_was_replaced(path, monkeypatch):
    """Where another file takes the place before the lock is had, that one is opened."""
    path.write_bytes(b"old")
    real, calls = fcntl.flock, []

    def flock(fd, how):
        if not calls:
            path.unlink()
            path.write_bytes(b"newer")
        calls.append(fd)
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with opened(path) as file:
        file.cut(5)
        file.append(b"!")
    assert path.read_bytes() == b"newer!"
    assert len(calls) == 2


def test_full_disk(path, monkeypatch):
    """A piece that finds no room leaves nothing of itself, and can be written later."""
    real = os.pwrite

    def half(fd, data, offset):
        return real(fd, data[:2], offset) if len(data) > 2 else full(fd, data, offset)

    with opened(path) as file:
        file.append(b"one")
        monkeypatch.setattr(os, "pwrite", half)
        with pytest.raises(DynasorError, match=r"^log .* No space left .* is kept"):
            file.append(b"two")
        assert path.read_bytes() == b"one"
        monkeypatch.undo()
        file.append(b"two")
    assert path.read_bytes() == b"onetwo"


def test_rewrite(path):
    """The file that takes the place is locked, has the mode of the old one, and is gone on with."""
    path.write_bytes(b"one two three")
    path.chmod(0o640)
    with opened(path) as file:
        file.rewrite([b"one", b"three"])
        with pytest.raises(LogError, match="another run"):
            LockedFile(path, "log", "diary", LogError)
        file.append(b"four")
    assert path.read_bytes() == b"onethreefour"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(path.parent.iterdir()) == [path]


def test_rewrite_that_fails(path, monkeypatch):
    """Where the new file cannot be written the old one stays, and nothing lies beside it."""
    path.write_bytes(b"one")
    with opened(path) as file:
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(DynasorError, match="No space left on device; what is finished is kept"):
            file.rewrite([b"two"])
    assert path.read_bytes() == b"one"
    assert list(path.parent.iterdir()) == [path]


@given(st.lists(st.tuples(st.sampled_from(("append", "cut", "rewrite")), st.binary(max_size=9))))
def test_end(tmp_path_factory, steps):
    """The end is always the file's size, whatever was done to it."""
    path = tmp_path_factory.mktemp("log") / "log"
    with opened(path) as file:
        for step, data in steps:
            if step == "append":
                file.append(data)
            elif step == "cut":
                file.cut(min(len(data), file.end))
            else:
                file.rewrite([data, data])
            assert file.end == path.stat().st_size
