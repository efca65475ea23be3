"""benchmarks/in_flight.py: the published tables of the traces, out of the shipping scheduler."""

from __future__ import annotations

import importlib

import pytest

from dynasor.evaluate import Recorded


@pytest.fixture
def in_flight(benchmarks):
    return importlib.import_module("in_flight")


def unanimous(name="q", samples=30):
    return Recorded(name, "", (0,) * samples, (10,) * samples, (1.0,))


def test_rows(in_flight):
    """Even comes first, saves nothing against itself, and the oracle stops after one branch."""
    found = in_flight.measure("none", 30, [unanimous(), unanimous("r")], seeds=2, processes=1)
    rows = {row["row"]: row for row in found["rows"]}
    assert found["rows"][0]["row"] == "even"
    assert rows["even"]["saved_percent"] == 0
    assert rows["oracle"]["launched_per_question"] == 1
    assert rows["esc, windows of 5"]["launched_per_question"] == 5
    assert rows["lock over even"]["launched_per_question"] == 16
    assert all(row["accuracy"] == 1 for row in found["rows"])
    assert all(row["published_accuracy"] is None for row in found["rows"])


def test_wider_is_dearer(in_flight):
    """More in flight never launches less, and what is aborted was launched."""
    found = in_flight.measure("none", 30, [unanimous()], seeds=1, processes=1)
    by_width = [row for row in found["rows"] if row["row"].startswith("beta+lock, finish")]
    launched = [row["launched_per_question"] for row in by_width]
    assert launched == sorted(launched)
    assert by_width[0]["aborted_per_question"] == 0


def test_published_figures_stand_beside_ours(in_flight):
    """For the published traces every row but those in launch order has a figure to compare with."""
    found = in_flight.measure("svamp-codex", 30, [unanimous()], seeds=1, processes=1)
    known = [row for row in found["rows"] if row["published_saved_percent"] is not None]
    assert len(known) == 12
    assert any("48.8" in line for line in in_flight.table(found))


def test_one_shuffle_has_no_error(in_flight):
    """A single shuffle says nothing of its own spread."""
    assert in_flight.error([1.0]) == 0
    assert in_flight.error([1.0, 3.0]) == pytest.approx(2**0.5 / 20**0.5)
