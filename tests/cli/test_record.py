"""`dynasor record`, as a user calls it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import typer
from toys.recordings import seeded_engine
from toys.refusals import refused
from toys.searching import stepping_engine

import dynasor.cli
from dynasor.cli.record import record
from dynasor.datasets.arithmetic import heldout
from dynasor.traces import read_trace


@pytest.fixture
def recorder(command, monkeypatch):
    """Call `dynasor record set.jsonl trace.jsonl ...`: exit code, standard output and error."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command("record")(record)
    app.callback()(lambda: None)
    monkeypatch.setattr(dynasor.cli, "app", app)

    def call(*options, dataset="set.jsonl", engine=None, is_embedded=False):
        played = None if is_embedded else engine or seeded_engine()
        return command("record", dataset, "trace.jsonl", *options, engine=played)

    return call


def write(*questions):
    """Write the data set."""
    lines = (json.dumps({"id": name, "question": name, "gold": 1}) + "\n" for name in questions)
    Path("set.jsonl").write_text("".join(lines))


def ids():
    """The ids in the trace; it must be whole."""
    return {line.id for line in read_trace(Path("trace.jsonl")).lines}


def test_table(recorder):
    """A run ends with a table of what was recorded and what it cost."""
    write("1+1?", "mute")
    code, out, err = recorder("--samples", "4")
    assert (code, err) == (0, "")
    assert "recorded  2 questions" in out
    assert "8, 50.0% of them without an answer" in out
    assert "24 generated" in out
    assert "trace.jsonl" in out
    _, out, _ = recorder("-n", "4")
    assert "found     2 were in the trace already" in out


def test_json(recorder):
    """With --json standard output is one object, and options become the recording's."""
    write("a", "b", "c")
    sampling = ("--temperature", "0.5", "--top-p", "0.9", "--max-tokens", "9", "--no-logprobs")
    code, out, err = recorder("--json", "-n", "2", "--limit", "2", "--seed", "3", *sampling)
    figures = json.loads(out)
    assert (code, err) == (0, "")
    assert figures.pop("seconds") > 0
    assert figures == {
        "workload": "set",
        "program": "self-consistency",
        "output": "trace.jsonl",
        "questions": 2,
        "found": 0,
        "recorded": 2,
        "failed": 0,
        "samples": 4,
        "unanswered": 0,
        "prompt_tokens": figures["prompt_tokens"],
        "completion_tokens": 16,
    }
    header = read_trace(Path("trace.jsonl")).header
    assert (header.seed, header.workload, ids()) == (3, "set", {"a", "b"})
    assert header.sampling == {
        "temperature": 0.5,
        "max_tokens": 9,
        "top_p": 0.9,
        "samples": 2,
        "logprobs": False,
    }


def test_fields(recorder):
    """The data set's fields can be named."""
    Path("set.jsonl").write_text('{"ask": "1+1?", "told": 2}\n')
    recorder("--question-field", "ask", "--reference-field", "told")
    (line,) = read_trace(Path("trace.jsonl")).lines
    assert (line.question, line.reference) == ("1+1?", "2")


def test_failed(recorder):
    """Questions that failed are exit code 1 and one line; the same command asks them again."""
    write("a", "never")
    code, out, err = recorder("--samples", "2")
    assert code == 1
    assert "failed    1; the same command asks them again" in out
    assert err.startswith("dynasor: 1 of 2 questions failed, the last one 'never': engine toy: ")
    assert err.count("\n") == 1
    assert ids() == {"a"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--samples", "0"), "'--samples' / '-n'"),
        (("--top-p", "2"), "top_p is 2.0"),
        (("--task", "maths"), "did you mean 'math'?"),
        (("--reference-field", "golt"), "has no field golt"),
    ],
)
def test_bad_options(recorder, options, said):
    """An option that cannot be used is one line, exit code 2, and no trace."""
    write("a")
    code, out, err = recorder(*options)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not Path("trace.jsonl").exists()


def test_bad_data_set(recorder):
    """A data set that cannot be read, or that is the trace's file, is one line."""
    code, _, err = recorder(dataset="none.jsonl")
    assert (code, err.count("\n")) == (2, 1)
    assert "there is no such file; expected" in err
    write("a")
    before = Path("set.jsonl").read_bytes()
    Path("trace.jsonl").symlink_to("set.jsonl")
    code, _, err = recorder()
    assert (code, err.count("\n")) == (2, 1)
    assert Path("set.jsonl").read_bytes() == before


def test_interrupted(recorder):
    """Ctrl-C leaves what is finished, and the same command does the rest."""
    asked = []

    def before(question):
        asked.append(question)
        if len(asked) == 40:
            os.kill(os.getpid(), signal.SIGINT)

    write(*(f"{n}+1?" for n in range(50)))
    code, out, err = recorder("-n", "2", "--live", "4", engine=seeded_engine(before))
    assert (code, out) == (130, "")
    assert err == (
        "dynasor: interrupted; what is finished is in trace.jsonl, "
        "and the same command does the rest\n"
    )
    finished = len(ids())
    assert 10 < finished < 50
    _, out, _ = recorder("-n", "2", "--json")
    assert json.loads(out)["found"] == finished
    assert ids() == {f"{n}+1?" for n in range(50)}


@pytest.mark.engine
def test_embedded_engine(recorder):
    """The embedded model is recorded with log-probabilities, the same samples in every run."""
    options = ("--samples", "3", "--slots", "1", "--json")
    code, out, _ = recorder(*options, "--limit", "2", dataset="arithmetic", is_embedded=True)
    assert code == 0
    assert json.loads(out)["recorded"] == 2
    trace = read_trace(Path("trace.jsonl"))
    problems = {one.id: one for one in heldout(2)}
    assert (trace.header.model, trace.header.workload) == ("tiny", "arithmetic")
    for line in trace.lines:
        problem = problems.pop(line.id)
        assert (line.question, line.reference) == (problem.question, problem.answer)
        assert len({one.seed for one in line.samples}) == 3
        assert all(one.mean_logprob < 0 < one.tokens for one in line.samples)
        assert any(one.answer == problem.answer for one in line.samples), "an easy one"
    assert not problems
    Path("trace.jsonl").rename("first.jsonl")
    recorder(*options, dataset="arithmetic:2", is_embedded=True)
    texts = [
        {(line.id, number): one.text for line in lines for number, one in enumerate(line.samples)}
        for lines in (trace.lines, read_trace(Path("trace.jsonl")).lines)
    ]
    assert texts[0] == texts[1]


def test_program(recorder):
    """Another program than self-consistency makes a trace of its own kind."""
    write("1+1?", "2+1?")
    code, out, err = recorder(
        "--program", "mcts:width=2", "-n", "3", "--searches", "2", engine=stepping_engine()
    )
    assert (code, err) == (0, "")
    assert "finished paths  12" in out
    trace = read_trace(Path("trace.jsonl"))
    assert trace.header.kind == "tree"
    assert trace.header.sampling["params"]["width"] == 2
    assert [len(line.trees) for line in trace.lines] == [2, 2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--program", "tot"), ("program to record", "rebase")),
        (("--program", "mcts:wdith=2"), ("'wdith'", "did you mean 'width'")),
        (("--program", "rebase", "--policy", "beta:confidence=2"), ("beta",)),
        (("--searches", "2"), ("leave out searches",)),
    ],
)
def test_bad_program(recorder, options, words):
    """A program that cannot be recorded is one line."""
    write("1+1?")
    refused(recorder(*options, engine=stepping_engine()), *words)
    assert not Path("trace.jsonl").exists()
