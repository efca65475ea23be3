"""benchmarks/model_*.py: how the figures of the card are computed, on cases counted by hand."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest

from dynasor.core.types import Generated, Usage
from dynasor.datasets import heldout


@pytest.fixture
def zones(benchmarks):
    return importlib.import_module("model_zones")


@pytest.fixture
def judge(benchmarks):
    return importlib.import_module("model_judge")


@pytest.fixture
def thinking(benchmarks):
    return importlib.import_module("model_thinking")


@pytest.fixture
def sampling(benchmarks):
    return importlib.import_module("_model")


@pytest.mark.parametrize("names", [(), ("json",), ("picture",), ("json", "picture")])
def test_only_what_is_asked_for_is_written(sampling, tmp_path, names):
    """Figures are always shown, but written and drawn only into files that were named."""
    asked = [part for name in names for part in (f"--{name}", str(tmp_path / name))]
    options = sampling.arguments("a benchmark").parse_args(asked)
    shown, found = [], {"estimate": 0.5}

    def draw(figures, target):
        target.write_text(str(figures))

    sampling.finish(options, found, shown.append, draw)
    assert shown == [found]
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    if "json" in names:
        assert json.loads((tmp_path / "json").read_text()) == found


def test_zones_are_counted(zones):
    """One easy question, one that votes settle, one that nothing helps."""
    easy, between, hopeless = heldout(3)
    asked = [
        zones.Asked(easy, [easy.answer] * 4, [10] * 4),
        zones.Asked(between, ["-1", between.answer, between.answer, None], [10] * 4),
        zones.Asked(hopeless, ["-1", "-1", "-1", "-1"], [10] * 4),
    ]
    found = zones.figures(asked)
    assert found["single"]["estimate"] == pytest.approx((4 + 2 + 0) / 12)
    assert found["majority"]["estimate"] == pytest.approx(2 / 3)
    assert found["unanimous"]["estimate"] == pytest.approx(2 / 3)
    assert found["unanimous_and_right"]["estimate"] == pytest.approx(1 / 3)
    assert found["never_right"]["estimate"] == pytest.approx(1 / 3)
    assert found["no_answer"] == pytest.approx(1 / 12)
    assert found["majority_of"][0] == pytest.approx(0.5, abs=0.1)
    assert found["majority_of"][-1] == pytest.approx(2 / 3, abs=0.01)


def test_ties_go_to_the_earlier_vote(zones):
    """With one vote each, the answer that came first is the majority's."""
    (problem,) = heldout(1)
    order = np.arange(2)
    assert zones.Asked(problem, [problem.answer, "-1"], [1, 1]).votes_right(order)[-1] == 1
    assert zones.Asked(problem, ["-1", problem.answer], [1, 1]).votes_right(order)[-1] == 0


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [([0.9, 0.8], [0.1], 1.0), ([0.1], [0.9], 0.0), ([0.5], [0.5], 0.5), ([0.9, 0.3], [0.5], 0.5)],
)
def test_auc(judge, right, wrong, expected):
    """The AUC is the share of pairs in which the right one has more; a tie is half a pair."""
    labels = np.array([True] * len(right) + [False] * len(wrong))
    assert judge.auc(labels, np.array(right + wrong)) == pytest.approx(expected)


def test_auc_of_one_side_alone(judge):
    """Without a wrong part there is nothing to rank."""
    assert np.isnan(judge.auc(np.array([True, True]), np.array([0.1, 0.2])))


def test_parts_of_a_solution(judge):
    """A solution is cut after every line; parts that two solutions share are one, counted twice."""
    (problem,) = heldout(1)
    right = problem.solution
    wrong = right.replace("=", "=9", 1)
    parts = judge.parts_of(7, problem, [right, wrong, right + "\n"])
    assert {part.text for part in parts if part.is_right} == {
        "\n".join(right.split("\n")[:end]) for end in range(1, len(right.split("\n")) + 1)
    }
    assert all(part.question == 7 for part in parts)
    assert sum(part.is_whole for part in parts) == 2
    assert sorted({(part.is_right, part.count) for part in parts}) == [(False, 1), (True, 2)]


def test_probes(thinking):
    """A probe is right where its number is, and ill-formed where there is none."""
    (problem,) = heldout(1)
    usage = Usage(1, 1)
    thought = thinking.Thought(problem, ["a", "b", "c"], f"\\boxed{{{problem.answer}}}", 5)
    probed = [Generated("7}.", usage)] * 8
    probed += [Generated("no idea", usage), Generated(f"{problem.answer}}}.", usage)]
    found = thinking.figures([thought], probed, [Generated("\\boxed{-1}", usage)])
    assert [value["estimate"] for value in found["probed"]] == [0.0] * 9 + [1.0]
    assert found["well_formed"] == pytest.approx(0.9)
    assert found["final"]["estimate"] == 1.0
    assert found["plain"]["estimate"] == 0.0


def test_probe_keeps_a_share_of_the_tokens(thinking):
    """Half of a trace's tokens, then the words that ask for the answer."""
    (problem,) = heldout(1)
    thought = thinking.Thought(problem, list("abcd"), None, 4)
    assert thinking.probe(thought, 0.5).prompt.prefix == "ab" + thinking.PROBE
    assert thinking.probe(thought, 1.0).prompt.prefix == "abcd" + thinking.PROBE
