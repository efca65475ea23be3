"""benchmarks/figure_8.py, 12, 13 and table_4.py: on a few questions, counted, chosen and drawn."""

from __future__ import annotations

import importlib
from argparse import Namespace
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from toys.recorded import recorded, recordings

from dynasor.core.certaindex import Tally
from dynasor.core.errors import ConfigError
from dynasor.core.types import PolicySpec
from dynasor.traces import Header

HEADER = Header(dynasor_trace=1, kind="sampling", workload="w", model="m", task="math")
CAP = 20


def script(name):
    """Import a script."""
    return importlib.import_module(name)


@pytest.fixture(autouse=True)
def few_resamples(benchmarks, monkeypatch):
    """Intervals of few resamples: rough, and quick."""
    monkeypatch.setattr(script("_curves"), "RESAMPLES", 20)
    for name in ("figure_8", "figure_12"):
        monkeypatch.setattr(script(name), "WIDE", 3)
    monkeypatch.setattr(importlib.import_module("dynasor.evaluate.paired"), "RESAMPLES", 20)


@pytest.fixture
def questions():
    """Twelve questions from unanimous to hopeless; the less sure, the longer."""
    rows = ("a" * CAP, "aaaab" * 4, "aabab" * 4, "abacd" * 4, "bbabb" * 4, "abcde" * 4)
    return [
        recorded(classes, right, 10 * len(set(classes)), f"{right} {place}")
        for place, classes in enumerate(rows)
        for right in ({0}, {1})
    ]


@pytest.fixture
def setting(questions):
    return script("_offline").Setting("toy", "toy", HEADER, questions, CAP)


@pytest.fixture
def options():
    return Namespace(seeds=2, splits=2, processes=1)


@given(drawn=st.lists(recordings(), min_size=1, max_size=4))
def test_even_is_what_its_replay_says(drawn):
    """Even allocation read off the votes is its replay, at every cap and on every shuffle."""
    curves = script("_curves")
    questions = [replace(one, id=f"{place}") for place, one in enumerate(drawn)]
    cap = min(len(one.tokens) for one in questions)
    even = curves.even_outcomes(questions, cap, 2)
    work = [(PolicySpec("even", has_lock=False), knob) for knob in range(1, cap + 1)]
    for knob, found in enumerate(curves.replayed(questions, work, 2), 1):
        np.testing.assert_allclose(found.tokens, even.at(knob).tokens)
        np.testing.assert_allclose(found.quality, even.at(knob).quality)


def test_each_question_has_its_own_units(questions):
    """Means at units of their own are those of even's curve, question by question."""
    even = script("_curves").even_outcomes(questions, CAP, 3)
    units = np.arange(1, len(questions) + 1)
    found = even.means(units)
    for place, knob in enumerate(units):
        assert found.tokens[place] == even.tokens[:, place, knob - 1].mean()
        assert found.quality[place] == even.quality[:, place, knob - 1].mean()


def random_vectors(questions):
    """A vector a question that says nothing about it."""
    return np.random.default_rng(0).normal(size=(len(questions), 4))


def rising(*accuracies):
    """Even's curve over one question: ten tokens a sample, and these accuracies."""
    tokens = 10.0 * np.arange(1, len(accuracies) + 1)
    return script("_curves").Even(tokens[None, None, :], np.array(accuracies)[None, None, :])


@pytest.mark.parametrize(
    ("curve", "tokens", "accuracy", "saved"),
    [
        ((0.5, 0.6, 0.7, 0.8), 20, 0.8, 0.5),
        ((0.5, 0.6, 0.7, 0.8), 20, 0.75, 1 - 20 / 35),
        ((0.5, 0.6, 0.7, 0.8), 20, 0.9, 0.5),
        ((0.5, 0.6, 0.7, 0.8), 20, 0.4, -1.0),
        ((0.5, 0.8, 0.8, 0.8), 40, 0.8, -1.0),
        ((0.5, 0.8, 0.6, 0.7), 20, 0.7, 0.0),
    ],
    ids=["at a cap", "between two", "above all", "below all", "on a flat end", "over wiggles"],
)
def test_savings_are_read_off_the_curve(curve, tokens, accuracy, saved):
    """Even's tokens are those at which its curve, made to rise, first gets to the accuracy."""
    curves = script("_curves")
    own = curves.Outcomes(np.array([[float(tokens)]]), np.array([[accuracy]]))
    found = curves.saved_at_accuracy(own, rising(*curve), 4)
    assert found.estimate == pytest.approx(saved)
    assert found.low <= found.estimate <= found.high


def test_a_policy_is_placed_by_its_difference_to_even():
    """On a lucky shuffle, where even too is better than on most, a policy is not favoured."""
    curves = script("_curves")
    usual, lucky = rising(0.5, 0.6, 0.7), rising(0.7, 0.8, 0.9)
    even = curves.Even(
        np.concatenate([lucky.tokens, usual.tokens]), np.concatenate([lucky.quality, usual.quality])
    )
    own = curves.Outcomes(np.array([[15.0]]), np.array([[0.9]]))
    assert curves.saved_at_accuracy(own, even, 3).estimate == pytest.approx(0.5)


def test_many_questions_need_fewer_shuffles(questions):
    """Up to 500 questions all shuffles are replayed; beyond that fewer, but three at least."""
    shuffles = script("_curves").shuffles
    assert [shuffles(questions[:1] * count, 10) for count in (1, 500, 1000, 9000)] == [10, 10, 5, 3]


def test_figure_8_at_the_cap(setting):
    """Nothing spends more than even at its cap, and the oracle spends least and is right most."""
    found = script("figure_8").curves(setting, 2, 1)
    assert set(found["lines"]) == {"even", "length", "threshold", "beta", "sequential", "oracle"}
    for points in zip(*found["lines"].values(), strict=True):
        by_name = dict(zip(found["lines"], points, strict=True))
        assert by_name["even"]["saved_at_cap"] == 0
        assert all(one["tokens"] <= by_name["even"]["tokens"] for one in points)
        assert by_name["oracle"]["tokens"] == min(one["tokens"] for one in points)
        assert by_name["oracle"]["accuracy"] == max(one["accuracy"] for one in points)


def test_thresholds_of_table_1():
    """The paper's threshold for code is lower than the one for mathematics."""
    policies = script("figure_8").policies
    assert policies("code")["threshold"].params["at"] == 0.4
    assert policies("math")["threshold"].params["at"] == 0.7


@pytest.mark.parametrize("classes", ["aaaaa", "aaaab", "aaabb", "aabbc", "abcde"])
def test_an_entropy_is_a_certaindex(classes):
    """Five answers whose entropy is H have the certaindex that figure 12 states for H."""
    tally = Tally()
    for name in classes:
        tally.add(name)
    shares = [classes.count(name) / 5 for name in set(classes)]
    entropy = -sum(share * log(share) for share in shares)
    assert script("figure_12").certaindex(entropy) == pytest.approx(tally.certaindex())


def test_looser_thresholds_spend_less(setting):
    """A larger entropy allowed never costs tokens, measured once or every five."""
    found = script("figure_12").curves(setting, 2, 1)
    for form in ("once", "every"):
        rows = [row for row in found["lines"] if row["form"] == form]
        spent = [row["points"][-1]["tokens"] for row in rows]
        assert spent == sorted(spent, reverse=True)


def test_a_prediction_knows_what_the_vectors_say():
    """Where a vector decides what is needed, unseen questions are predicted; noise is not."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(80, 5))
    target = vectors @ np.array([1.0, -1, 0.5, 0, 0]) + 3
    fit, unseen = np.arange(40), np.arange(40, 80)
    predict = script("_predictor").predict
    assert np.corrcoef(predict(vectors, target, fit)[unseen], target[unseen])[0, 1] > 0.99
    noise = rng.normal(size=80)
    assert predict(vectors, noise, fit)[unseen].std() < 0.5 * noise.std()


def test_questions_are_predicted_without_themselves(monkeypatch):
    """What is predicted for a question that was fitted is what a fit without it says."""
    predictor = script("_predictor")
    monkeypatch.setattr(predictor, "PENALTIES", np.array([1e-9]))
    rng = np.random.default_rng(1)
    vectors, target = rng.normal(size=(9, 2)), rng.normal(size=9)
    found = predictor.predict(vectors, target, np.arange(9))
    rest = np.arange(1, 9)
    with_one = np.column_stack([np.ones(8), vectors[rest]])
    weights, *_ = np.linalg.lstsq(with_one, target[rest], rcond=None)
    assert found[0] == pytest.approx(weights @ [1, *vectors[0]])


def test_vectors_are_embedded_once(monkeypatch, tmp_path, questions):
    """Kept vectors need no model; without either the error says what to install."""
    predictor = script("_predictor")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    class Absent:
        async def __call__(self, texts):
            raise ConfigError("not installed")

    class Model:
        async def __call__(self, texts):
            return [[float(len(text)), 1.0] for text in texts]

    monkeypatch.setattr(predictor, "LocalVectors", Absent)
    with pytest.raises(ConfigError):
        predictor.embed(questions)
    monkeypatch.setattr(predictor, "LocalVectors", Model)
    made = predictor.embed(questions)
    monkeypatch.setattr(predictor, "LocalVectors", Absent)
    np.testing.assert_array_equal(predictor.embed(questions), made)


@pytest.mark.parametrize("has_vectors", [True, False])
def test_figure_13_with_and_without_the_model(monkeypatch, setting, options, capsys, has_vectors):
    """Without vectors the predictor is left out, and that is said; the rest stays the same."""

    def embed(questions):
        if not has_vectors:
            raise ConfigError("no model here")
        return random_vectors(questions)

    figure = script("figure_13")
    monkeypatch.setattr(figure, "embed", embed)
    found = figure.setting_figures(setting, options)
    assert ("predictor" in found["lines"]) == has_vectors
    assert ("no predictor: no model here" in capsys.readouterr().err) != has_vectors
    assert {"even", "length", "threshold", "sequential"} <= set(found["lines"])
    for spread in (row[key] for row in found["chosen"].values() for key in row):
        assert spread["least"] <= spread["mean"] <= spread["most"]


def test_a_single_step_threshold_waits_for_five(questions):
    """A threshold at every step stops nowhere before the fifth branch, and there if unanimous."""
    specs = [(script("table_4").single_step(at, CAP), CAP) for at in (0.3, 1.0)]
    loose, strict = script("_curves").replayed(questions, specs, 2)
    unanimous, tokens = 0, questions[0].tokens[0]
    assert loose.tokens[0, unanimous] == strict.tokens[0, unanimous] == 5 * tokens
    assert (loose.tokens <= strict.tokens).all()
    assert (strict.tokens[:, -1] == CAP * questions[-1].tokens[0]).all()


def test_every_row_is_chosen_twice(setting):
    """The table has the paper's rows, each chosen plainly and carefully."""
    table = script("table_4")
    found = table.table(setting, table.Aim(CAP, width=1, seeds=2, processes=1), 2)
    assert list(found["rows"]) == list(table.PAPER)
    for row in found["rows"].values():
        assert set(row) == {"plain", "careful"}


@pytest.mark.parametrize("name", ["figure_8", "figure_12", "figure_13", "table_4"])
def test_figures_are_drawn_and_told(monkeypatch, tmp_path, setting, options, capsys, name):
    """Every script draws its picture and prints a table that names the setting."""
    monkeypatch.setattr(script("figure_13"), "embed", random_vectors)
    monkeypatch.setattr(script("table_4"), "CAPS", {"toy": (CAP,)})
    monkeypatch.setattr(script(name), "open_settings", lambda names, given: [setting])
    measure = {"table_4": "tables"}.get(name, "measure")
    found = getattr(script(name), measure)(options)
    script(name).show(found)
    assert "toy" in capsys.readouterr().out
    script(name).draw(found, tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text().count(">toy") >= 1
