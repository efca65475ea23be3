"""benchmarks/search_accuracy.py: rows and curves, on runs counted by hand."""

from __future__ import annotations

import importlib

import msgspec
import numpy as np
import pytest


@pytest.fixture
def script(benchmarks):
    return importlib.import_module("search_accuracy")


@pytest.fixture
def runs(benchmarks):
    """Return a function that makes self-consistency runs of twenty answers each."""
    watched = importlib.import_module("_watched")

    def make(answers):
        return watched.Found(
            paths=[watched.Path(unit, one, 1.0) for unit, one in enumerate(answers, start=1)],
            classes={"right": 0, "wrong": 1},
            right=[0],
            bills=[watched.Bill(10, 4, 0, 1, 0) for _ in answers],
            total=watched.Bill(10 * len(answers), 4 * len(answers), 0, len(answers), 0),
            own=0 if answers.count("right") > len(answers) / 2 else 1,
            knob=len(answers),
            seconds=2.0,
            notes={"branches lost": 1},
        )

    return make


def test_one_run_holds_the_smaller_knobs(script):
    """Programs whose units are a run are run once, at their largest knob."""
    asked = script.cells(list(script.KNOBS))
    assert [where for where in asked if where[0] in ("self-consistency", "mcts")] == [
        ("self-consistency", 20),
        ("mcts", 20),
    ]
    assert [knob for name, knob in asked if name == "rebase"] == [16, 32, 64, 128]
    program = asked["rebase", 64].make("q")
    assert (program.question, program.cap) == ("q", 64)
    assert len({cell.label for cell in asked.values()}) == len(asked)


def test_rows(script, runs):
    """Accuracy, tokens, calls and seconds of one question that few votes get wrong."""
    found = runs(["wrong"] * 3 + ["right"] * 17)
    rows = script.rows({("self-consistency", 20): [[found]]})
    assert [row["knob"] for row in rows] == [5, 10, 15, 20]
    assert [row["accuracy"]["estimate"] for row in rows] == [0, 1, 1, 1]
    assert [row["tokens"] for row in rows] == [50, 100, 150, 200]
    assert [row["seconds"] for row in rows] == [None, None, None, 2.0]
    assert {row["own"] for row in rows} == {0}
    assert script.noted([[found, found]]) == {"branches lost": 2}


def test_answers_unlike_the_programs_own_are_counted(script, runs):
    """A run whose program answered otherwise is seen in its row."""
    odd = runs(["right"] * 20)
    rows = script.rows({("self-consistency", 20): [[msgspec.structs.replace(odd, own=1)]]})
    assert [row["own"] for row in rows] == [0, 0, 0, 1]


def test_the_curve_between_two_caps(script, runs):
    """Between two caps a curve is read in proportion, beyond its ends where it ends."""
    curve = script.sc_curve([[runs(["wrong", "right", "right"] + ["right"] * 17)]])
    assert curve[0].tolist() == [10.0 * cap for cap in range(1, 21)]
    assert curve[1][:3, 0].tolist() == [0, 0, 1]
    for tokens, right in ((5, 0), (20, 0), (25, 0.5), (30, 1), (1000, 1)):
        assert script.at_tokens(curve, tokens) == pytest.approx(np.array([right]))


def test_figures_are_shown_and_drawn(script, runs, tmp_path, capsys):
    """The table has a row a knob, and the picture is a file."""
    rows = script.rows({("self-consistency", 20): [[runs(["right"] * 20)], [runs(["wrong"] * 20)]]})
    head = {
        "rewards": "model",
        "questions": 2,
        "seeds": 1,
        "live": 16,
        "engine": "e",
        "judge": "j",
        "notes": {},
    }
    script.show({**head, "rows": rows})
    assert "| self-consistency | 20 | vote | 50.0 [0.0, 100.0] |" in capsys.readouterr().out
    script.draw({**head, "rows": rows}, tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_bytes().startswith(b"<?xml")
