"""benchmarks/_alternating.py: who thinks when, on what, and what is compared with what."""

from __future__ import annotations

import argparse
import importlib

import numpy as np
import pytest

from dynasor.core.program import Program
from dynasor.core.types import Answer


class Echo(Program):
    """Answers at once, with its question's last word."""

    name = "echo"

    def execute(self, context):
        yield from ()

    def update_certaindex(self):
        return {}

    def answer(self):
        word = self.question.split()[-1]
        return Answer(word, word)


@pytest.fixture
def alternating(benchmarks):
    return importlib.import_module("_alternating")


@pytest.fixture
def options(alternating, tmp_path):
    """Return the options of a script, its work in a folder of the test."""
    parser = alternating.arguments("a benchmark", "runs")
    return parser.parse_args(["--work", str(tmp_path), "--seeds", "2", "--block", "2"])


@pytest.mark.slow
def test_those_who_judge_do_not_calibrate(alternating):
    """No problem is in both; the first ones are the same, however many are asked for."""
    judges, others = alternating.evaluation(200), alternating.calibration(4)
    assert len({one.id for one in judges + others}) == 204
    assert alternating.evaluation(3) == judges[:3]
    assert alternating.calibration(2) == others[:2]


@pytest.mark.parametrize(("ask", "counts"), [("evaluation", (0, 201)), ("calibration", (1, 1801))])
def test_too_many_problems(alternating, ask, counts):
    """A number of problems that there is not ends the script with one line."""
    for count in counts:
        with pytest.raises(SystemExit, match=f"is {count}; expected"):
            getattr(alternating, ask)(count)


def test_the_order_rotates(alternating):
    """Each block begins with the next program, and every one has its turn."""
    orders = [list(alternating.rotated("abc", number)) for number in range(4)]
    assert [*map("".join, orders)] == ["abc", "bca", "cab", "abc"]


def test_savings_are_of_sums(alternating):
    """What is saved is a share of all that the others took; changes are means of differences."""
    own, other = np.array([1.0, 2.0]), np.array([2.0, 4.0])
    assert alternating.saved(own, other)["estimate"] == pytest.approx(0.5)
    assert alternating.change(own, other)["estimate"] == pytest.approx(-1.5)
    assert alternating.row_mean(own)["estimate"] == pytest.approx(1.5)
    assert alternating.column([[1, 0], [1, 1]]).tolist() == [0.5, 1.0]
    assert alternating.spoken({"estimate": 0.5, "low": -0.25, "high": 1.0}, "+") == (
        "+50.0 [-25.0, +100.0]"
    )


@pytest.mark.engine
@pytest.mark.slow
async def test_a_killed_run_goes_on(alternating, options, capsys):
    """What the work file has is not run again, and what it lacks is, in blocks by turns."""
    work = importlib.import_module("_work")
    problems = alternating.evaluation(3)
    cells = [alternating.Cell(name, Echo, alternating.EVEN) for name in ("left", "right")]
    graded = []

    async def judge(dynasor, problem, result, seconds):
        graded.append((problem.id, dynasor.settings.seed))
        if len(graded) == 5:
            raise KeyboardInterrupt
        return result.answer

    with work.Work(options.work, "runs", alternating.conditions(options), str) as first:
        with pytest.raises(KeyboardInterrupt):
            await alternating.alternate(cells, problems, options, first, judge)
        assert len(first) == 4
    with work.Work(options.work, "runs", alternating.conditions(options), str) as again:
        await alternating.alternate(cells, problems, options, again, judge)
        assert len(again) == 2 * 2 * 3
        assert again["left", 1, problems[2].id] == problems[2].question.split()[-1]
    assert len(graded) == 13
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(", ")[2].partition(" in ")[0] for line in told[:3]] == [
        "seed 0, left: 2 problems",
        "seed 0, right: 2 problems",
        "seed 0, right: 1 problems",
    ]


def test_conditions_name_the_judge(alternating, options):
    """Another judge is another condition; who has none says so."""
    assert alternating.conditions(options)["judge"] is None
    told = argparse.Namespace(**vars(options), judge="a.gguf")
    assert alternating.conditions(told)["judge"] == "a.gguf"
    assert alternating.settings(told, 3).reward_engine == ["a.gguf"]
    assert alternating.settings(told, 3).seed == 3
