"""Benchmarks are scripts: they import one another from their own folder."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
from toys.recorded import line, write

QUESTIONS = 6


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    """Find the scripts by their names."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")


@pytest.fixture
def run(benchmarks, tmp_path, monkeypatch, capsys):
    """Return a function that runs an online script on a small trace: what it found and printed."""
    monkeypatch.setenv("DYNASOR_TRACES", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    answers = ["1"] * 14 + ["2"] * 6
    lines = [line(f"q{number}", answers, tokens=20 + 9 * number) for number in range(QUESTIONS)]
    write(tmp_path / "svamp-codex.jsonl.gz", *lines)

    def run_script(name, *arguments, draws=True):
        target, picture = tmp_path / "found.json", tmp_path / "found.svg"
        given = ("--setting", "svamp-codex", "--seeds", "2", "--programs", "12", "--processes", "1")
        files = ("--json", str(target), "--picture", str(picture))
        monkeypatch.setattr(sys, "argv", [name, *given, *files, *arguments])
        importlib.import_module(name).main()
        assert picture.exists() == draws
        if draws:
            assert picture.read_bytes().startswith(b"<?xml")
        return json.loads(target.read_text(), parse_constant=pytest.fail), capsys.readouterr().out

    return run_script
