"""The examples do what is recorded beside them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
ON_THE_ENGINE = {"own_policy": [pytest.mark.engine, pytest.mark.slow]}
# Calls side by side meet in other batches each time, and what is sampled may differ in a digit.
SAMPLED = ("best_of_n", "rebase", "mcts", "chain_of_thought")
RECORDED = sorted(path.stem for path in EXAMPLES.glob("*.out") if path.stem not in SAMPLED)


def run(name, folder):
    """Run an example as a user does; return what it printed."""
    settings = {name: value for name, value in os.environ.items() if name[:8] != "DYNASOR_"}
    ended = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**settings, "PYTHONPATH": str(EXAMPLES.parent / "src")},
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=ON_THE_ENGINE.get(name, ())) for name in RECORDED]
)
def test_recorded_output(name, tmp_path):
    """An example prints what is recorded beside it, to the letter."""
    assert run(name, tmp_path) == (EXAMPLES / f"{name}.out").read_text()


def test_what_is_recorded():
    """The examples of an algorithm and of a policy of one's own are among the recorded ones."""
    assert {"own_program", "own_policy"} <= set(RECORDED)


def test_every_example_is_run():
    """No example stands there that nobody runs."""
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*RECORDED, *SAMPLED, "ask"}


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLED)
def test_sampled_output(name, tmp_path):
    """An example of a family prints the lines that are recorded beside it, as they begin."""
    said, recorded = run(name, tmp_path), (EXAMPLES / f"{name}.out").read_text()
    assert beginnings(said) == beginnings(recorded)


def beginnings(text):
    """Return the first word of every line."""
    return [line.split()[0] for line in text.splitlines()]


@pytest.mark.engine
@pytest.mark.slow
def test_ask(tmp_path):
    """The example on the embedded engine answers both of its questions."""
    said = run("ask", tmp_path)
    assert (
        "A shop has 12 boxes. It gets 7 more. How many boxes are there now?\n  answer 19," in said
    )
    assert "Mia has 9 coins. She gets 4 more on each of 6 days." in said
    assert said.count("of 20 branches, ") == 2
