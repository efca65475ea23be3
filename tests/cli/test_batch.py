"""`dynasor batch`, as a user calls it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from openai.types.chat import ChatCompletion
from toys.batches import line, sums_engine

from dynasor.batch import run as batch_run
from dynasor.cli import main
from dynasor.core.errors import EngineUnreachable
from dynasor.datasets.arithmetic import heldout


@pytest.fixture
def dynasor(tmp_path, monkeypatch, capsys):
    """Call `dynasor batch in.jsonl out.jsonl ...`: the exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def call(*options, engine=None):
        if engine is not None:
            monkeypatch.setattr(batch_run, "make_engines", lambda settings: [engine])
        with pytest.raises(SystemExit) as ended:
            main(["batch", "in.jsonl", "out.jsonl", *options])
        heard = capsys.readouterr()
        return ended.value.code, heard.out, heard.err

    return call


def write(*lines):
    """Write the input."""
    Path("in.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))


def read():
    """Read the output."""
    return [json.loads(one) for one in Path("out.jsonl").read_text().splitlines()]


def test_table(dynasor):
    """A run ends with a table of what was answered, failed, spent and about saved."""
    write(line("a"), line("b", "never"), {"custom_id": "c"})
    code, out, err = dynasor("--cap", "4", engine=sums_engine())
    assert (code, err) == (0, "")
    assert "answered  1" in out
    assert "--retry-errors asks them again" in out
    assert "an estimate" in out
    assert len(read()) == 3


def test_json(dynasor):
    """With --json standard output is one object and nothing else is shown."""
    write(line("a"), line("b", "never"), {"custom_id": "c"})
    options = (
        "--json",
        "--policy",
        "even",
        "--no-lock",
        "--cap",
        "4",
        "--live",
        "2",
        "--seed",
        "1",
    )
    code, out, err = dynasor(*options, engine=sums_engine())
    figures = json.loads(out)
    assert (code, err) == (0, "")
    seconds = figures.pop("seconds")
    assert seconds > 0
    assert figures == {
        "input": "in.jsonl",
        "output": "out.jsonl",
        "lines": 3,
        "found": 0,
        "answered": 1,
        "failed": 1,
        "unusable": 1,
        "prompt_tokens": figures["prompt_tokens"],
        "completion_tokens": 20,
        "even_tokens_estimate": 20,
        "saved_tokens_estimate": 0,
        "saved_share_estimate": 0.0,
    }


def test_program(dynasor):
    """--program is the algorithm of the lines that name none."""
    write(line("a"), line("b", dynasor={"algorithm": "self-consistency"}))
    engine = sums_engine(reward=lambda prompt: 0.5)
    code, _, err = dynasor("--program", "rebase:balance=0.2", "--cap", "2", engine=engine)
    assert (code, err) == (0, "")
    names = {one["custom_id"]: one["response"]["body"]["dynasor"]["algorithm"] for one in read()}
    assert names == {"a": "rebase", "b": "self-consistency"}


def test_retry_errors(dynasor):
    """--retry-errors asks again what has failed."""
    write(line("a", "never"))
    dynasor(engine=sums_engine())
    write(line("a", "1+1?"))
    code, _, _ = dynasor("--retry-errors", "--cap", "1", engine=sums_engine())
    assert code == 0
    assert [one["response"]["status_code"] for one in read()] == [200]


def test_warning(dynasor):
    """A warning is one line on standard error."""
    write(line("a", model="gpt-[x]"))
    _, _, err = dynasor("--cap", "1", engine=sums_engine())
    assert err == (
        "dynasor: warning: a question asks for model 'gpt-[x]'; 'scripted' answers all\n"
    )


def test_engine_down(dynasor):
    """An engine that nobody reaches is one line with its address, exit code 1, and no output."""
    write(line("a"))
    code, out, err = dynasor("--engine", "http://127.0.0.1:9")
    assert (code, out) == (1, "")
    assert err.startswith("dynasor: engine http://127.0.0.1:9: ")
    assert err.count("\n") == 1
    assert not Path("out.jsonl").exists()


def test_bad_option(dynasor):
    """An option that cannot be used is one line, exit code 2, and no output."""
    write(line("a"))
    code, _, err = dynasor("--policy", "betta")
    assert code == 2
    assert "did you mean 'beta'?" in err
    assert not Path("out.jsonl").exists()


def test_interrupted(dynasor):
    """Ctrl-C leaves what is finished, and one line says how to go on."""
    asked = []

    def before(question):
        asked.append(question)
        if len(asked) == 20:
            os.kill(os.getpid(), signal.SIGINT)

    write(*(line(f"q{n}", f"{n}+1?") for n in range(50)))
    code, out, err = dynasor("--cap", "1", "--live", "4", engine=sums_engine(before))
    assert (code, out) == (130, "")
    assert err == (
        "dynasor: interrupted; what is finished is in out.jsonl, "
        "and the same command does the rest\n"
    )
    finished = len(read())
    assert 10 < finished < 50
    code, out, _ = dynasor("--cap", "1", "--json", engine=sums_engine())
    assert json.loads(out)["found"] == finished
    assert {one["custom_id"] for one in read()} == {f"q{n}" for n in range(50)}


@pytest.mark.slow
def test_engine_lost(dynasor):
    """When the engine is lost midway the run stops with one line, exit code 1."""

    def before(question):
        if int(question.removesuffix("+1?")) >= 5:
            raise EngineUnreachable("toy", "no connection")

    write(*(line(f"q{n}", f"{n}+1?") for n in range(60)))
    code, _, err = dynasor("--cap", "1", engine=sums_engine(before))
    assert code == 1
    assert "5 of 60 lines are in out.jsonl: start the engine and run the same command again" in err
    assert err.count("\n") == 1


@pytest.mark.engine
@pytest.mark.slow
def test_embedded_engine(dynasor):
    """The embedded model answers a batch, whole chat completions, most of them in agreement."""
    problems = heldout(8)
    write(*(line(one.id, one.question) for one in problems))
    code, out, _ = dynasor("--json", "--cap", "8", "--slots", "8")
    assert code == 0
    assert json.loads(out)["answered"] == 8
    for record in read():
        completion = ChatCompletion.model_validate(record["response"]["body"], strict=True)
        assert completion.usage.completion_tokens > 0
        assert completion.model_extra["dynasor"]["knob"] >= 1
    assert {one["custom_id"] for one in read()} == {one.id for one in problems}
