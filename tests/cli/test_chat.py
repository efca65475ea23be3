"""`dynasor chat`: piped in this process, typed at a pseudo-terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys

import pytest

from dynasor.cli.chat import _typed
from dynasor.engines.scripted import ScriptedEngine

START = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # the terminal whose Ctrl-C reaches this process
from dynasor.cli import main
main()
"""
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def boxed(value=42):
    """An engine that always gives one answer."""
    return ScriptedEngine(lambda work: f"so it is \\boxed{{{value}}}")


@pytest.fixture
def piped(command, monkeypatch):
    """Call `dynasor chat` with lines on standard input."""

    def call(text, *options, engine=None):
        data = text if isinstance(text, bytes) else text.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="latin-1"))
        return command("chat", *options, engine=engine)

    return call


def asked(engine):
    """What each call of an engine said, without the task's instruction."""
    found = {
        tuple(one.content for one in work.prompt.messages if one.role != "system")
        for work in engine.asked
    }
    return sorted(found, key=lambda said: (len(said), said))


def test_lines(piped):
    """Piped, each line is a question; answer, certaindex and cost are printed."""
    engine = boxed()
    code, out, err = piped("a\n\nكم؟ 🐙\n", "--cap", "4", "--policy", "even", engine=engine)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0::2] == ["so it is \\boxed{42}"] * 2
    assert lines[1].startswith("answer 42 · entropy 1.00 · 3 of 4 · ")
    assert lines[1].endswith(" s · locked")


def test_conversation(piped):
    """What was said before is sent along, until it is to be forgotten."""
    engine = boxed()
    assert piped("a\nb\n/new\nc\n", "--cap", "1", engine=engine)[0] == 0
    assert asked(engine) == [("a",), ("c",), ("a", "so it is \\boxed{42}", "b")]


def test_commands(piped):
    """/help and unknown commands are answered here, and /quit ends the session."""
    engine = boxed()
    code, out, _ = piped("/help\n/hlep\n/quit\na\n", engine=engine)
    assert (code, engine.asked) == (0, [])
    assert out.count("/new   forget") == 2
    assert "unknown command /hlep" in out


def test_failure(piped):
    """A question that fails is one line, the session goes on, and the exit code tells."""
    engine = ScriptedEngine({"b": ["so it is \\boxed{1}"] * 20})
    code, out, err = piped("a\nb\n", "--cap", "2", "--policy", "even", engine=engine)
    assert code == 1
    assert "answer 1" in out
    first, last = err.splitlines()
    assert "its script has no output for 'a'" in first
    assert last == "dynasor: 1 of 2 questions have no answer"
    assert asked(engine)[-1] == ("b",)


def test_no_answer(piped):
    """A question without an answer says so, and is no error."""
    engine = ScriptedEngine(lambda work: "I do not know")
    code, out, _ = piped("a\n", "--cap", "1", engine=engine)
    assert (code, out.splitlines()[0]) == (0, "no answer was found")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--program", "mtcs"), "unknown program 'mtcs'"),
        (("--policy", "bta"), "unknown policy 'bta'"),
        (("--url", "http://a", "--engine", "http://b"), "--url and --engine are both given"),
        (("--url", "a"), "expected a URL such as"),
    ],
)
def test_mistakes(piped, options, message):
    """What cannot be used is one line, before anything is asked."""
    code, out, err = piped("a\n", *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_not_text(piped):
    """Bytes that are no UTF-8 are refused."""
    code, _, err = piped(b"\xff\n", engine=boxed())
    assert (code, err) == (2, "dynasor: a question on standard input is not UTF-8\n")


def test_gateway(piped, server):
    """With --url each question is one request with the algorithm and a program id of its own."""
    code, out, err = piped("a\nb\n", "--url", server.url, "--cap", "3", "--program", "mcts:width=2")
    assert (code, err) == (0, "")
    assert "so the answer is \\boxed{42}" in out
    first, second = (body["dynasor"] for body in server.asked)
    ids = {one.pop("program_id") for one in (first, second)}
    assert len(ids) == 2
    assert first == second == {"algorithm": "mcts", "params": {"width": 2}, "cap": 3}
    assert [one["content"] for one in server.asked[1]["messages"]] == ["a", server.text, "b"]


def test_interrupted_line(monkeypatch):
    """Ctrl-C while something is typed drops that line alone; Ctrl-D is the end."""
    typed = iter([" a ", KeyboardInterrupt, "", "b", EOFError])

    def read(prompt):
        line = next(typed)
        if isinstance(line, str):
            return line
        raise line

    monkeypatch.setattr("builtins.input", read)
    assert list(_typed()) == ["a", "b"]


class Terminal:
    """`dynasor chat` at a pseudo-terminal."""

    def __init__(self, *options):
        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, "chat", *options],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = ""

    def type(self, text):
        """Type as somebody would."""
        os.write(self.ours, text.encode())

    def expect(self, text):
        """Read until `text` is shown, and return what came before."""
        while text not in self.seen:
            try:
                data = os.read(self.ours, 4096)
            except OSError:  # Linux: the other side is closed
                data = b""
            assert data, f"{text!r} never came, but {self.seen!r}"
            self.seen = COLOURS.sub("", self.seen + data.decode("utf-8", "replace"))
        before, _, self.seen = self.seen.partition(text)
        return before

    def close(self):
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait()
        os.close(self.ours)


@pytest.fixture
def terminal(no_settings):
    """Start `dynasor chat` at a terminal."""
    started = []

    def start(*options):
        started.append(Terminal(*options))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.mark.slow
def test_typed(terminal, server):
    """Typed, a question is answered and the prompt comes back; /quit leaves without a word."""
    one = terminal("--engine", server.url, "--cap", "2", "--policy", "even")
    assert "toy on http://127.0.0.1" in one.expect("> ")
    one.type("what is it?\n")
    assert "so the answer is \\boxed{42}" in one.expect("answer 42 · ")
    one.expect("> ")
    one.type("/quit\n")
    assert one.process.wait(30) == 0


@pytest.mark.slow
def test_interrupted(terminal, server):
    """Ctrl-C breaks off a question, not the session; Ctrl-D ends it."""
    server.hangs = True
    one = terminal("--engine", server.url, "--cap", "2")
    one.expect("> ")
    one.type("what is it?\n")
    assert server.has_come.wait(30)
    one.type("\x03")
    one.expect("broken off")
    server.hangs = False
    one.expect("> ")
    one.type("again?\n")
    one.expect("answer 42 · ")
    assert {body["messages"][-1]["content"] for body in server.asked} == {"what is it?", "again?"}
    one.expect("> ")
    one.type("\x04")
    assert one.process.wait(30) == 0
