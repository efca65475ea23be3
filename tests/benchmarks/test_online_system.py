"""benchmarks/ of memory, detection, width, replicas and speed: small runs, and their figures."""

from __future__ import annotations

import importlib
from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.recorded import recorded

from dynasor.online.workload import Part
from dynasor.sim import EngineModel, StepTime

pytestmark = pytest.mark.slow

SVAMP = "svamp-codex"


@pytest.fixture
def script(benchmarks):
    return importlib.import_module


# Rows.


def test_rows_of_seeds(script):
    """Runs come row by row, each with its seeds, and become means, ratios and marks."""
    rows = script("_online_rows")
    found = [{"p90": value, "is_saturated": value > 2} for value in (1.0, 2.0, 3.0, 6.0)]
    first, second = rows.by_seed(found, 2)
    assert rows.means(first, ("p90",))["p90"]["mean"] == 1.5
    assert rows.ratios(second, first, ("p90",))["p90"]["mean"] == pytest.approx(3)
    assert (rows.mark(first), rows.mark(second)) == ("", "*")


def test_what_a_row_lacks(script):
    """A measure that one seed lacks has no mean, and is shown as a dash."""
    rows = script("_online_rows")
    missing = rows.means([{"scale": 1.0}, {"scale": None}], ("scale",))["scale"]
    assert missing is None
    assert rows.text(missing) == "-"


def test_one_seed_has_no_bounds(script):
    """A single seed says nothing of the spread: bounds are None, not infinities in a file."""
    rows = script("_online_rows")
    single = rows.means([{"p90": 1.25}], ("p90",))["p90"]
    assert single == {"mean": 1.25, "low": None, "high": None}
    assert rows.text(single, 1, 100) == "125.0"
    assert rows.text({"mean": 2.0, "low": 1.5, "high": 2.5}) == "2.00 ±0.50"


# Figure 17.


def engine(kv_tokens, max_running=256):
    step = StepTime(base=0.01, per_prefill_token=0.0, per_sequence=0.0, per_kv_token=0.0)
    return EngineModel(step, kv_blocks=kv_tokens // 16, max_running=max_running)


def test_slots_are_what_memory_holds(script):
    """A tenth more calls than the slots, each at its mean footprint, fill the memory."""
    figure_17 = script("figure_17")
    part, questions = Part("p", prompt_tokens=40), [recorded("a" * 20, tokens=100)]
    held = 40 / 4 + 100 / 2 + 16 / 2
    slots = figure_17.slots_by_memory(engine(16 * 468), part, questions, 4)
    assert slots == int(16 * 468 / held / 1.1) == 100


@given(st.lists(st.integers(1, 500), min_size=2, max_size=9), st.integers(1, 900))
def test_slots_stay_in_bounds(lengths, blocks):
    """Some slot is always announced, never more than the engine has, and more with more memory."""
    figure_17 = importlib.import_module("figure_17")
    part = Part("p", prompt_tokens=40)
    questions = [recorded("a" * len(lengths), tokens=lengths)]
    less, more = (
        figure_17.slots_by_memory(engine(16 * size, 64), part, questions, 4)
        for size in (blocks, blocks + 100)
    )
    assert 1 <= less <= more <= 64


def test_memory_is_varied_where_it_is_short(run):
    """Little memory gives rows that know of it and rows that do not; much gives one row each."""
    found, shown = run("figure_17", "--share", "0.2", "--share", "0.9")
    (setting,) = found["settings"]
    little, much = setting["memory"]
    assert (little["kv_tokens"], much["share"]) == (7264, 0.9)
    assert not any(row["is_varied"] for row in much["rows"])
    slots = {row["slots"] for row in little["rows"] if row["row"] == "sjf + sequential"}
    assert len(slots) == 2
    assert max(slots) == 256
    assert {row["slots"] for row in little["rows"] if row["row"] == "lpm"} == {"all"}
    assert "sjf + sequential, idle-first" in shown


# The others.


def test_detection_costs_parallelism(run, script, monkeypatch):
    """Where slots idle, looking after every branch saves tokens and takes longer than once."""
    monkeypatch.setattr(script("detection_cost"), "LOADS", (0.2,))
    found, shown = run("detection_cost")
    (setting,) = found["settings"]
    for order in ("fcfs", "sjf"):
        rows = {row: points[0] for row, points in setting["orders"][order].items()}
        assert rows["even"]["over even"]["tokens"]["mean"] == 1
        assert rows["stepwise by 1"]["tokens"]["mean"] < rows["even"]["tokens"]["mean"]
        once, often = (rows[row]["mean"]["mean"] for row in ("threshold at 5", "stepwise by 1"))
        assert often > once
    assert "load 0.2, sjf" in shown


def test_width_is_chosen_by_the_mean(run, script, monkeypatch):
    """The best width is a width, the narrowest of equals, and priced is measured against it."""
    in_flight = script("in_flight_online")
    rows = {row: {"mean": {"mean": value}} for row, value in (("1", 3.0), ("2", 2.0), ("4", 2.0))}
    rows["priced"] = {"mean": {"mean": 1.0}}
    assert in_flight.best_width(rows, "mean") == "2"
    monkeypatch.setattr(in_flight, "LOADS", (0.5, 2.0))
    found, shown = run("in_flight_online")
    for load in found["settings"][0]["loads"]:
        assert list(load["rows"]) == ["1", "2", "4", "8", "16", "all", "priced"]
        assert load["priced over best"]["mean"]["mean"] > 0
    assert "best: " in shown


def test_replicas_scale_the_load(run):
    """Each number of replicas has its own capacity; a row's fewest replicas are its measure."""
    found, shown = run("replicas", "--replicas", "1", "--replicas", "2")
    (setting,) = found["settings"]
    single, double = setting["capacities"]
    assert 1.5 < double / single < 2.5
    for row, points in setting["rows"].items():
        assert len(points) == 2
        if "saturated" not in row:
            assert all(point["rate"] is None for point in points)
    assert "sjf + sequential, saturated" in shown


def test_rate_only_beyond_capacity(script):
    """Tokens a second say what a replica can do only where calls always waited."""
    replicas = script("replicas")
    online = importlib.import_module("_online")
    settings = {"two": _Cluster(2)}
    for load, seen, rate in ((1.5, 300.0, 150.0), (0.9, 300.0, None), (1.5, float("nan"), None)):
        run = online.Run("two", online.make_system("fcfs"), 0, load)
        assert (
            replicas.with_rate({"saturated_tokens_per_second": seen}, run, settings)["rate"] == rate
        )


class _Cluster:
    """What `with_rate` asks of a setting."""

    def __init__(self, replicas):
        self.experiment = self.cluster = self
        self.replicas = replicas


def test_the_hour_counts_what_it_ran(run, script, monkeypatch):
    """Every program makes all its calls; sizes beyond what was asked for are left out."""
    hour = script("simulated_hour")
    monkeypatch.setattr(hour, "SYSTEMS", ("gang",))
    found, shown = run("simulated_hour", "--seeds", "1")
    (row,) = found["settings"][0]["rows"]
    assert (row["system"], row["programs"], row["calls"]) == ("gang", 12, 240)
    assert row["events"] > row["calls"]
    assert 0 <= row["grown_mib"] < row["memory_mib"]
    assert "may take" not in shown  # only the whole is held against that


def test_memory_by_program(script):
    """What a program holds for good is the growth between the two largest runs."""
    hour = script("simulated_hour")
    rows = [
        {"system": "gang", "programs": programs, "grown_mib": grown}
        for programs, grown in ((500, 9.0), (1000, 10.0), (1000 + 2**20, 110.0))
    ]
    assert hour.bytes_a_program(rows) == 100
    assert isnan(hour.bytes_a_program(rows[:1]))
