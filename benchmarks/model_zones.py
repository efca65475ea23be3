"""How the embedded model solves: single samples, majorities, and the three zones of figure 1.

    scripts/bench model_zones [--questions 500] [--samples 20] [--json FILE] [--picture FILE]

Held-out problems, temperature 0.7. A question is *easy* where all samples agree on the right
answer, *hopeless* where none is right; in between, more samples help. Intervals: 95 %, bootstrap
over questions.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from _figures import figure, save
from _model import answer_of, arguments, at_once, finish, generate, mean, sampler, started
from dynasor.core.types import Generated
from dynasor.datasets import Problem, heldout

EASY, BETWEEN, HOPELESS = "#4c9a6a", "#e8d9a8", "#b5534c"
SHUFFLES = 50


@dataclass(frozen=True, slots=True)
class Asked:
    """One problem with the answers and lengths (in tokens) of its samples."""

    problem: Problem
    answers: list[str | None]
    tokens: list[int]

    @property
    def right(self) -> int:
        return sum(answer == self.problem.answer for answer in self.answers)

    @property
    def is_unanimous(self) -> bool:
        return len(set(self.answers)) == 1

    def votes_right(self, order: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Tell for each count of votes, in this order, whether their majority is right."""
        votes: Counter[str] = Counter()
        found = np.zeros(len(order))
        for at, index in enumerate(order):
            answer = self.answers[index]
            if answer is not None:
                votes[answer] += 1
            # most_common keeps the order of first votes, so the earlier answer wins a tie.
            found[at] = bool(votes) and votes.most_common(1)[0][0] == self.problem.answer
        return found


async def measure(options: argparse.Namespace) -> list[Asked]:
    """Sample every problem."""
    problems = heldout(options.questions)
    works = [generate(p, seed) for p in problems for seed in range(options.samples)]
    async with started(options.engine, threads=options.threads) as (engine, description):
        drawn = await at_once(description.slots, sampler(engine), works, "sampling")
    rows: list[list[Generated]] = [
        drawn[at : at + options.samples] for at in range(0, len(drawn), options.samples)
    ]
    return [
        Asked(p, [answer_of(s.text) for s in row], [s.usage.completion_tokens for s in row])
        for p, row in zip(problems, rows, strict=True)
    ]


def figures(asked: list[Asked]) -> dict[str, Any]:
    """Sum up; all shares are of questions, but for single samples and those without an answer."""
    samples = len(asked[0].answers)
    order = np.arange(samples)
    single = [a.right / samples for a in asked]
    majority = [float(a.votes_right(order)[-1]) for a in asked]
    rng = np.random.default_rng(0)
    curves = [
        np.mean([a.votes_right(rng.permutation(samples)) for _ in range(SHUFFLES)], axis=0)
        for a in asked
    ]
    return {
        "questions": len(asked),
        "samples": samples,
        "single": mean(single),
        "majority": mean(majority),
        "gain": mean((np.array(majority) - np.array(single)).tolist()),
        "unanimous": mean([float(a.is_unanimous) for a in asked]),
        "unanimous_and_right": mean([float(a.right == samples) for a in asked]),
        "never_right": mean([float(a.right == 0) for a in asked]),
        "no_answer": float(np.mean([answer is None for a in asked for answer in a.answers])),
        "tokens_per_sample": float(np.mean([a.tokens for a in asked])),
        "majority_of": np.mean(curves, axis=0).tolist(),
        "right_of_samples": [a.right for a in asked],
        "by_steps": {
            str(steps): row(group, samples)
            for steps in sorted({a.problem.steps for a in asked})
            if (group := [a for a in asked if a.problem.steps == steps])
        },
    }


def row(group: list[Asked], samples: int) -> dict[str, float]:
    """Sum up the problems of one length."""
    order = np.arange(samples)
    return {
        "questions": len(group),
        "single": float(np.mean([a.right / samples for a in group])),
        "majority": float(np.mean([a.votes_right(order)[-1] for a in group])),
        "unanimous": float(np.mean([a.is_unanimous for a in group])),
        "never_right": float(np.mean([a.right == 0 for a in group])),
    }


def show(found: dict[str, Any]) -> None:
    """Print the figures for people."""
    print(f"{found['questions']} held-out problems, {found['samples']} samples each")
    keys = ("single", "majority", "gain", "unanimous", "unanimous_and_right", "never_right")
    for key in keys:
        value = found[key]
        print(f"{key:>20} {value['estimate']:.3f} [{value['low']:.3f}, {value['high']:.3f}]")
    print(f"{'no_answer':>20} {found['no_answer']:.4f}")
    print(f"{'tokens_per_sample':>20} {found['tokens_per_sample']:.1f}")
    print(f"{'steps':>20} single majority unanimous never_right")
    for steps, values in found["by_steps"].items():
        print(
            f"{steps:>20} {values['single']:.2f}   {values['majority']:.2f}     "
            f"{values['unanimous']:.2f}      {values['never_right']:.2f}"
        )


def draw(found: dict[str, Any], target: Path) -> None:
    """Draw the scaling curve between its zones, and how often each question is answered right."""
    drawn, (left, right) = figure(columns=2, size=(9, 3.4))
    samples, tokens = found["samples"], found["tokens_per_sample"]
    easy = found["unanimous_and_right"]["estimate"]
    hopeless = found["never_right"]["estimate"]
    spent = tokens * np.arange(1, samples + 1)
    left.axhspan(0, easy, color=EASY, alpha=0.35, linewidth=0)
    left.axhspan(easy, 1 - hopeless, color=BETWEEN, alpha=0.35, linewidth=0)
    left.axhspan(1 - hopeless, 1, color=HOPELESS, alpha=0.35, linewidth=0)
    left.plot(spent, found["majority_of"], color="#1769aa", marker="o", markersize=3)
    for height, text in (
        (easy / 2, f"easy: all {samples} samples right ({easy:.0%} of the questions)"),
        ((easy + found["majority_of"][0]) / 2, "more samples help"),
        (1 - hopeless / 2, f"hopeless: none of {samples} right ({hopeless:.0%})"),
    ):
        left.text(spent[-1], height, text, ha="right", va="center", fontsize=9)
    left.set(xlabel="tokens spent on a question", ylabel="majority is right", ylim=(0, 1))
    counts = np.bincount(found["right_of_samples"], minlength=samples + 1)
    colours = [HOPELESS] + [BETWEEN] * (samples - 1) + [EASY]
    right.bar(range(samples + 1), counts, color=colours, edgecolor="#555555", linewidth=0.4)
    right.set(xlabel=f"right answers in {samples} samples", ylabel="questions")
    save(drawn, target)


def main() -> None:
    """Measure, print, write and draw."""
    parser = arguments(__doc__.split("\n", 1)[0])
    parser.add_argument("--samples", type=int, default=20)
    options = parser.parse_args()
    finish(options, figures(asyncio.run(measure(options))), show, draw)


if __name__ == "__main__":
    main()
