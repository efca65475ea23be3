"""benchmarks/figure_9a, b and c: small runs, and their figures."""

from __future__ import annotations

import importlib

import pytest

pytestmark = pytest.mark.slow

FEW = ("--programs", "60", "--seeds", "1")


@pytest.fixture
def short(benchmarks, monkeypatch):
    """Leave a script few rows: those that others are compared with, and one of ours."""

    def make(name, *others, **fewer):
        figure = importlib.import_module(name)
        kept = ("lpm", "fcfs", "app-fifo", *others)
        rows = {row: system for row, system in figure.ROWS.items() if row in kept}
        for what, value in {"ROWS": rows, **fewer}.items():
            monkeypatch.setattr(figure, what, value)
        return figure

    return make


def test_rates(run, short):
    """Every row has a rate with its ratios, one policy its bound, and some are drawn over rates."""
    ours = "deadline + sequential"
    full = importlib.import_module("figure_9a").WITHIN
    figure = short(
        "figure_9a", ours, LOADS=(1.0, 5.0), DRAWN=("lpm", ours), WITHIN={ours: full[ours]}
    )
    found, text = run("figure_9a", *FEW)
    one = found["svamp-codex"]
    assert list(one["rows"]) == list(figure.ROWS)
    assert all(row["load"]["mean"] > 0 for row in one["rows"].values())
    assert one["rows"]["lpm"]["over lpm"]["mean"] == 1.0
    assert list(one["within a point"]) == ["lpm", *figure.WITHIN]
    assert one["bound"]["load"]["mean"] > 0
    assert {len(points) for points in one["curves"].values()} == {len(figure.LOADS)}
    assert "over lpm" in text


def test_some_rows(run, short):
    """Rows that are made again replace those of an earlier file, and leave the others."""
    short("figure_9a", "plas", "sjf", WITHIN={})
    few = ("--programs", "20", "--seeds", "1", "--row", "lpm")
    first, _ = run("figure_9a", *few, "--row", "plas")
    again, _ = run("figure_9a", *few, "--row", "sjf")
    assert list(first["svamp-codex"]["rows"]) == ["lpm", "plas"]
    assert list(again["svamp-codex"]["rows"]) == ["lpm", "plas", "sjf"]


def test_scales(run, short):
    """Every row has a tightest scale at every rate; attainment rises with the scale."""
    figure = short("figure_9b", "sjf + threshold", "deadline + priced", DRAWN=("lpm",))
    found, text = run("figure_9b", "--seeds", "1")
    one = found["svamp-codex"]
    assert list(one["loads"]) == [f"{load:g}" for load in figure.LOADS]
    for rows in one["loads"].values():
        assert list(rows) == list(figure.ROWS)
        assert rows["lpm"]["tighter"]["mean"] == pytest.approx(1.0)
    means = [point["mean"] for point in one["curves"]["lpm"]]
    assert means == sorted(means)
    assert "times tighter" in text


def test_accuracies(run, short):
    """Every row is read off at the same attainment, and lpm gains nothing over itself."""
    figure = short("figure_9c", "deadline + priced", CAPS=(3, 20))
    found, text = run("figure_9c")
    rows = found["svamp-codex"]["loads"]["4"]
    assert list(rows) == list(figure.ROWS)
    assert rows["lpm"]["gain"]["mean"] == 0.0
    assert [one["cap"] for one in rows["lpm"]["caps"]] == list(figure.CAPS)
    assert "accuracy at 90 %" in text


def test_reading_a_curve_off(benchmarks):
    """Between two caps accuracy is linear in attainment; a curve that is never there has none."""
    figure = importlib.import_module("figure_9c")
    numpy = importlib.import_module("numpy")
    caps = len(figure.CAPS)
    attained = numpy.linspace(1.0, 0.8, caps)
    accuracy = numpy.linspace(0.5, 0.9, caps)
    table = numpy.stack([attained, accuracy, accuracy], axis=1)
    assert figure._read(table) == pytest.approx(0.7)
    assert numpy.isnan(figure._read(table - [0.5, 0, 0]))
    everybody = table + numpy.array([0.5, 0.0, 0.0])
    assert figure._read(everybody) == pytest.approx(0.9)


def test_one_rate(run):
    """Every row has its share in time, accuracy and tokens at the rate that is asked for."""
    found, text = run("one_load", "--load", "2", draws=False)
    one = found["svamp-codex"]
    assert one["load"] == 2
    assert all(0 <= row["attainment"]["mean"] <= 1 for row in one["rows"].values())
    assert "deadline + priced" in text
