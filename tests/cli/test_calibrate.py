"""`dynasor calibrate`, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from toys.recorded import line, write
from toys.refusals import refused

from dynasor.calibrate import candidates
from dynasor.engines.scripted import ScriptedEngine
from dynasor.profile import read_profile


@pytest.fixture
def calibrate(command):
    """Call `dynasor calibrate t.jsonl p.json ...` in an empty folder: code, output, error."""

    def call(*options, out="p.json"):
        few = ("--cap", "8", "--seeds", "2", "--splits", "2", "-p", "beta")
        return command("calibrate", "t.jsonl", out, *few, *options)

    return call


def trace(count=20, **rest):
    """Write a trace of questions from easy to open."""
    chance = Random(1)
    lines = [
        line(f"q{n}", [str(chance.randint(1, 1 + n // 4)) for _ in range(10)], **rest)
        for n in range(count)
    ]
    return write(Path("t.jsonl"), *lines, model="toy", workload="sums")


def refused_unwritten(result, *parts):
    """The command must have failed with one line, and have written no profile."""
    refused(result, *parts)
    assert not Path("p.json").exists()


def test_summary(calibrate):
    """A calibration ends with a table, the profile in plain words, and the file."""
    trace()
    code, out, err = calibrate("-p", "esc", "--caution", "0", "--loss", "5")
    assert (code, err) == (0, "")
    assert "beta" in out
    assert "esc" in out
    assert out.count(" * ") == 1, "one of them is marked"
    assert "for sums (math) on toy" in out
    assert "Chosen on 10 questions to lose at most 5 points; judged on 10 others" in out
    assert "--profile p.json" in out
    profile = read_profile(Path("p.json"))
    assert profile.policy in {"beta", "esc"}
    assert (profile.cap, profile.width, profile.lock, profile.loss) == (8, 4, True, 0.05)


def test_json(calibrate):
    """With --json standard output is the profile."""
    trace()
    code, out, _ = calibrate("--json", "--no-lock", "-w", "all")
    assert code == 0
    assert json.loads(out) == json.loads(Path("p.json").read_text())
    profile = read_profile(Path("p.json"))
    assert (profile.lock, profile.width) == (False, None)


def test_used(calibrate, command, caplog):
    """The profile is accepted by the other commands, as it stands."""
    trace()
    calibrate("-p", "skyline")
    engine = ScriptedEngine(lambda work: "so \\boxed{3}")
    code, out, _ = command("ask", "1+2?", "--profile", "p.json", "--json", engine=engine)
    assert code == 0
    assert json.loads(out)["answer"] == "3"
    assert "was made for the model 'toy' and is used for 'scripted'" in caplog.text


def test_not_sure(calibrate, monkeypatch):
    """Where nothing is sure to lose little enough, that is said."""
    monkeypatch.setattr(candidates, "CONFIDENCES", (0.7, 0.8))
    lines = [line(f"q{n}", ["2", "2", "2", "2", "2", "1"] + ["1"] * 6) for n in range(8)]
    write(Path("t.jsonl"), *lines)
    code, _, err = calibrate("--cap", "12", "--loss", "0", "--no-lock", "--caution", "2")
    assert code == 0
    assert "warning: nothing tried was sure to lose at most 0 points" in err
    assert "beta loses least" in err


def test_same_again(calibrate):
    """The same trace and options make the same profile."""
    trace()
    calibrate("--json")
    first = Path("p.json").read_bytes()
    calibrate("--json")
    assert Path("p.json").read_bytes() == first


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("-p", "even"), ("unknown policy to calibrate: 'even'", "threshold")),
        (("--cap", "11"), ("cap 11 is beyond what was recorded", "has 10")),
        (("-w", "none"), ("--in-flight is 'none'",)),
        (("--splits", "0"), ("--splits",)),
        (("--caution", "-1"), ("--caution",)),
        (("--labels", "reward"), ("without reward",)),
    ],
)
def test_bad_options(calibrate, options, parts):
    """An option that cannot be used is one line, and no profile is written."""
    trace()
    refused_unwritten(calibrate(*options), *parts)


def test_few_questions(calibrate):
    """Three questions cannot be split."""
    trace(3)
    refused_unwritten(calibrate(), "3 questions cannot be split", "at least 4")


def test_no_reference(calibrate):
    """Questions that cannot be judged are no ground to choose on."""
    trace(reference=None)
    code, _, err = calibrate()
    assert code == 2
    assert "no question has both samples and a reference" in err


def test_no_trace(calibrate):
    """A trace that is not there, or torn, is refused by name."""
    refused_unwritten(calibrate(), "t.jsonl cannot be read")
    path = trace()
    path.write_bytes(path.read_bytes()[:-9])
    refused_unwritten(calibrate(), "t.jsonl, line 21", "cut off")


def test_no_folder(calibrate):
    """A profile that could not be written is refused before the work begins."""
    trace()
    refused_unwritten(
        calibrate(out="no/p.json"), "profile no/p.json cannot be written", "no folder no"
    )


def test_other_file(calibrate):
    """A file that is no profile, the trace above all, is never overwritten; a profile is."""
    whole = trace().read_bytes()
    refused(calibrate(out="t.jsonl"), "t.jsonl is there already and is no profile")
    assert Path("t.jsonl").read_bytes() == whole
    assert [calibrate()[0], calibrate()[0]] == [0, 0]


def test_all_null(calibrate):
    """Questions that never got an answer make a profile that loses nothing."""
    write(Path("t.jsonl"), *(line(f"q{n}", [None] * 8) for n in range(6)))
    code, _, err = calibrate()
    assert code == 0
    assert "6 of 6 questions never got an answer" in err
    assert read_profile(Path("p.json")).measured.accuracy.estimate == 0
