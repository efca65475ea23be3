"""Traces as files: what is written is read, and what is wrong is one line that says where."""

from __future__ import annotations

import gzip
import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.traces import chain_line, header, lines, sampling_line, text_of, tree_line, write

from dynasor.core.errors import DynasorError
from dynasor.traces import Sample, TraceError, open_trace, read_trace, write_trace

KINDS = ("sampling", "chain", "tree")


@pytest.fixture
def path(tmp_path):
    """Where a trace is to be."""
    return tmp_path / "t.jsonl"


def failing(path, kind=None):
    """The message with which a trace is refused; its path is left out."""
    with pytest.raises(TraceError) as caught:
        read_trace(path, kind)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message.replace(str(path), "T")


@given(data=st.data(), kind=st.sampled_from(KINDS), ending=st.sampled_from(["", ".gz"]))
def test_round_trip(data, kind, ending):
    """Whatever lines are written are read again, gzip or not."""
    written = data.draw(lines(kind))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t.jsonl{ending}"
        write_trace(path, header(kind, seed=7), written)
        found = read_trace(path, kind)
        assert found.header == header(kind, seed=7)
        assert found.lines == tuple(written)
        assert path.read_bytes().startswith(b"\x1f\x8b" if ending else b"{")


def test_streaming(path):
    """A trace is read line by line: a wrong line harms only who reads as far."""
    write(path, header(), sampling_line("a"), b"{}\n")
    with open_trace(path) as trace:
        assert next(trace.lines).id == "a"
        with pytest.raises(TraceError, match="line 3"):
            next(trace.lines)


def test_opening_what_is_no_trace(path):
    """A file that is no trace is refused when it is opened, before any line is read."""
    with pytest.raises(TraceError, match="line 1 is no header"):
        open_trace(write(path, b"{}\n"))


def test_digest(path):
    """The digest is that of the file's bytes, and equal content makes equal files."""
    write_trace(path, header(), [sampling_line()])
    assert read_trace(path).digest == hashlib.sha256(path.read_bytes()).hexdigest()
    one, other = path.with_name("a.jsonl.gz"), path.with_name("b.jsonl.gz")
    for each in (one, other):
        write_trace(each, header(), [sampling_line()])
    assert one.read_bytes() == other.read_bytes()


def test_gzip_by_its_bytes(path):
    """A file that is gzip is read as that whatever its name."""
    path.write_bytes(gzip.compress(text_of(header(), sampling_line())))
    assert read_trace(path).lines == (sampling_line(),)


def test_joined_gzip_members(path):
    """A gzip file of several members is one trace."""
    path.write_bytes(
        gzip.compress(text_of(header())) + gzip.compress(text_of(sampling_line("é 字")))
    )
    assert [line.id for line in read_trace(path).lines] == ["é 字"]


def test_blank_lines_and_unknown_fields(path):
    """Blank lines are skipped but counted; fields that nobody knows are ignored."""
    known = b'{"id":"a","question":"","samples":[{"text":"","tokens":0,"new":1}],"newer":[]}\n'
    write(path, header(), b"\n", known, b" \n", b"?\n")
    assert failing(path).startswith("trace T, line 5 is not JSON")
    write(path, header(), b"\n", known)
    assert read_trace(path).lines[0].samples == (Sample("", 0),)


def test_no_newline_at_the_end(path):
    """A whole last line needs no newline after it."""
    write(path, header(), text_of(sampling_line()).rstrip())
    assert len(read_trace(path).lines) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_header(path, kind):
    """A header alone is a trace without lines."""
    assert read_trace(write(path, header(kind))).lines == ()


class TestRefused:
    """What is refused, and in which words."""

    def test_missing(self, path):
        """A file that is not there."""
        assert failing(path) == "trace T cannot be read: No such file or directory"

    def test_folder(self, tmp_path):
        """A folder."""
        assert failing(tmp_path) == "trace T cannot be read: Is a directory"

    def test_empty(self, path):
        """An empty file, plain, of blank lines, or compressed."""
        expected = "trace T is empty; its first line should be a header"
        for data in (b"", b"\n \n", gzip.compress(b"")):
            path.write_bytes(data)
            assert failing(path) == expected
        empty = path.with_name("t.gz")
        empty.touch()
        assert failing(empty) == expected

    def test_false_name(self, tmp_path):
        """Plain text under a name that says gzip."""
        path = write(tmp_path / "t.jsonl.gz", header())
        assert failing(path) == (
            "trace T is not gzip, though its name ends in .gz; compress it or rename it"
        )

    @pytest.mark.parametrize("cut", [1, 5, 12, -1, -9])
    def test_truncated_gzip(self, tmp_path, cut):
        """A gzip file that ends early."""
        path = tmp_path / "t.jsonl.gz"
        whole = gzip.compress(text_of(header(), sampling_line()))
        path.write_bytes(whole[:cut])
        message = failing(path)
        assert "is cut off or damaged after line" in message
        assert message.endswith("or go on with the command that was writing it")

    def test_damaged_gzip(self, tmp_path):
        """A gzip file with a wrong byte, and one with something else behind it."""
        path = tmp_path / "t.jsonl.gz"
        whole = gzip.compress(text_of(header(), sampling_line()))
        path.write_bytes(whole[:20] + b"\0\0\0" + whole[23:])
        assert "is cut off or damaged" in failing(path)
        path.write_bytes(whole + b"what?")
        assert "is cut off or damaged after line 2" in failing(path)

    def test_no_utf8(self, path):
        """Bytes that are no UTF-8, wherever they stand."""
        message = "trace T, line 2 is not UTF-8 (byte 7); save the file as UTF-8"
        write(path, header(), b'{"id":"\xff"}\n')
        assert failing(path) == message
        write(path, header(), b'{"new":"\xff"}\n'.replace(b"new", b"ne"))
        assert failing(path) == message
        path.write_bytes(text_of(header()).decode().encode("utf-16"))
        assert "line 1 is not UTF-8 (byte 0)" in failing(path)

    def test_no_header(self, path):
        """A first line that is no header."""
        assert failing(write(path, sampling_line())) == (
            "trace T, line 1 is no header: it has no `dynasor_trace`; "
            "`dynasor trace convert` makes traces of other files"
        )
        assert "line 1 is not JSON" in failing(write(path, b"hello\n"))
        assert failing(write(path, b"[]\n")) == ("trace T, line 1: expected `object`, got `array`")

    def test_other_version(self, path):
        """A header of another version, whatever else it has."""
        assert failing(write(path, b'{"dynasor_trace":2}\n')) == (
            "trace T, line 1 is a header of version 2; this build reads 1"
        )

    def test_bad_header(self, path):
        """A header that lacks a field, or has one out of range."""
        assert failing(write(path, b'{"dynasor_trace":1,"kind":"tree","model":""}\n')) == (
            "trace T, line 1: object missing required field `workload`"
        )
        bad = b'{"dynasor_trace":1,"kind":"prose","workload":"","model":""}\n'
        assert failing(write(path, bad)) == "trace T, line 1: kind: invalid enum value 'prose'"

    def test_other_kind(self, path):
        """A trace of another kind than the one needed."""
        assert failing(write(path, header("tree")), "chain") == (
            "trace T is of kind tree; chain is needed here"
        )

    def test_torn_line(self, path):
        """A last line that was cut off."""
        write(path, header(), text_of(sampling_line())[:-9])
        assert failing(path) == ("trace T, line 2 is cut off: the file ends early, or was joined")

    @pytest.mark.parametrize(
        ("line", "complaint"),
        [
            (b'{"id":"a","samples":[]}', ": object missing required field `question`"),
            (b'{"id":1}', ": id: expected `str`, got `int`"),
            (b'{"id":""}', ": id: expected `str` of length >= 1"),
            (
                b'{"id":"a","samples":[{"text":"","tokens":1},{"text":"","tokens":-1}]}',
                ": samples[1].tokens: expected `int` >= 0",
            ),
            (b'{"samples":[{"tokens":1.5}]}', ": samples[0].tokens: expected `int`, got `float`"),
            (b'{"samples":[{"tokens":null}]}', ": samples[0].tokens: expected `int`, got `null`"),
            (b'{"samples":[{"reward":1.5}]}', ": samples[0].reward: expected `float` <= 1.0"),
            (b'{"samples":[{"rank":0}]}', ": samples[0].rank: expected `int` >= 1"),
            (b'{"samples":[{"reward":NaN}]}', " is not JSON: JSON is malformed: "),
            (b"[]", ": expected `object`, got `array`"),
            (b"{" * 3, " is not JSON: JSON is malformed: "),
            (b'{"new":' + b"[" * 9999 + b"]" * 9999 + b"}", " is nested too deeply to be read"),
        ],
    )
    def test_bad_line(self, path, line, complaint):
        """A line that is no JSON, lacks a field, or has one of a wrong type or out of range."""
        write(path, header(), line + b"\n")
        assert failing(path).startswith(f"trace T, line 2{complaint}")

    def test_joined_files(self, path):
        """A second header, of this version or another."""
        write(path, header(), sampling_line(), header())
        assert failing(path) == (
            "trace T, line 3 is a second header (version 1): files were joined; keep them apart"
        )
        write(path, header(), b'{"dynasor_trace":2}\n')
        assert "line 2 is a second header (version 2)" in failing(path)

    @pytest.mark.parametrize("one", KINDS)
    @pytest.mark.parametrize("other", KINDS)
    def test_line_of_another_kind(self, path, one, other):
        """A line that belongs into a trace of another kind."""
        line = {"sampling": sampling_line, "chain": chain_line, "tree": tree_line}[other]()
        write(path, header(one), line)
        if one == other:
            assert read_trace(path).lines == (line,)
        else:
            assert failing(path) == f"trace T, line 2 is of kind {other}; the header says {one}"

    def test_repeated_id(self, path):
        """An id that was there before."""
        write(path, header(), sampling_line("a"), sampling_line("b"), sampling_line("a"))
        assert failing(path) == ("trace T, line 4 repeats the id 'a' of line 2; ids are unique")


class TestWriting:
    """`write_trace` writes whole files that can be read, or none."""

    def test_existing(self, path):
        """A file that exists is not written over."""
        path.write_text("mine")
        with pytest.raises(TraceError, match="exists already; name a new file"):
            write_trace(path, header(), [])
        assert path.read_text() == "mine"

    @pytest.mark.parametrize(
        ("lines", "complaint"),
        [
            ([sampling_line("a"), sampling_line("a")], "repeats the id 'a'"),
            ([tree_line("a")], "is of kind sampling; the line 'a' is of kind tree"),
            ([sampling_line("a", answers=["\ud800"])], "the line 'a' is not Unicode text"),
            ([sampling_line("")], "id: expected `str` of length >= 1"),
        ],
    )
    def test_bad_lines(self, tmp_path, path, lines, complaint):
        """A line that could not be read again is refused, and nothing is left behind."""
        with pytest.raises(TraceError, match=complaint):
            write_trace(path, header(), lines)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("number", [float("nan"), float("inf")])
    def test_numbers_that_json_lacks(self, path, number):
        """A number that is not finite is refused: JSON would make null of it."""
        line = sampling_line("a", answers=[])
        line = type(line)("a", "", (Sample("", 1, mean_logprob=number),))
        with pytest.raises(TraceError, match="its numbers must be finite"):
            write_trace(path, header(), [line])

    def test_no_folder(self, tmp_path):
        """A folder that is not there is an error that says so."""
        with pytest.raises(DynasorError, match="cannot be written: No such file or directory"):
            write_trace(tmp_path / "no" / "t", header(), [])
