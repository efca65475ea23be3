"""`dynasor ask`, `replay` and `demo`, as a user calls them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from dynasor.core.errors import EngineRefused
from dynasor.engines.scripted import Hang, ScriptedEngine

FIELDS = {
    "question",
    "answer",
    "text",
    "status",
    "reason",
    "certaindex",
    "votes",
    "knob",
    "cap",
    "tokens",
    "calls",
    "aborted_calls",
    "failed_attempts",
    "grouping_failures",
    "notes",
    "seconds",
    "error",
}
QUESTIONS = [
    "كم يساوي ٦ ضرب ٧؟",
    "六乘以七是多少?",
    "What is 🐙 + 🐙🏽‍♀️?",
    "line one\nline two\r\n\ttabbed",
    "a NUL \0 in it",
    "[b]bold[/b] [/nothing] \\[x\\]",
    "--not-an-option but a question"[2:],
    '{"json": "yes"}',
    "long " * 20_000,
]


def boxed(*values):
    """An engine that gives these answers, by the call's seed."""
    return ScriptedEngine(
        lambda work: f"so the answer is \\boxed{{{values[work.sampling.seed % len(values)]}}}"
    )


def test_json(command):
    """With --json standard output is one object with everything that happened."""
    code, out, err = command(
        "ask", "q", "--json", "--cap", "4", "--policy", "even", "--no-lock", engine=boxed(42)
    )
    found = json.loads(out)
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert set(found) == FIELDS
    assert found["tokens"] == {
        "prompt": found["tokens"]["prompt"],
        "completion": 20,
        "finished": 20,
        "aborted": 0,
        "failed": 0,
        "estimated": 0,
    }
    assert (found["answer"], found["votes"], found["knob"], found["cap"]) == ("42", {"42": 4}, 4, 4)
    assert (found["status"], found["reason"], found["error"]) == ("answered", "cap", None)
    assert found["certaindex"] == {"entropy": 1.0}


def test_json_of_a_failure(command):
    """A question that fails has its object too, with the error, and exit code 1."""
    code, out, err = command("ask", "q", "--json", engine=ScriptedEngine({}))
    found = json.loads(out)
    assert (code, found["status"], found["answer"]) == (1, "failed", None)
    assert "its script has no output for 'q'" in found["error"]
    assert err.count("\n") == 1


def test_for_people(command):
    """Without --json branches, certaindex, answer, votes, reason and cost are shown."""
    code, out, err = command("ask", "q", "--cap", "9", "--policy", "even", engine=boxed(42))
    assert (code, err) == (0, "")
    assert "branch   1  42" in out
    assert "━ entropy 1.00" in out
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in out.splitlines()[-5:]}
    assert lines["answer"].strip() == "42"
    assert lines["votes"].strip() == "42 x5"
    assert lines["certaindex"].strip() == "entropy 1.00"
    assert lines["stopped"].strip() == "the leader cannot be overtaken any more"
    assert lines["spent"].startswith("5 of 9 branches, ")


def test_aborted_calls_are_shown(command):
    """What aborted calls have cost is in the last line."""
    engine = ScriptedEngine(lambda work: "answer: 1, so", faults={0: Hang(2)})
    code, out, _ = command("ask", "q", "--policy", "beta:confidence=0.5", engine=engine)
    assert code == 0
    assert "tokens, 2 of them in 3 aborted calls, " in " ".join(out.split())


def test_no_answer(command):
    """A question without an answer says so, and is no error."""
    engine = ScriptedEngine(lambda work: "I do not know")
    code, out, err = command("ask", "q", "--cap", "2", "--policy", "even", engine=engine)
    assert (code, err) == (0, "")
    assert "no answer was found" in out


@pytest.mark.parametrize("answer", ["[/b]", "[red]x", "[a, b)", ":smile:", "\\text{[bold]}"])
def test_answers_are_no_markup(command, answer):
    """An answer is shown as it is, whatever rich would make of it."""
    code, out, err = command("ask", "q", "--cap", "2", "--policy", "even", engine=boxed(answer))
    assert (code, err) == (0, "")
    assert out.count(answer) >= 3


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda text: ascii(text)[:20])
@pytest.mark.parametrize("shown", [["--json"], []])
def test_any_question(command, question, shown):
    """A question of any script and size reaches the engine as it is."""
    engine = boxed(1)
    code, out, err = command("ask", "--cap", "2", *shown, "--", question, engine=engine)
    assert (code, err) == (0, "")
    assert {work.prompt.messages[-1].content for work in engine.asked} == {question}
    if shown:
        assert json.loads(out)["question"] == question


def test_standard_input(command, monkeypatch):
    """A dash reads the question from standard input, UTF-8 whatever the locale."""
    question = "كم؟ 🐙\n"
    wrapper = io.TextIOWrapper(io.BytesIO(question.encode()), encoding="latin-1")
    monkeypatch.setattr(sys, "stdin", wrapper)
    engine = boxed(1)
    code, _, _ = command("ask", "-", "--json", "--cap", "1", engine=engine)
    assert code == 0
    assert engine.asked[0].prompt.messages[-1].content == question


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda text: ascii(text)[:20])
def test_over_http(command, server, question):
    """A question of any script and size reaches a server as it is."""
    code, out, err = command(
        "ask", "--engine", server.url, "--cap", "3", "--policy", "even", "--json", "--", question
    )
    assert (code, err) == (0, "")
    assert json.loads(out)["answer"] == "42"
    assert {body["messages"][-1]["content"] for body in server.asked} == {question}


def test_two_servers(command, server):
    """--engine may be given several times; the replicas share the work."""
    code, out, _ = command(
        "ask", "q", "-e", server.url, "-e", f"{server.url}/v1", "--cap", "8", "--json", "-p", "even"
    )
    assert (code, json.loads(out)["answer"]) == (0, "42")


def test_settings_reach_the_engine(command, server):
    """Model and seed are what the engine is asked with, from flags and the file."""
    Path("dynasor.toml").write_text(f"engine = ['{server.url}']\ntemperature = 0.25\n")
    code, out, _ = command("ask", "q", "--model", "toy", "--cap", "1", "--json")
    assert (code, json.loads(out)["knob"]) == (0, 1)
    assert (server.asked[0]["model"], server.asked[0]["temperature"]) == ("toy", 0.25)


@pytest.mark.engine
@pytest.mark.slow
def test_embedded_engine(command):
    """The embedded model answers without any setting."""
    question = "A shop has 12 boxes. It gets 7 more. How many boxes are there now?"
    code, out, err = command("ask", question, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["answer"] == "19"


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("question", ["كم يساوي ٦ ضرب ٧؟", "🐙", "a NUL \0 in it"])
def test_embedded_engine_and_any_question(command, question):
    """The embedded model takes any text; it need not know the answer."""
    code, out, err = command("ask", question, "--json", "--cap", "2")
    assert (code, err) == (0, "")
    assert json.loads(out)["status"] == "answered"


@pytest.mark.engine
@pytest.mark.slow
def test_too_long_for_the_embedded_engine(command):
    """A question longer than the embedded model's context is one line, exit code 1."""
    code, _, err = command("ask", "apples and pears " * 6000, "--cap", "2")
    assert code == 1
    assert err.startswith("dynasor: engine ")
    assert err.count("\n") == 1


# Programs.


def judged(outputs, reward=lambda prompt: 0.5):
    """An engine with these outputs that scores too."""
    return ScriptedEngine(outputs, reward=reward)


def test_program(command):
    """--program chooses the algorithm; its unit, its signals and what it costs are shown."""
    engine = judged(lambda work: "so it is \\boxed{42}", lambda prompt: 0.75)
    code, out, err = command("ask", "q", "--program", "best-of-n", "--cap", "2", engine=engine)
    assert (code, err) == (0, "")
    assert "  branch   1  ━━━━━━━━ entropy 0.00  ━━━━━━━━ reward 0.75" in out
    lines = {line.split()[0]: line.split(maxsplit=1)[1].strip() for line in out.splitlines()[-4:]}
    assert (lines["answer"], lines["certaindex"]) == ("42", "entropy 1.00, reward 0.75")
    assert lines["stopped"] == "the cap is used up"
    assert lines["spent"].startswith("2 of 2 branches, 9 tokens, ")  # one text is scored once
    assert "votes" not in out


def test_parameters_of_a_program(command):
    """Parameters stand behind the program's name; weighted votes are shown with their weights."""
    engine = judged(lambda work: "so it is \\boxed{42}", lambda prompt: 0.75)
    given = ("--program", "best-of-n:choose=vote,max_tokens=3", "--policy", "even", "--cap", "2")
    code, out, _ = command("ask", "q", *given, engine=engine)
    assert code == 0
    assert {work.sampling.max_tokens for work in engine.asked if hasattr(work, "sampling")} == {3}
    assert "no vote" in out
    code, out, _ = command(
        "ask", "q", *given[:1], "best-of-n:choose=vote", *given[2:], engine=engine
    )
    assert code == 0
    assert "votes       42 x1.5" in out


@pytest.mark.parametrize(
    ("program", "spent"),
    [
        ("mcts:width=3", "3 of 6 iterations"),
        ("rebase", "6 of 6 paths"),
        ("beam:expand=2", "6 of 6 paths"),
    ],
)
def test_searches(command, program, spent):
    """A search runs under its own usual policy and is counted in its own units."""
    engine = judged(lambda work: "so it is \\boxed{42}", lambda prompt: 0.5)
    code, out, err = command("ask", "q", "--program", program, "--cap", "6", engine=engine)
    assert (code, err) == (0, "")
    assert f"spent       {spent}, " in out
    assert "reward 0.50" in out


def test_program_of_the_settings(command):
    """A settings file chooses the program too, and a flag goes before it."""
    Path("dynasor.toml").write_text("program = 'mcts'\ncap = 2\n")
    engine = judged(lambda work: "so it is \\boxed{42}")
    assert "2 of 2 iterations" in command("ask", "q", engine=engine)[1]
    code, out, _ = command("ask", "q", "--program", "self-consistency", engine=engine)
    assert (code, "2 of 2 branches" in out) == (0, True)


def test_notes(command):
    """What went wrong on the way and was borne with is counted in the last line, and in --json."""

    def reward(prompt):
        raise EngineRefused("toy", "no scores today")

    engine = judged(lambda work: "so it is \\boxed{42}", reward)
    asked = ("ask", "q", "--program", "best-of-n", "--cap", "3")
    code, out, err = command(*asked, engine=engine)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].strip() == "on the way  3 scores lost"
    assert json.loads(command(*asked, "--json", engine=engine)[1])["notes"] == {"scores lost": 3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--program", "mtcs"), "unknown program 'mtcs' (known: beam, "),
        (
            ("--program", "mcts:widht=3"),
            "unknown parameter of program 'mcts': 'widht' (known: cap, ",
        ),
        (
            ("--program", "mcts:width=wide"),
            "program 'mcts': Expected `int`, got `str` - at `$.width`",
        ),
        (("--program", "mcts:width"), "expected NAME:key=value,key=value, got 'width'"),
        (("--program", "mcts:cap=3"), "'cap' has a setting of its own; leave it out"),
        (("--program", "mcts:question=x"), "'question' comes with each question; leave it out"),
        (
            ("--program", "best-of-n", "--policy", "beta"),
            "needs votes, and this program does not vote; 'even' suits it",
        ),
    ],
)
def test_program_that_cannot_be_used(command, options, message):
    """A program or policy that cannot be used is one line, before an engine is loaded."""

    class Unloaded(ScriptedEngine):
        async def start(self):
            raise AssertionError

    code, out, err = command("ask", "q", *options, engine=Unloaded())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


# replay.


def test_replay(command):
    """A journal that `ask` wrote replays to the same commands."""
    assert command("ask", "q", "--journal", "j", "--json", engine=boxed(1, 2))[0] == 0
    code, out, err = command("replay", "j")
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert ", 1 programs, " in first
    assert second == "the same commands in the same order"


def test_replay_json(command):
    """With --json the replay is one object."""
    command("ask", "q", "--journal", "j", "--json", engine=boxed(1))
    code, out, err = command("replay", "j", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert (found["programs"], found["first_difference"], found["is_torn"]) == (1, None, False)


def test_replay_of_something_else(command):
    """A journal that does not replay is one line with the line's number; exit code 1."""
    command("ask", "q", "--journal", "j", "--json", engine=boxed(1))
    lines = Path("j").read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"commands":"', b'"commands":"0')
    Path("j").write_bytes(b"".join(lines))
    code, _, err = command("replay", "j")
    assert (code, err) == (1, "dynasor: j, line 3: other commands than recorded\n")


def test_replay_of_a_torn_journal(command):
    """A journal whose writer was killed is replayed as far as it goes, and that is said."""
    command("ask", "q", "--journal", "j", "--json", engine=boxed(1))
    Path("j").write_bytes(Path("j").read_bytes()[:-5])
    code, out, _ = command("replay", "j")
    assert code == 0
    assert "the last line is torn" in out


def test_replay_of_no_journal(command):
    """A file of another kind is one line; exit code 2."""
    Path("j").write_text("hello\n")
    code, out, err = command("replay", "j")
    assert (code, out) == (2, "")
    assert err.startswith("dynasor: j is no journal")
    assert err.count("\n") == 1


def test_journal_that_exists(command):
    """A journal is never written over."""
    Path("j").write_text("precious")
    code, out, err = command("ask", "q", "--journal", "j", engine=boxed(1))
    assert (code, out) == (2, "")
    assert err == "dynasor: journal j exists already; name a new file\n"
    assert Path("j").read_text() == "precious"


# demo.


def test_demo(command):
    """The demo shows both runs, where the compute went, and what was saved."""
    code, out, err = command("demo", "-n", "5", "--cap", "8", engine=boxed(19))
    assert (code, err) == (0, "")
    assert "5 held-out arithmetic problems, model scripted, 64 slots, at most 8 branches" in out
    for part in ("accuracy", "tokens", "wall time", "easy", "hard", "hopeless", "of the tokens"):
        assert part in out


def test_demo_json(command):
    """With --json the demo is one object: even spends the cap on every problem, ours less."""
    code, out, _ = command("demo", "--json", "-n", "5", "--cap", "8", engine=boxed(19))
    found = json.loads(out)
    assert code == 0
    assert (found["problems"], found["even"]["branches"]) == (5, 40)
    assert found["even"]["tokens"] == 40 * 5
    assert found["ours"]["tokens"] < found["even"]["tokens"]
    saved = 1 - found["ours"]["tokens"] / found["even"]["tokens"]
    assert found["saved_tokens"] == pytest.approx(saved)
    assert sum(map(len, found["zones"].values())) == 5


def test_demo_of_another_program(command):
    """The demo refuses a program that it does not show, rather than show something else."""
    Path("dynasor.toml").write_text("program = 'mcts'\n")
    code, out, err = command("demo", "-n", "1", engine=boxed(19))
    assert (code, out) == (2, "")
    assert err.startswith("dynasor: program 'mcts': the demo shows 'self-consistency' alone")


@pytest.mark.engine
@pytest.mark.slow
def test_demo_on_the_embedded_engine(command):
    """The demo runs on the embedded model: it saves tokens."""
    code, out, _ = command("demo", "--json", "-n", "4")
    found = json.loads(out)
    assert (code, found["problems"], found["even"]["branches"]) == (0, 4, 80)
    assert 0.0 < found["saved_tokens"] < 1.0
