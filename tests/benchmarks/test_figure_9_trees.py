"""benchmarks/figure_9_trees.py: searches that are recorded, and served at rates and deadlines."""

from __future__ import annotations

import importlib
import json
import sys

import pytest

POLICY = 'stepwise:every=5,at={"reward": 0.5}'


@pytest.mark.engine
@pytest.mark.process
@pytest.mark.slow
def test_recorded_searches_are_served(benchmarks, tmp_path, monkeypatch, capsys):
    """A few trees of the embedded model: who stops early is in time with tighter deadlines."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    row = {"any certaindex": {"plain": {"policy": POLICY}}}
    chosen, found = tmp_path / "chosen.json", tmp_path / "found.json"
    chosen.write_text(json.dumps({"settings": {"mcts-20": {"rows": row}}}))
    given = [
        *("--from", chosen, "--rewards", "confidence", "--setting", "mcts-20"),
        *("--questions", 4, "--calibration", 2, "--recorded", 1, "--threads", 1),
        *("--programs", 40, "--seeds", 2, "--processes", 1, "--work", tmp_path / "work"),
        *("--row", "sjf + certaindex", "--json", found, "--picture", tmp_path / "found.svg"),
    ]
    monkeypatch.setattr(sys, "argv", ["figure_9_trees", *map(str, given)])
    importlib.import_module("figure_9_trees").main()
    rows = json.loads(found.read_text())["mcts-20"]["rows"]
    assert list(rows) == ["lpm", "sjf + certaindex"]
    plain, certain = rows.values()
    assert certain["tokens"]["mean"] < plain["tokens"]["mean"]
    assert plain["verdicts"] == certain["verdicts"] == ["all"]  # forty fit at any rate
    assert certain["scale"]["mean"] < plain["scale"]["mean"]
    assert (tmp_path / "found.svg").read_bytes().startswith(b"<?xml")
    assert "| sjf + certaindex |" in capsys.readouterr().out
