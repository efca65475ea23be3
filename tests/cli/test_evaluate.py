"""`dynasor evaluate`, as a user calls it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from toys.recorded import header, line, write
from toys.refusals import refused

from dynasor.traces import Chain, ChainLine, Sample, SamplingLine, write_trace

EASY, OPEN, MUTE = ["1"] * 8, ["1", "2", "3", "1"] * 2, [None] * 8


@pytest.fixture
def evaluate(command):
    """Call `dynasor evaluate t.jsonl ...` in an empty folder: code, output, error."""

    def call(*options, traces=("t.jsonl",)):
        return command("evaluate", *traces, "--seeds", "2", *options)

    return call


def trace(*lines, path="t.jsonl", **rest):
    """Write a trace, of three questions unless told."""
    lines = lines or (line("a", EASY), line("b", OPEN), line("c", ["2", "1"] * 4))
    return write(Path(path), *lines, **rest)


# What is printed.


def test_table(evaluate):
    """A table has even, the policies that are usual, the tuned length and the oracle."""
    trace()
    code, out, err = evaluate("--cap", "8")
    assert (code, err) == (0, "")
    assert "w, m: 3 questions, 2 shuffles" in out
    for name in ("even", "threshold", "stepwise", "esc", "beta", "sequential", "even+lock"):
        assert f"\n{name} " in out
    assert "\nlength" in out
    assert "\noracle" in out


def test_options(evaluate):
    """Caps, widths and policies are repeated for more tables and rows."""
    trace(has_estimated_tokens=True)
    options = ("--cap", "4", "--cap", "8", "-w", "1", "-w", "all", "-p", "beta:confidence=0.9")
    code, out, _ = evaluate(*options)
    assert code == 0
    assert out.count("beta:confidence=0.9") == 4
    assert "estimate" in out


def test_repeated(evaluate):
    """A cap or a width that is given twice is one table."""
    trace()
    _, out, _ = evaluate("--cap", "4", "--cap", "4", "-w", "2", "-w", "2", "-p", "beta")
    assert out.count("cap 4, 2 in flight") == out.count("\nbeta ") == 1


def test_json_file(evaluate):
    """With --json FILE all figures are written, beside the table."""
    trace()
    code, out, _ = evaluate("--cap", "8", "-p", "beta", "--json", "f.json")
    assert code == 0
    assert "oracle" in out
    (found,) = json.loads(Path("f.json").read_text())
    assert (found["trace"], found["workload"], found["model"]) == ("t.jsonl", "w", "m")
    assert (found["questions"], found["seeds"], found["labels"]) == (3, 2, "auto")
    assert [row["policy"] for row in found["rows"]][:2] == ["even", "beta"]
    even = found["rows"][0]
    assert (even["cap"], even["width"], even["tokens"]) == (8, 1, 80.0)
    assert even["saved"] == {"estimate": 0.0, "low": 0.0, "high": 0.0}


def test_json_printed(evaluate):
    """With --json - standard output is one JSON text, of all traces."""
    trace()
    trace(line("a", EASY), path="u.jsonl.gz", workload="u")
    code, out, _ = evaluate(
        "--cap", "8", "-p", "even+lock", "--json", "-", traces=("t.jsonl", "u.jsonl.gz")
    )
    assert code == 0
    assert [one["workload"] for one in json.loads(out)] == ["w", "u"]


def test_kept(evaluate, tmp_path):
    """Compared answers are kept in the folder that is named, and used again."""
    trace()
    first = evaluate("--cap", "8", "--cache", "kept")
    assert len(list(Path("kept").iterdir())) == 1
    assert evaluate("--cap", "8", "--cache", "kept") == first
    assert not (tmp_path / "cache").exists()


@pytest.mark.process
def test_mathematics(evaluate):
    """Answers that take mathematics to compare are compared in processes."""
    trace(line("a", [r"\frac{1}{2}", "0.5", "x+1", "1+x", ".5"], reference="1/2"))
    _, out, _ = evaluate("--cap", "5", "-p", "even", "--json", "-")
    (found,) = json.loads(out)
    assert found["rows"][0]["accuracy"]["estimate"] == 1


# What is left out, and said.


def test_no_reference(evaluate):
    """Questions without a reference are left out, and counted."""
    trace(line("a", EASY), line("b", OPEN, reference=None))
    code, out, err = evaluate("--cap", "8")
    assert code == 0
    assert "t.jsonl: 1 of 2 questions have no reference" in err
    assert "m: 1 questions" in out


def test_no_verdict(evaluate):
    """Labels that the trace does not have are called by their name."""
    trace()
    code, _, err = evaluate("--cap", "8", "--labels", "verdict")
    assert code == 2
    assert "t.jsonl: 3 of 3 questions have no verdict" in err
    assert "no question has both samples and a verdict" in err


def test_no_samples(evaluate):
    """Questions without a sample are left out, and counted."""
    trace(line("a", EASY), line("b", []))
    code, out, err = evaluate("--cap", "8")
    assert code == 0
    assert "t.jsonl: 1 of 2 questions have no sample" in err
    assert "m: 1 questions" in out


def test_no_answers(evaluate):
    """Questions that never got an answer stay, are wrong, and are counted."""
    trace(line("a", EASY), line("b", MUTE), line("c", [None, "1"] * 4))
    _, out, err = evaluate("--cap", "8", "--json", "-", "-p", "beta")
    assert "t.jsonl: 1 of 3 questions never got an answer (kept)" in err
    (found,) = json.loads(out)
    assert found["questions"] == 3
    assert found["rows"][0]["accuracy"]["estimate"] == pytest.approx(2 / 3)


def test_all_null(evaluate):
    """A trace without any answer is all wrong under every policy."""
    trace(line("a", MUTE), line("b", MUTE))
    code, out, _ = evaluate("--cap", "8", "--json", "-")
    assert code == 0
    assert all(row["accuracy"]["estimate"] == 0 for row in json.loads(out)[0]["rows"])


def test_one_sample(evaluate):
    """One sample a question leaves nothing to save."""
    trace(line("a", ["1"]), line("b", ["2"]))
    code, out, _ = evaluate("--cap", "1", "--json", "-")
    assert code == 0
    for row in json.loads(out)[0]["rows"]:
        assert (row["saved"]["estimate"], row["knob"]) == (0, 1)


def test_no_tokens(evaluate):
    """Samples without tokens are nothing to save, and no reason to fail."""
    trace(line("a", EASY, tokens=0), line("b", OPEN, tokens=0))
    code, out, err = evaluate("--cap", "8", "--json", "-")
    assert code == 0
    assert "t.jsonl: 2 of 2 questions have no tokens to save" in err
    assert all(row["saved"]["estimate"] == 0 for row in json.loads(out)[0]["rows"])


# What is refused.


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("no/f.json", "there is no folder no"),
        (".", ". is a folder"),
        ("t.jsonl", "t.jsonl is the trace itself"),
    ],
)
def test_bad_json_file(evaluate, path, part):
    """A file of figures that cannot be, or is the trace, is refused before the work begins."""
    whole = trace().read_bytes()
    refused(evaluate("--cap", "8", "--json", path), part)
    assert Path("t.jsonl").read_bytes() == whole


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk(evaluate):
    """Figures that do not fit the disk are one line, exit code 1."""
    trace()
    code, _, err = evaluate("--cap", "8", "--json", "/dev/full")
    assert (code, err) == (
        1,
        "dynasor: --json /dev/full cannot be written: No space left on device\n",
    )


def test_nothing_left(evaluate):
    """A trace without a question that can be judged is refused."""
    trace(line("a", EASY, reference=None), line("b", []))
    code, out, err = evaluate("--cap", "8")
    assert (code, out) == (2, "")
    assert "dynasor: t.jsonl: no question has both samples and a reference" in err


def test_cap_beyond(evaluate):
    """A cap beyond what was recorded says how many samples there are."""
    trace(line("a", EASY), line("b", EASY[:5]))
    refused(evaluate("--cap", "8"), "cap 8", "1 of 2 questions", "'b' has 5")
    refused(evaluate(), "cap 20")
    refused(evaluate("--cap", "0"), "the cap is 0")


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz"])
def test_truncated(evaluate, name):
    """A trace that is cut off is refused, with the line."""
    path = trace(path=name)
    path.write_bytes(path.read_bytes()[:-15])
    refused(evaluate("--cap", "8", traces=(name,)), name, "cut off")


def test_mixed_versions(evaluate):
    """Files of two versions that were joined are refused, with the line."""
    path = trace()
    later = json.dumps({"dynasor_trace": 2, "kind": "sampling", "workload": "w", "model": "m"})
    path.write_text(path.read_text() + later + "\n" + path.read_text())
    refused(evaluate("--cap", "8"), "t.jsonl, line 5", "second header")


def test_other_version(evaluate):
    """A trace of another version names both versions."""
    path = trace()
    path.write_text(path.read_text().replace('"dynasor_trace":1', '"dynasor_trace":2'))
    refused(evaluate("--cap", "8"), "version 2", "reads 1")


def test_other_kind(evaluate):
    """A trace of chains that does not say which program thought them is refused."""
    write_trace(
        Path("t.jsonl"), header(kind="chain"), [ChainLine("q", "q?", (Chain("so", 3, "1"),))]
    )
    refused(evaluate("--cap", "8"), "kind 'chain'", "which program")


@pytest.mark.parametrize("data", [b"", b"\n", b"hello\n", b"\xff\xfe", b"{}\n", b"[1]\n"])
def test_no_trace(evaluate, data):
    """Any other file is refused by name."""
    Path("t.jsonl").write_bytes(data)
    refused(evaluate("--cap", "8"), "t.jsonl")


def test_no_file(evaluate):
    """A file that is not there is refused by name, as is one that is not what its name says."""
    refused(evaluate(), "t.jsonl cannot be read", "No such file")
    Path("t.jsonl.gz").write_bytes(b"hello")
    refused(evaluate(traces=("t.jsonl.gz",)), "t.jsonl.gz is not gzip")
    Path("t.jsonl.gz").write_bytes(gzip.compress(b"hello\n"))
    refused(evaluate(traces=("t.jsonl.gz",)), "t.jsonl.gz, line 1")


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("-p", "betta"), ("unknown policy 'betta'", "did you mean 'beta'")),
        (("-p", "beta:confidence=7"), ("policy 'beta'", "confidence")),
        (("-p", "beta:x"), ("expected NAME:key=value",)),
        (("-w", "0"), ("--in-flight is '0'",)),
        (("-w", "²"), ("--in-flight is '²'",)),
        (("--seeds", "0"), ("--seeds",)),
        (("--labels", "best"), ("--labels is 'best'", "verdict")),
        (("--labels", "ranking"), ("'a' has a sample without ranking",)),
        (("--loss", "101"), ("--loss",)),
        (("--grouping", "colour"), ("grouping", "'colour'")),
    ],
)
def test_bad_options(evaluate, options, parts):
    """An option that cannot be used is one line that says what can."""
    trace()
    refused(evaluate("--cap", "8", *options), *parts)


def test_missing_signal(evaluate):
    """A policy of a signal that nobody recorded is one line, and no number."""
    trace()
    code, out, err = evaluate("--cap", "8", "-p", 'threshold:at={"reward":0.5}')
    assert (code, out) == (1, "")
    assert "needs the signal 'reward'" in err
    assert err.count("\n") == 1


def test_verdicts(evaluate):
    """Verdicts that came with the samples need no reference."""
    samples = tuple(Sample("so", 5, answer, is_right=answer == "2") for answer in "12221222")
    trace(SamplingLine("q", "q?", samples))
    _, out, err = evaluate("--cap", "8", "--json", "-")
    assert err == ""
    assert json.loads(out)[0]["rows"][0]["accuracy"]["estimate"] == 1


def test_all_traces_are_read_first(evaluate):
    """A second trace that cannot be used is refused before the first is evaluated."""
    trace()
    trace(line("a", ["1"] * 3), path="short.jsonl")
    refused(evaluate("--cap", "8", traces=("t.jsonl", "short.jsonl")), "beyond what was recorded")
