"""`dynasor drift`, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from toys.batches import line as asked
from toys.batches import sums_engine
from toys.profiles import behaviour, profile
from toys.recorded import header, line, write
from toys.refusals import refused

from dynasor.batch import run as batch_run
from dynasor.calibrate import behaviour as behaviour_of
from dynasor.core.types import PolicySpec
from dynasor.evaluate.classes import Sorting, sort_trace
from dynasor.evaluate.replay import Job, replay
from dynasor.traces import Chain, ChainLine, read_trace, write_trace

PARAMS = {"in_flight": 4, "confidence": 0.9}


@pytest.fixture
def drift(command):
    """Call `dynasor drift p.json live.jsonl` in an empty folder: code, output, error."""
    return lambda *options, live="live.jsonl": command("drift", "p.json", live, *options)


def trace(seed, spread=3, count=60, path="live.jsonl", **rest):
    """Write a trace whose answers are spread over so many values."""
    chance = Random(seed)
    lines = [
        line(
            f"q{n}",
            [str(chance.randint(1, 1 + n % spread)) for _ in range(10)],
            reference=None,
            tokens=chance.randint(20, 80),
        )
        for n in range(count)
    ]
    return write(Path(path), *lines, **{"model": "toy", "workload": "sums", **rest})


def calibrated(**rest):
    """Write a profile whose programs behaved as on a trace of seed 1."""
    path = trace(1, path="then.jsonl")
    questions = sort_trace(read_trace(path), Sorting(labels="none"))
    spec = PolicySpec("beta", PARAMS, has_lock=True)
    then = behaviour_of(replay(questions, Job(spec, 10), 0), 10)
    profile(**{"params": PARAMS, "behaviour": then, **rest}).write(Path("p.json"))


# A new trace.


def test_fits(drift):
    """Questions of the same kind fit the profile: exit code 0."""
    calibrated()
    trace(2)
    code, out, err = drift()
    assert (code, err) == (0, "")
    assert "60 live questions: the profile still fits" in out
    assert "tokens per knob" in out


def test_due(drift):
    """Questions that are much harder make the profile due: exit code 3."""
    calibrated()
    trace(2, spread=40)
    code, out, err = drift()
    assert (code, err) == (3, "")
    assert "calibrate again: certaindex" in out
    assert "changed" in out


def test_json(drift):
    """With --json standard output is one object, and the exit code the same."""
    calibrated()
    trace(2, spread=40)
    code, out, _ = drift("--json")
    found = json.loads(out)
    assert code == 3
    assert (found["live"], found["is_due"], len(found["changes"])) == (60, True, 3)


def test_few(drift):
    """Too few questions say nothing: exit code 0."""
    calibrated()
    trace(2, spread=40, count=12)
    code, out, _ = drift()
    assert code == 0
    assert "12 live questions say too little" in out
    assert "distance" not in out


def test_misfits(drift):
    """Another model and workload are named, both of each."""
    calibrated()
    trace(2, model="other", workload="gsm")
    code, _, err = drift()
    assert code == 0
    assert "warning: the profile was made for the model 'toy' and is used for 'other'" in err
    assert "warning: the profile was made for the workload 'sums' and is used for 'gsm'" in err


# The output of a batch.


@pytest.fixture
def batch(command, monkeypatch):
    """Run a batch under the profile."""

    def run(*options):
        questions = (json.dumps(asked(f"q{n}")) + "\n" for n in range(35))
        Path("in.jsonl").write_text("".join(questions))
        monkeypatch.setattr(batch_run, "make_engines", lambda settings: [sums_engine()])
        assert command("batch", "in.jsonl", "live.jsonl", "--profile", "p.json", *options)[0] == 0

    return run


def test_batch(drift, batch):
    """The output of a batch is compared, and its model is named where it is another."""
    profile(params=PARAMS).write(Path("p.json"))
    batch()
    code, out, err = drift()
    assert code == 3
    assert "35 live questions: calibrate again" in out
    assert "model 'toy' and is used for 'scripted'" in err
    assert "policy" not in err


def test_batch_of_another_policy(drift, batch):
    """A batch that ran under another policy is no sign of anything, and that is said."""
    profile(params=PARAMS).write(Path("p.json"))
    batch("--policy", "even")
    _, _, err = drift()
    assert "and 'even' ran" in err
    assert "'beta:in_flight=4,confidence=0.9'" in err


# What is refused.


def test_bad_profile(drift):
    """A profile that is none is refused by name."""
    trace(2)
    refused(drift(), "profile p.json cannot be read")
    Path("p.json").write_text("{}")
    refused(drift(), "p.json is no profile")


def test_no_live(drift):
    """A file that is not there is refused by name."""
    calibrated()
    refused(drift(), "live.jsonl cannot be read")


@pytest.mark.parametrize("data", [b"hello\n", b"{}\n", b"\xff\xfe\n"])
def test_other_file(drift, data):
    """A file that is neither a trace nor a batch is told what would do."""
    calibrated()
    Path("live.jsonl").write_bytes(data)
    refused(drift(), "live.jsonl, line 1 is no record of a batch", "or a trace")


def test_empty(drift):
    """An empty file is no live question."""
    calibrated()
    Path("live.jsonl").touch()
    code, out, _ = drift()
    assert code == 0
    assert "0 live questions say too little" in out


def test_bad_trace(drift):
    """A trace that is cut off, of another version or kind is refused as a trace."""
    calibrated()
    path = trace(2)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    refused(drift(), "trace live.jsonl, line 61", "cut off")
    path.write_bytes(whole.replace(b'"dynasor_trace":1', b'"dynasor_trace":2', 1))
    refused(drift(), "version 2")
    path.unlink()
    write_trace(path, header(kind="chain"), [ChainLine("q", "q?", (Chain("so", 3),))])
    refused(drift(), "kind 'chain'", "which program")


def test_cap_beyond(drift):
    """A trace of fewer samples than the profile's cap says how many there are."""
    calibrated(cap=11)
    trace(2)
    refused(drift(), "cap 11 is beyond what was recorded", "has 10")


def test_unknown_policy(drift):
    """A profile of a policy that is not installed here is one line."""
    calibrated(policy="mine")
    trace(2)
    code, _, err = drift()
    assert code in {1, 2}
    assert "unknown policy 'mine'" in err
    assert err.count("\n") == 1


def test_few_judged(drift):
    """A profile that was judged on few questions says so."""
    calibrated(behaviour=behaviour(5))
    trace(2)
    code, out, _ = drift()
    assert code == 0
    assert "5 judged questions say too little" in out
