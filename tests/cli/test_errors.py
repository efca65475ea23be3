"""Whatever goes wrong is one line on standard error, and an exit code."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from aiohttp import web

from dynasor.cli.errors import exit_code, one_line
from dynasor.core.errors import ConfigError, EngineBusy, JournalError, UnknownName
from dynasor.engines.scripted import ScriptedEngine

NOBODY = "http://127.0.0.1:9"


def boxed(value):
    """An engine with one opinion."""
    return ScriptedEngine(lambda work: f"so the answer is \\boxed{{{value}}}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ask", "q", "--polcy", "even"], ["--polcy", "--policy"]),
        (["ask", "q", "-x"], ["-x", "--policy"]),
        (["batch", "a", "b", "--nope"], ["--nope", "--live"]),
        (["demo", "--nope"], ["--nope", "--problems"]),
        (["replay", "x", "--nope"], ["--nope", "--json"]),
        (["--nope"], ["--nope"]),
        (
            ["askk", "q"],
            [
                "'askk'",
                "(known: ask, batch, bench, calibrate, chat, demo, drift, evaluate, ",
                "record, replay, serve, simulate, trace",
            ],
        ),
        (["ask"], ["Missing argument", "question"]),
        (["ask", "one", "two"], ["two"]),
        (["batch", "in"], ["Missing argument", "OUT"]),
        (["replay"], ["Missing argument", "journal"]),
        (["ask", "q", "--cap"], ["--cap"]),
        (["ask", "q", "--cap", "many"], ["--cap", "many"]),
        (["ask", "q", "--cap", "0"], ["'cap'", "greater than or equal to 1"]),
        (["ask", "q", "--slots", "-3"], ["'slots'", "-3"]),
        (["ask", "q", "--seed", "9" * 30], ["'seed'"]),
        (["ask", "q", "--deadline", "0"], ["deadline_seconds is 0"]),
        (["ask", "q", "--deadline", "nan"], ["deadline_seconds is nan"]),
        (["demo", "-n", "0"], ["--problems", "given: '0'"]),
        (["ask", "q", "--policy", "betta"], ["unknown policy 'betta'", "did you mean 'beta'?"]),
        (["ask", "q", "-p", "beta:confidence=2"], ["policy 'beta'", "<= 1.0"]),
        (["ask", "q", "-p", "beta:confidence=NaN"], ["policy 'beta'"]),
        (["ask", "q", "-p", "beta:sure=1"], ["policy 'beta'", "`sure`", "in_flight"]),
        (["ask", "q", "--policy", ""], ["unknown policy ''"]),
        (["ask", "q", "--ordering", "fifo"], ["unknown ordering 'fifo'", "app-fifo"]),
        (["ask", "q", "--task", "maths"], ["unknown task 'maths'", "did you mean 'math'?"]),
        (["ask", "q", "--config", "no.toml"], ["no.toml cannot be read"]),
        (["ask", "q", "--engine", "localhost"], ["engine 'localhost' is neither a URL"]),
        (["ask", "q", "--engine", "no.gguf"], ["no.gguf"]),
        (["ask", "q", "--engine", "http://"], ["http://"]),
        (["ask", "q", "--journal", "no/such/folder"], ["no/such/folder", "No such file"]),
        (["ask", ""], ["the question is empty"]),
        (["ask", " \n\t"], ["the question is empty"]),
        (["ask", "\udcff"], ["the question is not UTF-8"]),
        (["replay", "no"], ["journal no cannot be read"]),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_unusable(command, arguments, said):
    """What cannot be used is one line that says what was given and what is known; exit code 2."""
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("dynasor: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    for part in said:
        assert part.lower() in err.lower()


def test_unknown_key_in_the_file(command):
    """An unknown key of dynasor.toml is one line with the file and the known keys."""
    Path("dynasor.toml").write_text("polcy = 'even'\n")
    code, out, err = command("ask", "q")
    assert (code, out) == (2, "")
    assert "unknown setting in dynasor.toml: 'polcy' (known: aging_factor, " in err
    assert "did you mean 'policy'?" in err
    assert err.count("\n") == 1


def test_unknown_key_in_the_environment(command, monkeypatch):
    """An unknown variable is one line."""
    monkeypatch.setenv("DYNASOR_POLCY", "even")
    code, _, err = command("ask", "q")
    assert code == 2
    assert "in the environment (DYNASOR_...): 'polcy'" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["ask", "q"], ["ask", "q", "--json"], ["demo", "-n", "2"]])
def test_engine_down(command, arguments):
    """An engine that nobody reaches is one line with its address; exit code 1."""
    code, out, err = command(*arguments, "--engine", NOBODY)
    assert (code, out) == (1, "")
    assert err.startswith(f"dynasor: engine {NOBODY}: no connection")
    assert err.count("\n") == 1


def test_engine_down_leaves_no_journal(command):
    """A start that failed leaves no journal behind, so that the same command can be repeated."""
    arguments = ("ask", "q", "--engine", "http://127.0.0.1:9", "--journal", "run.jsonl")
    assert [command(*arguments)[0] for _ in range(2)] == [1, 1]
    assert not Path("run.jsonl").exists()


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: web.Response(text="<html>hello</html>", content_type="text/html"),
        lambda _: web.json_response([1, 2]),
        lambda _: web.json_response({"data": "x"}),
        lambda _: web.Response(status=404),
        lambda _: web.Response(status=500, text="line one\nline two"),
    ],
)
def test_garbage_engine(command, server, answer):
    """A server that is no engine is one line with its address; exit code 1."""
    server.models = answer
    code, out, err = command("ask", "q", "--engine", server.url)
    assert (code, out) == (1, "")
    assert err.startswith(f"dynasor: engine {server.url}: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["ask", "demo"])
def test_engine_that_refuses(command, name):
    """An engine that refuses every call is one line with its words; exit code 1."""
    arguments = ["ask", "q"] if name == "ask" else ["demo", "-n", "3"]
    code, _, err = command(*arguments, "--json", engine=ScriptedEngine({}))
    assert code == 1
    assert err.splitlines()[-1].startswith("dynasor: engine scripted: its script has no output")


def test_deadline(command):
    """A question without an answer in time is one line; exit code 1."""

    class Slow(ScriptedEngine):
        async def generate(self, work, meter, on_report=None):
            import asyncio

            await asyncio.Event().wait()

    code, _, err = command("ask", "q", "--deadline", "0.05", engine=Slow())
    assert code == 1
    assert "the deadline passed before its first answer" in err
    assert err.count("\n") == 1


def test_empty_standard_input(command, monkeypatch):
    """Nothing on standard input is an empty question."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    code, _, err = command("ask", "-")
    assert (code, err) == (2, "dynasor: the question is empty\n")


def test_binary_standard_input(command, monkeypatch):
    """Bytes that are no text are one line."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\x00")))
    code, _, err = command("ask", "-")
    assert (code, err) == (2, "dynasor: the question is not UTF-8\n")


@pytest.mark.slow
def test_interrupted(server, tmp_path):
    """Ctrl-C while a question is asked is one line, exit code 130."""
    server.hangs = True
    process = subprocess.Popen(
        [sys.executable, "-m", "dynasor", "ask", "q", "--engine", server.url, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert server.has_come.wait(60)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "dynasor: interrupted\n")


@pytest.mark.slow
def test_exit_codes_of_the_process(tmp_path):
    """The process itself ends with the code, and prints no traceback."""
    for arguments, code in ((["ask", "q", "--cap", "0"], 2), (["ask", "q", "-e", NOBODY], 1)):
        ended = subprocess.run(
            [sys.executable, "-m", "dynasor", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        assert (ended.returncode, ended.stdout) == (code, "")
        assert ended.stderr.count("\n") == 1


@pytest.mark.slow
def test_nobody_reads_on(command):
    """Output that nobody reads any more ends the command without a word."""
    command("ask", "q", "--journal", "j", "--json", engine=boxed(1))
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, "-m", "dynasor", "replay", "j"],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_help(command):
    """--help is on standard output, exit code 0, for every command."""
    code, out, err = command("--help")
    assert (code, err) == (0, "")
    for name in ("ask", "batch", "demo", "replay"):
        assert name in out
        code, own, err = command(name, "--help")
        assert (code, err) == (0, "")
        assert name in own


def test_a_bug_keeps_its_traceback(command):
    """An error that is nobody's fault but ours comes out as it is."""

    class Buggy(ScriptedEngine):
        async def start(self):
            raise ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError, match="ours"):
        command("ask", "q", engine=Buggy())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (UnknownName("policy", "x", ["y"]), 2),
        (JournalError("x"), 2),
        (typer.BadParameter("x"), 2),
        (EngineBusy("e", "later"), 1),
        (BrokenPipeError(), 1),
        (KeyboardInterrupt(), 130),
        (typer.Abort(), 130),
        (typer.Exit(7), 7),
        (SystemExit(3), 3),
        (SystemExit("words"), 1),
        (ZeroDivisionError(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_code(error, code):
    """Every kind of error has its exit code; None is for bugs."""
    assert exit_code(error) == code


def test_one_line():
    """However many lines an error has, the user gets one."""
    assert one_line(ConfigError("a\n  b\r\n\tc")) == "dynasor: a b c"
    assert one_line(BrokenPipeError()) == ""
