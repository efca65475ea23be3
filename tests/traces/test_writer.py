"""A trace that grows: whole lines only, one writer, and resumed wherever it was cut off."""

from __future__ import annotations

import errno
import gzip
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.traces import header, lines, sampling_line, text_of, tree_line, write

from dynasor.core.errors import DynasorError
from dynasor.traces import TraceError, TraceWriter, read_trace, write_trace

NAMES = ["t.jsonl", "t.jsonl.gz"]


@pytest.fixture(params=NAMES)
def path(request, tmp_path):
    """Where a trace is to be, plain and compressed."""
    return tmp_path / request.param


def append(path, *names, kind_header=None):
    """Open a writer, append questions, close it; the ids that were there."""
    with TraceWriter(path, kind_header or header()) as writer:
        found = writer.finished
        for name in names:
            writer.append(sampling_line(name))
    return found


def ids(path):
    """The ids in a trace, in order."""
    return [line.id for line in read_trace(path).lines]


def test_goes_on(path):
    """A writer goes on where the last one ended, and knows what is finished."""
    assert append(path, "a", "b") == set()
    assert append(path, "c") == {"a", "b"}
    assert ids(path) == ["a", "b", "c"]


def test_header_at_once(path):
    """A trace that was only opened is a trace without lines."""
    append(path)
    assert read_trace(path).header == header()


def test_lines_are_there_at_once(path):
    """An appended line can be read while the writer is open."""
    with TraceWriter(path, header()) as writer:
        writer.append(sampling_line("a"))
        assert ids(path) == ["a"]
        assert (writer.finished, writer.header) == ({"a"}, header())


@given(data=st.data(), name=st.sampled_from(NAMES), kind=st.sampled_from(["chain", "tree"]))
def test_round_trip(data, name, kind):
    """Whatever lines are appended, by however many writers, are read again in order."""
    written = data.draw(lines(kind))
    cut = data.draw(st.integers(0, len(written)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        for part in (written[:cut], written[cut:]):
            with TraceWriter(path, header(kind)) as writer:
                for line in part:
                    writer.append(line)
        assert read_trace(path).lines == tuple(written)


def test_killed_at_every_byte_of_the_last_line(path):
    """However much of a line a killed writer has written, only that line is lost."""
    append(path, "a", "b")
    kept = path.stat().st_size
    append(path, "ç")
    whole = path.read_bytes()
    for size in range(kept, len(whole)):
        path.write_bytes(whole[:size])
        assert append(path, "ç") == {"a", "b"}, size
        assert path.read_bytes() == whole, size


def test_killed_at_every_byte_of_the_header(path):
    """However much of the header was written, the trace is begun anew."""
    append(path)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert append(path) == set(), size
        assert path.read_bytes() == whole, size


def test_compressed_by_others(tmp_path):
    """A trace that stands in one gzip member is gone on with, also without `.gz` in its name."""
    for name in NAMES:
        path = tmp_path / name
        path.write_bytes(gzip.compress(text_of(header(), sampling_line("a"), sampling_line("b"))))
        assert append(path, "c") == {"a", "b"}
        assert ids(path) == ["a", "b", "c"]


def test_written_whole(path):
    """A trace that was written at once can be gone on with."""
    write_trace(path, header(), [sampling_line("a")])
    assert append(path, "b") == {"a"}
    assert ids(path) == ["a", "b"]


@pytest.mark.parametrize(
    ("then", "now", "difference"),
    [
        ({"seed": 1}, {"seed": 2}, "seed 1, not 2"),
        ({}, {"task": "choice"}, "task 'math', not 'choice'"),
        (
            {"sampling": {"temperature": 0.5, "top_p": 1}},
            {"sampling": {"temperature": 0.7, "top_p": 1}},
            "sampling.temperature 0.5, not 0.7",
        ),
        ({"sampling": {}}, {"sampling": {"n": None}}, "sampling.n None, not None"),
        ({"kind": "tree"}, {}, "kind 'tree', not 'sampling'"),
    ],
)
def test_other_header(path, then, now, difference):
    """A trace with another header is not gone on with; the error names the first difference."""
    append(path, kind_header=header(**then))
    before = path.read_bytes()
    with pytest.raises(TraceError) as caught:
        append(path, kind_header=header(**now))
    assert f"was begun with {difference}; name another file" in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("foreign", [b"my notes", b"my notes\nof today\n", b"\x1f", b"{}"])
def test_foreign_files(tmp_path, foreign):
    """A file that is no trace is refused and left as it is."""
    path = tmp_path / "t.jsonl"
    path.write_bytes(foreign)
    with pytest.raises(TraceError):
        append(path)
    assert path.read_bytes() == foreign


def test_damage_in_the_middle(path):
    """A trace that is damaged before its end is refused and left as it is."""
    append(path, "a", "b")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(TraceError):
        append(path)
    assert path.read_bytes() == bytes(data)


def test_torn_member_of_many_lines(tmp_path):
    """A gzip file that was cut off, with finished lines in what is torn, is left to its owner."""
    path = tmp_path / "t.jsonl.gz"
    torn = gzip.compress(text_of(header(), sampling_line("a"), sampling_line("b")))[:-3]
    path.write_bytes(torn)
    with pytest.raises(TraceError, match="and not by a writer of traces"):
        append(path)
    assert path.read_bytes() == torn


def test_member_without_a_newline(tmp_path):
    """A compressed last line without its end is not glued to the next one."""
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(gzip.compress(text_of(header(), sampling_line("a")).rstrip()))
    with pytest.raises(TraceError, match="does not end with the end of a line"):
        append(path)


def test_bad_lines(path):
    """A line that could not be read again is refused; the trace is as before and goes on."""
    with TraceWriter(path, header()) as writer:
        writer.append(sampling_line("a"))
        with pytest.raises(TraceError, match="has a line 'a' already"):
            writer.append(sampling_line("a"))
        with pytest.raises(TraceError, match="'b' is of kind tree"):
            writer.append(tree_line("b"))
        with pytest.raises(TraceError, match="'b' is not Unicode text"):
            writer.append(sampling_line("b", answers=["\ud800"]))
        assert writer.finished == {"a"}
        writer.append(sampling_line("b"))
    assert ids(path) == ["a", "b"]


def test_one_writer(path):
    """A second writer is refused while the first is open, and welcome after that."""
    with (
        TraceWriter(path, header()),
        pytest.raises(TraceError, match="is being written by another run"),
    ):
        TraceWriter(path, header())
    append(path, "a")


def test_closing_twice(path):
    """Closing is safe to repeat."""
    writer = TraceWriter(path, header())
    writer.close()
    writer.close()


def test_full_disk(path, monkeypatch):
    """A line that finds no room leaves nothing of itself, and can be written later."""
    real = os.pwrite

    def half(fd, data, offset):
        if len(data) > 20:
            return real(fd, data[:20], offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    with TraceWriter(path, header()) as writer:
        writer.append(sampling_line("a"))
        before = path.read_bytes()
        monkeypatch.setattr(os, "pwrite", half)
        with pytest.raises(DynasorError, match="No space left on device; what is finished is kept"):
            writer.append(sampling_line("b"))
        assert path.read_bytes() == before
        monkeypatch.undo()
        writer.append(sampling_line("b"))
    assert ids(path) == ["a", "b"]


def test_places_that_hold_no_trace(tmp_path):
    """A folder, a missing folder and a device are refused in one line."""
    for place in (tmp_path, tmp_path / "no" / "t", Path("/dev/null")):
        with pytest.raises(TraceError, match=r"cannot be written|is no file"):
            append(place)


def test_false_name(tmp_path):
    """Plain text under a name that says gzip is refused."""
    path = write(tmp_path / "t.gz", header())
    with pytest.raises(TraceError, match="is not gzip"):
        append(path)
