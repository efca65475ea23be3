"""How the embedded model judges its own partial solutions: AUC of its rewards.

    scripts/bench model_judge [--questions 500] [--samples 3] [--json FILE] [--picture FILE]

Solutions of held-out problems are sampled at temperature 0.7 and cut after every line; a partial
solution is right when its lines are those of the worked solution. The AUC is the chance that a
right one has a higher reward than a wrong one (ties count half): of all parts as they were sampled,
and of the distinct ones. Intervals: 95 %, bootstrap over questions.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from _figures import figure, save
from _model import arguments, at_once, finish, generate, prompt, sampler, started
from dynasor.core.types import Score
from dynasor.datasets import Problem, heldout
from dynasor.datasets.arithmetic.slips import grade
from dynasor.engines.protocol import Meter

RESAMPLES = 1000
RIGHT, WRONG = "#4c9a6a", "#b5534c"


@dataclass(frozen=True, slots=True)
class Part:
    """One partial solution of question `question`, `lines` lines long, sampled `count` times."""

    question: int
    text: str
    lines: int
    is_right: bool
    is_whole: bool
    count: int


async def measure(options: argparse.Namespace) -> tuple[list[Part], list[float]]:
    """Sample solutions, cut them and have every part judged."""
    problems = heldout(options.questions)
    works = [generate(p, seed) for p in problems for seed in range(options.samples)]
    async with started(options.engine, threads=options.threads) as (engine, description):
        drawn = await at_once(description.slots, sampler(engine), works, "sampling")
        texts: dict[int, list[str]] = defaultdict(list)
        for index, generated in enumerate(drawn):
            texts[index // options.samples].append(generated.text)
        parts = [part for q, found in texts.items() for part in parts_of(q, problems[q], found)]

        async def judge(part: Part) -> float:
            item = prompt(problems[part.question], prefix=part.text)
            return (await engine.score(Score((item,)), Meter())).rewards[0]

        return parts, await at_once(description.slots, judge, parts, "judging")


def parts_of(question: int, problem: Problem, texts: list[str]) -> list[Part]:
    """Cut solutions after every line, and count equal parts."""
    found: Counter[tuple[str, int, bool, bool]] = Counter()
    for text in texts:
        lines = text.strip().split("\n")
        for end, is_right in enumerate(grade(problem, lines).is_right, 1):
            found["\n".join(lines[:end]), end, is_right, end == len(lines)] += 1
    return [Part(question, *part, count) for part, count in found.items()]


def auc(is_right: np.ndarray[Any, Any], rewards: np.ndarray[Any, Any]) -> float:
    """Return the area under the ROC curve (Mann and Whitney, 1947); nan where one side is empty."""
    good = int(is_right.sum())
    bad = len(is_right) - good
    if not good or not bad:
        return float("nan")
    return float((rankdata(rewards)[is_right].sum() - good * (good + 1) / 2) / (good * bad))


def interval(
    is_right: np.ndarray[Any, Any], rewards: np.ndarray[Any, Any], questions: np.ndarray[Any, Any]
) -> dict[str, float]:
    """Return the AUC with its interval, whole questions drawn anew."""
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(questions == q) for q in np.unique(questions)]
    values = []
    for _ in range(RESAMPLES):
        drawn = np.concatenate([rows[i] for i in rng.integers(0, len(rows), len(rows))])
        values.append(auc(is_right[drawn], rewards[drawn]))
    low, high = np.nanquantile(values, [0.025, 0.975])
    return {"estimate": auc(is_right, rewards), "low": float(low), "high": float(high)}


def within(
    is_right: np.ndarray[Any, Any], rewards: np.ndarray[Any, Any], groups: np.ndarray[Any, Any]
) -> float:
    """Return the AUC over pairs of one group alone."""
    pairs = above = 0.0
    for group in np.unique(groups):
        mine = groups == group
        good = int(is_right[mine].sum())
        count = good * (int(mine.sum()) - good)
        if count:
            pairs += count
            above += count * auc(is_right[mine], rewards[mine])
    return above / pairs if pairs else float("nan")


def figures(parts: list[Part], rewards: list[float]) -> dict[str, Any]:
    """Compare rewards of right and wrong parts."""
    right = np.array([part.is_right for part in parts])
    whole = np.array([part.is_whole for part in parts])
    question = np.array([part.question for part in parts])
    reward = np.array(rewards)
    siblings = question * 100 + np.array([part.lines for part in parts])
    longest = max(part.lines for part in parts)
    sampled = np.repeat(np.arange(len(parts)), [part.count for part in parts])
    return {
        "parts": len(sampled),
        "distinct": len(parts),
        "questions": len(np.unique(question)),
        "right": float(right[sampled].mean()),
        "auc": interval(right[sampled], reward[sampled], question[sampled]),
        "auc_distinct": interval(right, reward, question),
        "auc_partial": interval(right[~whole], reward[~whole], question[~whole]),
        "auc_whole": interval(right[whole], reward[whole], question[whole]),
        "auc_same_question_and_length": within(right, reward, siblings),
        "by_lines": {
            str(n): auc(right[mine], reward[mine])
            for n in range(1, longest + 1)
            if 0 < right[mine := np.array([p.lines == n for p in parts])].sum() < mine.sum()
        },
        **{
            name: np.histogram(reward[sampled][mine], bins=20, range=(0, 1))[0].tolist()
            for name, mine in (
                ("rewards_right", right[sampled]),
                ("rewards_wrong", ~right[sampled]),
            )
        },
    }


def show(found: dict[str, Any]) -> None:
    """Print the figures for people."""
    print(
        f"{found['parts']} parts ({found['distinct']} distinct) of the model's own solutions to "
        f"{found['questions']} held-out problems, {found['right']:.1%} right"
    )
    for key in ("auc", "auc_distinct", "auc_partial", "auc_whole"):
        value = found[key]
        print(f"{key:>28} {value['estimate']:.3f} [{value['low']:.3f}, {value['high']:.3f}]")
    key = "auc_same_question_and_length"
    print(f"{key:>28} {found[key]:.3f}")
    for lines, value in found["by_lines"].items():
        print(f"{lines:>22} lines {value:.3f}")


def draw(found: dict[str, Any], target: Path) -> None:
    """Draw the rewards of right and of wrong parts."""
    drawn, (axes,) = figure()
    edges = np.linspace(0, 1, 21)
    for key, colour in (("right", RIGHT), ("wrong", WRONG)):
        counts = np.array(found[f"rewards_{key}"])
        axes.stairs(counts / counts.sum(), edges, fill=True, color=colour, alpha=0.5, label=key)
    axes.set(xlabel="reward of a partial solution", ylabel="share of the right, of the wrong")
    axes.legend(frameon=False, title=f"AUC {found['auc']['estimate']:.3f}")
    save(drawn, target)


def main() -> None:
    """Measure, print, write and draw."""
    parser = arguments(__doc__.split("\n", 1)[0])
    parser.add_argument("--samples", type=int, default=3)
    options = parser.parse_args()
    finish(options, figures(*asyncio.run(measure(options))), show, draw)


if __name__ == "__main__":
    main()
