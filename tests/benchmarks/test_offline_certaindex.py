"""benchmarks/figure_1.py, 3, 4 and 5: counted by hand on a few questions, and drawn."""

from __future__ import annotations

import importlib
import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.recorded import recorded, recordings

from dynasor.traces import Header

HEADER = Header(dynasor_trace=1, kind="sampling", workload="w", model="m", task="math")
CAP = 8


def script(name):
    """Import a script."""
    return importlib.import_module(name)


def setting(name, questions, cap=CAP):
    return script("_offline").Setting(name, name, HEADER, list(questions), cap)


@pytest.fixture(autouse=True)
def few_resamples(benchmarks, monkeypatch):
    """Intervals of few resamples: rough, and quick."""
    for name in ("_certaindex", "figure_5"):
        monkeypatch.setattr(importlib.import_module(name), "RESAMPLES", 20)


@pytest.fixture
def asked():
    """Questions from settled to hopeless; the more the samples differ, the longer they are."""
    rows = {
        "settled": ("aaaaaaaa", {0}),
        "settled too": ("aaaaaaaa", {0}),
        "nearly": ("aabaaaaa", {0}),
        "mixed": ("ababaaca", {0}),
        "hard": ("abcadeab", {0}),
        "overruled": ("aaabaaaa", {1}),
        "lost": ("abcdefg-", set()),
    }
    return [
        recorded(classes, right, 10 * len(set(classes)), name)
        for name, (classes, right) in rows.items()
    ]


def with_fields(question, **fields):
    """The same question, with what else was recorded."""
    return msgspec.structs.replace(question, **fields)


def test_points_and_their_kinds(asked):
    """Unanimous questions stop early; where the vote is wrong there is nothing to need."""
    certain = script("_certaindex")
    found = certain.points(certain.paths(asked, CAP, range(6)), 3)
    assert found.certaindex[:2].tolist() == [1, 1]
    assert found.needed[:2].tolist() == [1, 1]
    assert found.of_kind("early")[:2].all()
    assert found.is_solvable.tolist() == [True] * 5 + [False] * 2
    assert found.of_kind("unsolvable").tolist() == [False] * 5 + [True] * 2
    counted = sum(found.of_kind(kind).astype(int) for kind in certain.KINDS)
    assert counted.tolist() == [1] * len(asked)


@given(questions=st.lists(recordings(), min_size=1, max_size=5))
def test_every_point_is_written(questions):
    """Whatever was recorded, each question is one point of one kind, without its name."""
    certain = script("_certaindex")
    cap = min(len(one.tokens) for one in questions)
    found = certain.points(certain.paths(questions, cap, range(2)), 1)
    written = certain.written(found)
    assert sum(row[2] for rows in written.values() for row in rows) == len(questions)
    assert all(row[1] is None for row in written["unsolvable"])
    assert all(1 <= row[1] <= cap for kind in ("early", "solvable") for row in written[kind])


def test_correlations():
    """Perfectly ordered numbers correlate perfectly; a constant correlates with nothing."""
    certain = script("_certaindex")
    numbers = np.arange(9.0)
    both = certain.correlate(numbers, -numbers)
    assert {name: one.estimate for name, one in both.items()} == {
        "pearson": pytest.approx(-1),
        "kendall": pytest.approx(-1),
    }
    assert certain.correlate(numbers, np.ones(9)) is None
    assert certain.correlate(numbers[:3], numbers[:3]) is None


def test_zones_hold_every_question(asked):
    """The zones of figure 1 sum to one, and what is right in the end is the last accuracy."""
    found = script("figure_1").of_setting(setting("toy", asked), seeds=6)
    shares = {name: one["estimate"] for name, one in found["zones"].items()}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["hopeless"] == pytest.approx(1 / 7)
    assert shares["outvoted"] == pytest.approx(1 / 7)
    assert shares["settled_early"] + shares["more_help"] == pytest.approx(
        found["accuracy"][-1]["estimate"]
    )
    assert found["tokens"][-1] == np.mean([sum(one.tokens) for one in asked])


def test_rewards_of_beams():
    """The first right beam is what is needed; the reward is the first beams' best, or mean."""
    figure_3 = script("figure_3")
    questions = [
        recorded("aaa", {0}, rewards=(0.5, 0.5, 0.5)),
        recorded("ab-", set(), rewards=(0.25, 0.5, 1.0)),
    ]
    best = figure_3.beam_points(questions, 3, range(4), "max")
    assert best.certaindex.tolist() == [0.5, 1.0]
    assert best.needed[0] == 1
    assert np.isnan(best.needed[1])
    mean = figure_3.beam_points(questions, 3, range(4), "mean")
    assert mean.certaindex.tolist() == pytest.approx([0.5, 1.75 / 3])


def test_combinations_are_judged_on_the_other_half():
    """A term that is noise foretells nothing; one that is what is needed foretells everything."""
    figure_5 = script("figure_5")
    needed = np.arange(40.0)
    noise = np.random.default_rng(1).normal(size=(40, 3))
    halved = figure_5.foretold(np.column_stack([needed, noise]), needed)
    assert all(np.isnan(says).sum() == 20 for says in halved)
    assert figure_5.combined(halved, needed)["pearson"].estimate == pytest.approx(1)
    useless = figure_5.combined(figure_5.foretold(noise, needed), needed)
    assert useless["pearson"].low < 0.2


def test_measures_point_the_same_way(asked):
    """Length and log-probability are turned as uncertainty is: more of it means more samples."""
    samples = [
        with_fields(one, logprobs=(-float(place),) * 8) for place, one in enumerate(asked[:5])
    ]
    found = script("figure_5").of_setting(setting("toy", samples), seeds=3)["measures"]
    singles = ("uncertainty", "length", "-log-probability")
    assert all(found[name]["pearson"]["estimate"] > 0.5 for name in singles)
    assert "uncertainty + length + -log-probability" in found


def test_all_four_are_drawn(asked, tmp_path, capsys):
    """Each script shows and draws what it has found, as its JSON gives it."""
    figure_1, figure_3, figure_4, figure_5 = (script(f"figure_{n}") for n in (1, 3, 4, 5))
    options = script("_offline").arguments("figures").parse_args(["--seeds", "2"])
    beams = [with_fields(one, rewards=(0.5,) * 8) for one in asked]
    votes, rewarded = setting("toy", asked), setting(script("_offline").BEAMS[0], beams)
    for figure, found in (
        (figure_1, figure_1.measure([votes], 2)),
        (figure_3, figure_3.measure([votes, rewarded], options)),
        (figure_4, figure_4.measure(votes, 2)),
        (figure_5, figure_5.measure([votes], 2)),
    ):
        read = json.loads(json.dumps(found))
        figure.show(read)
        target = tmp_path / f"{figure.__name__}.svg"
        figure.draw(read, target)
        assert "toy" in target.read_text()
        assert "toy" in capsys.readouterr().out
        assert all(f'"{one.id}"' not in json.dumps(found) for one in asked)
