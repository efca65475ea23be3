"""`dynasor trace`, as a user calls it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import typer
from toys.traces import header, sampling_line, text_of, tree_line, write

from dynasor import cli
from dynasor.cli.trace import trace_app
from dynasor.traces import read_trace, write_trace


@pytest.fixture
def trace(command, monkeypatch):
    """Call `dynasor trace ...`: the exit code, standard output and standard error."""
    app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]})
    app.add_typer(trace_app)
    monkeypatch.setattr(cli, "app", app)
    return lambda *arguments: command("trace", *arguments)


def test_check(trace):
    """Traces that can be used are summed up in a line, warnings below."""
    write_trace(Path("a.jsonl.gz"), header(), [sampling_line("a"), sampling_line("b", ["1"])])
    write_trace(Path("b.jsonl"), header("tree", has_estimated_tokens=True), [tree_line()])
    code, out, err = trace("check", "a.jsonl.gz", "b.jsonl")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "a.jsonl.gz: fine: sampling, 2 questions, 4 samples, 20 tokens",
        "  warning: 1 question with one sample: a vote needs two",
        "b.jsonl: fine: tree, 1 question, 1 tree, 16 tokens (estimated)",
    ]


def test_check_of_bad_traces(trace):
    """Every problem of every trace is a line, and the exit code says that there are some."""
    write(Path("a.jsonl"), header(), b"{}\n", sampling_line("a"), sampling_line("a"))
    write_trace(Path("b.jsonl"), header(), [sampling_line("a")])
    write(Path("c.jsonl"), header(), *[b"?\n"] * 25)
    code, out, err = trace("check", "a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl")
    assert (code, err) == (2, "dynasor: 3 of 4 traces cannot be used\n")
    lines = out.splitlines()
    assert lines[:5] == [
        "a.jsonl: cannot be used",
        "  line 2: object missing required field `id`",
        "  line 4 repeats the id 'a' of line 3; ids are unique",
        "b.jsonl: fine: sampling, 1 question, 3 samples, 15 tokens",
        "c.jsonl: cannot be used",
    ]
    assert lines[-3:] == [
        "  and 5 more",
        "d.jsonl: cannot be used",
        "  cannot be read: No such file or directory",
    ]


def test_check_for_programs(trace):
    """With --json the reports are one array."""
    write_trace(Path("a.jsonl"), header(), [sampling_line("a")])
    write(Path("b.jsonl"), b"")
    code, out, _ = trace("check", "--json", "a.jsonl", "b.jsonl")
    good, bad = json.loads(out)
    assert (code, good["summary"]["tokens"], bad["summary"]) == (2, 15, None)
    assert bad["problems"] == [
        {"line": 0, "message": "trace b.jsonl is empty; its first line should be a header"}
    ]


def test_show(trace):
    """What is in a trace, for people and for programs."""
    write_trace(Path("a.jsonl"), header(), [sampling_line("a"), sampling_line("b", [None])])
    code, out, err = trace("show", "a.jsonl")
    assert (code, err) == (0, "")
    assert "samples    4, 1 to 3 a question" in out
    assert "answers    4, 50.0% null" in out
    assert "recorded   nothing else" in out
    assert "tokens     20, counted" in out
    assert "warning: 1 question with null answers only" in out
    assert json.loads(trace("show", "a.jsonl", "--json")[1])["samples"] == 4


def test_show_of_a_bad_trace(trace):
    """A trace that cannot be used is one line that says why."""
    write(Path("a.jsonl"), header(), b"{}\n")
    assert trace("show", "a.jsonl") == (
        2,
        "",
        "dynasor: trace a.jsonl, line 2: object missing required field `id`\n",
    )


def test_convert(trace):
    """A recorded file becomes a trace, whose path is printed."""
    record = {"id": "a", "question": "1+0?", "gold": "1", "samples": []}
    Path("in.jsonl").write_text(json.dumps(record) + "\n")
    asked = {"id": "a", "question": "1+0=?"}
    Path("questions.jsonl").write_text(json.dumps(asked) + "\n")
    code, out, err = trace(
        *("convert", "in.jsonl", "out.jsonl.gz", "--questions", "questions.jsonl"),
        *("--model", "toy", "--workload", "toys", "--task", "choice"),
        *("--origin", "mine", "--estimated"),
    )
    assert (code, out, err) == (0, "out.jsonl.gz\n", "")
    found = read_trace(Path("out.jsonl.gz"))
    assert found.header == header(task="choice", source="mine", has_estimated_tokens=True)
    assert found.lines[0].question == "1+0=?"


def test_convert_of_an_unknown_file(trace):
    """A file that cannot be converted is one line that says why."""
    Path("in.jsonl").write_text('{"prompt": ""}\n')
    code, out, err = trace("convert", "in.jsonl", "out.jsonl")
    assert (code, out) == (2, "")
    assert err.startswith("dynasor: in.jsonl, line 1: no known layout has just the fields prompt")
    assert err.count("\n") == 1


def test_path_that_is_no_text(trace):
    """A path with bytes that are no text is shown with '?' in their place."""
    Path(os.fsdecode(b"\xff.jsonl")).write_bytes(text_of(header(), b"{}\n"))
    code, out, _ = trace("check", "--json", os.fsdecode(b"\xff.jsonl"))
    assert (code, json.loads(out)[0]["path"]) == (2, "?.jsonl")
    assert trace("show", os.fsdecode(b"\xff.jsonl"))[2].startswith("dynasor: trace ?.jsonl")
