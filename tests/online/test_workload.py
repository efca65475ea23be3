"""Workloads and their files: what is said, and what is refused."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from dynasor.core.errors import UserError
from dynasor.core.types import PolicySpec
from dynasor.online.workload import (
    Deadline,
    Part,
    Poisson,
    Timetable,
    Together,
    Workload,
    WorkloadError,
    with_rate,
    with_scale,
)
from dynasor.online.workload_file import KINDS, read_workload

DOCUMENT = Path(__file__).parents[2] / "docs" / "workloads.md"

FILE = """
programs = 5
arrivals = {kind = "poisson", rate = 2}

[[parts]]
name = "a"
trace = "a.jsonl"
"""


@pytest.fixture
def write(tmp_path):
    """Write a workload file; return its path."""

    def write(text):
        path = tmp_path / "w.toml"
        path.write_text(text)
        return path

    return write


# Files.


def test_least(write, tmp_path):
    """A file need not say more than parts, arrivals and an end; paths count from its folder."""
    part = Part("a", str(tmp_path / "a.jsonl"))
    assert read_workload(write(FILE)) == Workload((part,), Poisson(2.0), programs=5)


def test_everything(write, tmp_path):
    """Every field can be set in a file."""
    text = """
    programs = 100
    duration_seconds = 60
    seed = 7

    [arrivals]
    kind = "recorded"
    path = "times.jsonl"
    load = 0.5

    [[parts]]
    name = "a"
    trace = "/data/a.jsonl"
    share = 2
    cap = 4
    program = "best-of-n"
    tenant = "gold"
    policy = "beta:confidence=0.9"
    lock = false
    prompt_tokens = 30
    shared_tokens = 500
    deadline = {base_seconds = 240, scale = 2, factors = [1, 1, 3]}
    """
    part = Part(
        "a",
        "/data/a.jsonl",
        share=2.0,
        cap=4,
        program="best-of-n",
        tenant="gold",
        policy="beta:confidence=0.9",
        lock=False,
        prompt_tokens=30,
        shared_tokens=500,
        deadline=Deadline(240.0, 2.0, (1.0, 1.0, 3.0)),
    )
    times = Timetable(str(tmp_path / "times.jsonl"), load=0.5)
    expected = Workload((part,), times, programs=100, duration_seconds=60.0, seed=7)
    assert read_workload(write(text)) == expected
    assert part.policy_spec() == PolicySpec("beta", {"confidence": 0.9}, has_lock=False)


def test_round_trip():
    """A workload is JSON for a report, and comes back as it was."""
    for arrivals in (Poisson(load=0.5), Timetable("t", speed=2.0), Together()):
        workload = Workload((Part("a", deadline=Deadline(3.0)),), arrivals, programs=2)
        assert msgspec.json.decode(msgspec.json.encode(workload), type=Workload) == workload


ARRIVALS = '{kind = "poisson", rate = 2}'
TOGETHER = "arrivals = {kind = 'together'}\nduration_seconds = 3"


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        # Keys that nobody knows.
        ("", "shar = 1", r"unknown key of parts\[0\] 'shar' .*did you mean 'share'"),
        ("programs", "program", "unknown key 'program' .*did you mean 'programs'"),
        ("rate", "rat", "unknown key of poisson arrivals 'rat' .*did you mean 'rate'"),
        ("poisson", "posson", "unknown kind of arrivals 'posson' .*did you mean 'poisson'"),
        ("", "deadline = {base = 3}", r"unknown key of parts\[0\].deadline 'base'"),
        # Values of other types.
        ("", "cap = 'many'", r"parts\[0\].cap: expected int, got str"),
        ("", "cap = true", r"parts\[0\].cap: expected int, got bool"),
        ("rate = 2", "rate = '2'", "arrivals.rate: expected float, got str"),
        (ARRIVALS, "3", "arrivals: expected table, got int"),
        (ARRIVALS, "{kind = []}", "arrivals.kind: expected str, got list"),
        (ARRIVALS, "{rate = 2}", "arrivals: table missing required field kind"),
        ("", "deadline = {base_seconds = 1, factors = [1]}", r"factors: expected .* length 3"),
        # Values out of range.
        ("programs = 5", "programs = 0", "programs is 0; give a whole number from 1"),
        ("programs = 5", "duration_seconds = inf", "duration_seconds is inf; give a number above"),
        ("programs = 5", "", "neither programs nor duration_seconds"),
        ("programs = 5", f"programs = 5\nseed = {2**63}", "seed is 9.*; give a whole number from"),
        (f"programs = 5\narrivals = {ARRIVALS}", TOGETHER, "say how many"),
        ("rate = 2", "rate = -1", "arrivals: rate is -1.0; give a number above 0"),
        ("rate = 2", "rate = nan", "arrivals: rate is nan"),
        ("rate = 2", "load = 0", "arrivals: load is 0.0"),
        ("rate = 2", f"rate = 1{'0' * 400}", "arrivals.rate: number out of range"),
        (", rate = 2", "", "neither rate nor load"),
        ("rate = 2", "rate = 2, load = 1", "rate and load are given; give one"),
        (ARRIVALS, "{kind = 'recorded', path = 't', speed = 0}", "speed is 0"),
        ("", "cap = 0", "part 'a': cap is 0; give a whole number from 1 to 1000"),
        ("", "share = 0", "part 'a': share is 0"),
        ("", "prompt_tokens = 0", "part 'a': prompt_tokens is 0"),
        ("", "shared_tokens = -1", "part 'a': shared_tokens is -1; give a whole number from 0"),
        ("", "deadline = {base_seconds = 0}", "part 'a': deadline.base_seconds is 0"),
        ("", "deadline = {base_seconds = 1, scale = 0}", "part 'a': deadline.scale is 0"),
        ("", "deadline = {base_seconds = 1, factors = [1, 2, 0]}", "part 'a': one of deadline.fac"),
        ("", "deadline = {base_seconds = 1, judged_at = 0}", "'a': deadline.judged_at is 0; .* 1"),
        ("", "deadline = {base_seconds = 1, judged_at = -7}", "deadline.judged_at is -7"),
        ('"a"', '"a/b"', "the name of a part is 'a/b'"),
        ('"a.jsonl"', '""', "part 'a' has no trace"),
        ("", FILE[FILE.index("[[") :], "two parts are called 'a'"),
        # Names of what is not there.
        ("", "policy = 'evne'", "part 'a': unknown policy 'evne' .*did you mean 'even'"),
        ("", "policy = 'beta+lock:in_flight=2'", r"leave out '\+lock' and say lock = true"),
        ("", "policy = 'beta:x'", "part 'a': policy 'beta:x': expected NAME:key=value"),
        ("", "policy = 'beta:confidence=7'", "part 'a': policy 'beta': .*confidence"),
        ("", "program = 'best'", "part 'a': unknown program 'best'"),
        ("", "lock = false", "part 'a': lock is false without a policy"),
    ],
)
def test_mistakes(write, old, new, match):
    """What cannot be is refused in one line that names the file and the key."""
    path = write(FILE.replace(old, new) if old else f"{FILE}\n{new}")
    with pytest.raises(
        WorkloadError, match=f"^workload {re.escape(str(path))}: .*{match}"
    ) as caught:
        read_workload(path)
    assert "\n" not in str(caught.value)


def test_no_parts(write):
    """A workload of nothing is refused."""
    with pytest.raises(WorkloadError, match="parts is empty"):
        read_workload(write("programs = 1\nparts = []\narrivals = {kind = 'together'}"))


@pytest.mark.parametrize("data", [b"x", b"\xff", b"[" * 100_000])
def test_no_toml(tmp_path, data):
    """A file that is no TOML is named."""
    path = tmp_path / "w.toml"
    path.write_bytes(data)
    with pytest.raises(WorkloadError, match="w.toml is not TOML") as caught:
        read_workload(path)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path):
    """A file that is not there is named."""
    with pytest.raises(WorkloadError, match=r"w.toml cannot be read: No such file"):
        read_workload(tmp_path / "w.toml")


# Rates and scales.


def test_with_rate():
    """A rate takes the place of a rate, a load or a speed."""
    part = Part("a")
    for arrivals in (Poisson(1.0), Poisson(load=0.5)):
        found = with_rate(Workload((part,), arrivals, programs=1), 3.0)
        assert found == Workload((part,), Poisson(3.0), programs=1)
    for arrivals in (Timetable("t"), Timetable("t", speed=2.0), Timetable("t", load=0.5)):
        found = with_rate(Workload((part,), arrivals, programs=1), 3.0)
        assert found == Workload((part,), Timetable("t", rate=3.0), programs=1)


def test_no_rate():
    """Programs that arrive together have no rate, and no rate is impossible."""
    with pytest.raises(WorkloadError, match="all programs arrive together"):
        with_rate(Workload((Part("a"),), Together(), programs=1), 3.0)
    with pytest.raises(WorkloadError, match="rate is 0"):
        with_rate(Workload((Part("a"),), Poisson(1.0), programs=1), 0.0)


def test_with_scale():
    """A scale takes the place of every deadline's, and programs without one stay without."""
    parts = (Part("a", deadline=Deadline(10.0)), Part("b"))
    found = with_scale(Workload(parts, Poisson(1.0), programs=1), 0.5)
    assert found.parts == (Part("a", deadline=Deadline(10.0, scale=0.5)), Part("b"))
    with pytest.raises(WorkloadError, match="no part has a deadline"):
        with_scale(Workload((Part("b"),), Poisson(1.0), programs=1), 0.5)


def test_mistakes_in_python():
    """A workload made in Python is checked as one from a file."""
    with pytest.raises(UserError, match="part 'a': cap is 0"):
        Part("a", cap=0)
    with pytest.raises(UserError, match="scale is -1"):
        with_scale(Workload((Part("a", deadline=Deadline(1.0)),), Poisson(1.0), programs=1), -1.0)


# The document.


def test_document(write):
    """The example of docs/workloads.md is a workload."""
    (text,) = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    workload = read_workload(write(text))
    assert [part.name for part in workload.parts] == [one["name"] for one in _parts(text)]


def _parts(text):
    return tomllib.loads(text)["parts"]


def test_document_is_complete():
    """docs/workloads.md has a row for every key."""
    text = DOCUMENT.read_text()
    for kind in (Workload, Part, Deadline, *KINDS.values()):
        for name in kind.__struct_fields__:
            assert f"| `{name}` |" in text, (kind, name)
    assert all(f"`{name}`" in text for name in KINDS)
