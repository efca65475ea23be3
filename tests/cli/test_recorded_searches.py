"""Searches that were recorded, through every command that takes a trace."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from toys.recordings import sums
from toys.searching import stepping_engine
from toys.watchers import Heard

from dynasor.config import Settings, parse_policy
from dynasor.core.types import ProgramSpec
from dynasor.profile import read_profile
from dynasor.record import RecordJob, record

pytestmark = pytest.mark.slow


@pytest.fixture
def traces(command):
    """Two traces: two iterations in flight of MCTS, and Rebase in two rounds."""
    for name, cap, text in (
        ("mcts", 6, "even:in_flight=1"),
        ("rebase", 8, 'threshold:detect=2,at={"reward":1}'),
    ):
        job = RecordJob(
            sums(8),
            "sums",
            Path(f"{name}.jsonl"),
            samples=cap,
            program=ProgramSpec(name),
            searches=2,
            policy=parse_policy(text, has_lock=False),
        )
        asyncio.run(record(job, Settings(), Heard(), [stepping_engine()]))
    return command


def test_evaluate(traces):
    """A trace is replayed by its program, at its cap, under policies that suit it."""
    code, out, err = traces(
        "evaluate", "mcts.jsonl", "rebase.jsonl", "--seeds", "2", "--json", "figures.json"
    )
    assert code == 0, err
    first, second = json.loads(Path("figures.json").read_text())
    assert (first["program"], second["program"]) == ("mcts", "rebase")
    assert {row["cap"] for row in first["rows"]} == {6}
    assert {row["width"] for row in first["rows"]} == {1}
    assert {row["width"] for row in second["rows"]} == {None}
    assert not any(row["policy"] == "oracle" for row in first["rows"])
    assert first["rows"][0]["missing"] == 0
    assert any(row["policy"].startswith("stepwise") for row in first["rows"])
    assert any(row["policy"].startswith("threshold:detect=2") for row in second["rows"])
    assert "cap 8, all units" in out


def test_exact(traces):
    """Under the recorded policy nothing is missing, and even's tokens are the recorded ones."""
    policy = 'threshold:detect=2,at={"reward":1}'
    code, _, err = traces(
        "evaluate", "rebase.jsonl", "--seeds", "2", "-p", policy, "--json", "figures.json"
    )
    assert code == 0, err
    (found,) = json.loads(Path("figures.json").read_text())
    row = next(row for row in found["rows"] if row["policy"] == policy)
    assert (row["missing"], row["knob"]) == (0, 8)


def test_calibrate(traces):
    """A profile of searches has their program, and thresholds on its signals."""
    code, _, err = traces(
        "calibrate", "rebase.jsonl", "r.json", "--seeds", "1", "--splits", "1", "-p", "threshold"
    )
    assert code == 0, err
    profile = read_profile(Path("r.json"))
    assert profile.program.startswith("rebase:")
    assert (profile.policy, profile.params["detect"], profile.cap) == ("threshold", 2, 8)
    assert set(profile.params["at"]) <= {"entropy", "reward"}
    assert not profile.lock


@pytest.mark.parametrize("name", ["mcts", "rebase"])
def test_simulate(traces, name):
    """A simulation runs the program under systems that suit it."""
    code, out, err = traces("simulate", f"{name}.jsonl", "--programs", "12", "--rate", "0.1")
    assert code == 0, err
    assert "failed" not in out
    assert "answered by themselves" in out


def test_workload_file(traces):
    """A part of a workload may be a search, with parameters of its own."""
    Path("w.toml").write_text(
        'programs = 10\n[arrivals]\nkind = "poisson"\nrate = 0.1\n'
        '[[parts]]\nname = "trees"\ntrace = "rebase.jsonl"\ncap = 4\n'
        "params = { balance = 0.5 }\n"
        '[[parts]]\nname = "games"\ntrace = "mcts.jsonl"\ncap = 3\nprogram = "mcts"\n'
    )
    code, _, err = traces("simulate", "w.toml", "-s", "deadline/even", "--json", "-")
    assert code == 0, err
    assert "failed" not in err
