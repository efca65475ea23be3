"""benchmarks/_offline.py: where recorded settings come from, and what is said without them."""

from __future__ import annotations

import gzip
import importlib
import json

import pytest
from toys.recorded import line, write

from dynasor.traces import read_trace

SVAMP = "svamp-codex"


@pytest.fixture
def offline(benchmarks, tmp_path, monkeypatch):
    monkeypatch.setenv("DYNASOR_TRACES", str(tmp_path / "given"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "given").mkdir()
    return importlib.import_module("_offline")


def packed(path, *records):
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, records)).encode()))


def test_a_trace_is_taken_as_it_is(offline, tmp_path):
    """A trace of the setting's name is used where it lies, and its answers are sorted."""
    path = tmp_path / "given" / f"{SVAMP}.jsonl.gz"
    write(path, line("q", ["1", "2", None]), line("open", ["1"], None))
    assert offline.find_trace(SVAMP) == path
    found = offline.open_setting(SVAMP)
    assert (found.name, found.default_cap, found.header.workload) == (SVAMP, 30, "w")
    (question,) = found.questions  # nothing says what is right of the other
    assert (question.classes, question.quality) == ((0, 1, None), (1.0, 0.0))


def test_other_files_are_converted_once(offline, tmp_path):
    """A file that is no trace becomes one in the cache, and anew only when it has changed."""
    source = tmp_path / "given" / f"{SVAMP}.jsonl.gz"
    record = {"id": "q", "question": "what?", "gold": "1"}
    packed(source, {**record, "samples": [{"text": "", "answer": "1", "tokens": 3}]})
    made = offline.find_trace(SVAMP)
    assert made.is_relative_to(tmp_path / "cache")
    assert [one.id for one in read_trace(made).lines] == ["q"]
    assert offline.find_trace(SVAMP) == made
    packed(source, {**record, "samples": [{"text": "", "answer": "2", "tokens": 3}]})
    assert offline.find_trace(SVAMP) != made


def test_beams_are_found_apart(offline, tmp_path):
    """Each width of one file of beams is a setting of its own."""
    name = "math500-beams-prm.Llama-3.1-8B-Instruct.3"
    samples = [
        {"text": "", "answer": "1", "tokens": 3, "step_rewards": [0.5, reward]}
        for reward in (0.25, 0.75, 1.0)
    ]
    packed(
        tmp_path / "given" / "math500-beams-prm.jsonl.gz",
        {
            "id": "q",
            "question": "what?",
            "gold": "1",
            "model": "Llama-3.1-8B-Instruct",
            "beams": 3,
            "samples": samples,
        },
    )
    (question,) = offline.open_setting(name).questions
    assert question.rewards == (0.25, 0.75, 1.0)


def test_absent_traces_are_skipped(offline, tmp_path, capsys):
    """What is not there is named, not passed over; with nothing left, that is the end."""
    path = tmp_path / "given" / f"{SVAMP}.jsonl.gz"
    write(path, line("q", ["1"]))
    options = offline.arguments("a figure").parse_args(["--processes", "1"])
    found = offline.open_settings([SVAMP, "game24-gpt4"], options)
    assert [one.name for one in found] == [SVAMP]
    assert "skipped: game24-gpt4: there is no game24-gpt4.jsonl.gz in" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="none of the settings game24-gpt4"):
        offline.open_settings(["game24-gpt4"], options)


def test_programs_run_only_with_consent(offline, tmp_path):
    """A setting that must run recorded programs is absent unless that was permitted."""
    path = tmp_path / "given" / "humaneval-codegen16b.jsonl.gz"
    write(path, line("q", ["return 1"]), task="code")
    with pytest.raises(offline.AbsentError, match="--run-code"):
        offline.open_setting("humaneval-codegen16b")


def test_the_own_trace_is_recorded_once(offline, tmp_path, monkeypatch):
    """The embedded model's samples are drawn where there is no trace of them, with logprobs."""
    monkeypatch.setattr(offline, "OWN_QUESTIONS", 2)
    monkeypatch.setattr(offline, "OWN_SAMPLES", 2)
    path = offline.find_trace(offline.OWN)
    assert path.is_relative_to(tmp_path / "cache")
    (samples, _) = [one.samples for one in read_trace(path).lines]
    assert all(one.mean_logprob is not None for one in samples)
    written = path.stat().st_mtime_ns
    assert offline.find_trace(offline.OWN).stat().st_mtime_ns == written


def test_numbers_are_written_short(offline, tmp_path):
    """Figures are rounded, wherever they stand, and their folder is made."""
    target = tmp_path / "new" / "figure.json"
    options = offline.arguments("a figure").parse_args(["--json", str(target)])
    offline.finish(options, {"a": [1 / 3, {"b": (2 / 3, "x")}], "n": 3}, lambda found: None)
    assert json.loads(target.read_text()) == {"a": [0.33333, {"b": [0.66667, "x"]}], "n": 3}
