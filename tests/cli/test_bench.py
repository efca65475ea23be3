"""`dynasor bench`, as a user calls it."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest

FAST = ("--rate", "200", "--programs", "6")


def write(path, *lines):
    """Write lines of JSON."""
    Path(path).write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def bench(command, server):
    """Call `dynasor bench` on the server: its exit code, its figures, and standard error."""

    def call(*options):
        code, out, err = command("bench", server.url, *options, "--json")
        return code, json.loads(out) if out else None, err

    return call


@pytest.fixture
def questions(no_settings):
    """A file with one question that the server's answer is right for."""
    write("questions.jsonl", {"question": "6 * 7?", "answer": "42"})
    return ("--questions", "questions.jsonl")


def test_table(command, server, questions):
    """People get a table of what was sent, how long it took, and how right it was."""
    code, out, err = command("bench", server.url, *FAST, *questions, "--deadline", "30")
    assert code == 0
    rows = {line[:11].strip(): line[11:].strip() for line in out.splitlines()}
    assert rows["programs"] == "6: 6 answered"
    assert rows["asked"] == "1 plain request a program, streamed"
    assert rows["attainment"] == "100.0% within 30.000 s"
    assert rows["accuracy"] == "100.0% of 6 answers that are known"
    assert "30 generated, 5.0 a program" in rows["tokens"]
    assert "offered" in rows["rate"]
    assert "errors" not in rows
    assert "Traceback" not in err


def test_json(bench, server, questions):
    """With --json standard output is one object with every figure."""
    code, found, _ = bench(*FAST, *questions, "--branches", "3")
    assert (code, found["programs"], found["answered"]) == (0, 6, 6)
    assert (found["accuracy"], found["completion_tokens"], found["model"]) == (1.0, 90, "toy")
    assert len(server.asked) == 18
    assert {body["max_tokens"] for body in server.asked} == {1024}
    assert len({body["seed"] for body in server.asked}) == 18


def test_repeatable(bench, server, questions):
    """The same seed sends the same programs, another one others."""
    for seed in ("1", "1", "2"):
        bench(*FAST, *questions, "--seed", seed)
    seeds = [body["seed"] for body in server.asked]
    first, again, other = (sorted(seeds[at : at + 6]) for at in (0, 6, 12))
    assert first == again != other


def test_algorithm(bench, server, questions):
    """An algorithm is asked of the gateway, with its cap, its policy and the deadline."""
    options = ("-a", "mcts:width=2", "--cap", "4", "-p", "even", "--deadline", "9", *questions)
    code, found, _ = bench(*FAST, *options)
    assert code == 0
    body = server.asked[0]
    own = body["dynasor"]
    assert 0 < own.pop("deadline_seconds") <= 9
    params = {"width": 2}
    keys = {"algorithm": "mcts", "params": params, "cap": 4, "policy": "even", "task": "math"}
    assert own == keys
    assert "max_tokens" not in body
    assert found["deadline_seconds"] == 9


def test_multiples(bench, server, questions):
    """A deadline in multiples is of the time that a program takes alone."""
    code, found, _ = bench(*FAST, *questions, "--deadline", "1000x", "--keep-deadline")
    assert code == 0
    assert found["deadline_seconds"] == pytest.approx(1000 * found["solo_seconds"])
    assert len(server.asked) == 5 + 6
    assert found["attainment"] == 1.0


def test_batch_file(bench, server):
    """A batch file's requests are sent as they are, and an extra field goes before theirs."""
    body = {"messages": [{"role": "user", "content": "q"}], "max_tokens": 7, "ignore_eos": True}
    write("in.jsonl", {"custom_id": "a", "body": body, "reference": "42"})
    options = ("--batch", "in.jsonl", "--body", '{"top_p": 0.5}', "--session-field", "session_id")
    code, found, _ = bench(*FAST, *options)
    assert (code, found["accuracy"]) == (0, 1.0)
    sent = server.asked[0]
    assert {name: sent[name] for name in body} == body
    assert (sent["model"], sent["top_p"]) == ("toy", 0.5)
    assert "temperature" not in sent
    assert len({one["session_id"] for one in server.asked}) == 6


def test_arrivals(bench, questions):
    """Recorded arrivals are sent at their times, or at a rate that is given."""
    write("times.jsonl", *({"t": number / 100} for number in range(5)))
    code, found, _ = bench("--arrivals", "times.jsonl", "--programs", "5", *questions)
    assert (code, found["offered_rate"]) == (0, 100.0)
    recorded = ("--arrivals", "times.jsonl", "--programs", "5", "--rate", "50")
    assert bench(*recorded, *questions)[1]["offered_rate"] == 50.0


def test_seconds(bench, questions):
    """Programs arrive for as long as is said."""
    code, found, _ = bench("--rate", "400", "--seconds", "0.05", *questions)
    assert code == 0
    assert 5 < found["programs"] < 40


def test_arithmetic(bench):
    """Without questions the generated problems are asked."""
    code, found, _ = bench(*FAST)
    assert (code, found["judged"]) == (0, 6)


def test_failures(bench, server, questions):
    """Programs that fail are counted by their errors, and if all do it is an error."""
    server.text = None  # no content in the stream: fine; no finish is what breaks it
    code, found, _ = bench(*FAST, *questions)
    assert (code, found["accuracy"]) == (0, 0.0)
    code, found, err = bench(*FAST, *questions, "--no-stream")  # this server always streams
    assert (code, found["failed"], found["errors"]) == (1, 6, {"EngineGarbage": 6})
    assert found["latency_seconds"] is None
    assert "every program failed: engine http://127.0.0.1" in err


def test_interrupted(bench, server, questions, monkeypatch):
    """Ctrl-C reports what had ended until then."""
    halt = threading.Event()

    class Halting(type(server)):
        @property
        def hangs(self):
            if len(self.asked) == 4:
                halt.set()
            return len(self.asked) > 3

    del server.hangs
    server.__class__ = Halting

    def interrupt():
        halt.wait(30)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    code, found, _ = bench("--rate", "50", "--programs", "6", *questions)
    thread.join()
    assert (code, found["answered"]) == (130, 3)
    assert found["unfinished"] == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "neither --rate nor --arrivals"),
        (("--rate", "0"), "rate"),
        (("--rate", "1", "--deadline", "soon"), "--deadline is 'soon'; give seconds (10)"),
        (("--rate", "1", "--deadline", "-1x"), "--deadline is '-1x'"),
        (("--rate", "1", "--cap", "3"), "--cap is given without --algorithm"),
        (("--rate", "1", "-a", "mcts", "-b", "3"), "give one of them"),
        (("--rate", "1", "--task", "maths"), "unknown task 'maths'"),
        (("--rate", "1", "--body", "[]"), "--body is '[]'; expected a JSON object"),
        (("--rate", "1", "--batch", "a", "--questions", "b"), "--questions and --batch are both"),
        (("--rate", "1", "--questions", "none"), "none: there is no such file"),
        (("--arrivals", "none"), "there is no file none"),
        (("--rate", "1", "--timeout", "0"), "--timeout is 0"),
        (("--rate", "1", "--programs", "0"), "--programs"),
    ],
)
def test_mistakes(bench, server, options, message):
    """What cannot be sent is one line, before anything is."""
    code, out, err = bench(*options)
    assert (code, out, err.count("\n")) == (2, None, 1)
    assert message in err
    assert server.asked == []


def test_nobody_there(command):
    """A server that is not there is one line, exit code 1."""
    code, out, err = command("bench", "http://127.0.0.1:9", "--rate", "5", "-n", "2")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "is it running?" in err
