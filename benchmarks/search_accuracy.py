"""Accuracy over tokens of the searches and of self-consistency, live, on held-out problems.

    scripts/bench search_accuracy [--rewards confidence] [--judge ENGINE] [--program rebase]
                                  [--json FILE] [--picture FILE] [--work DIR]

All programs run under even allocation, each problem once a seed. Columns are means a question:
`tokens` sampled, `prompt` tokens of these calls, `judge` tokens (what the reward engine read, and
its one token an answer), `calls` of both kinds, and wall `seconds` with `--live` problems at once.
Accuracy: 95 % bootstrap over questions, seeds averaged. `beyond SC` is the accuracy minus that of
self-consistency's curve at as many sampled tokens, paired by question; beyond its largest cap the
curve stays where it ends. Self-consistency pays no judge: compare that column too.

A smaller knob of self-consistency, best-of-n and MCTS (whose iterations run one after the other
here) is the first units of the largest: it is read off that run, and has no seconds of its own; a
text that several branches share is judged once, so that its judge tokens are those of one of them.
Every width of Rebase and beam search is a run. `best` and `vote` are read off the same run. Where
`own` is above 0, so many runs answered otherwise than their row: paths that are worth the same
are ranked by their units here, and by their endings in a live run.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from _alternating import (
    EVEN,
    TASK,
    Cell,
    Numbers,
    alternate,
    arguments,
    change,
    column,
    conditions,
    evaluation,
    row_mean,
    spoken,
)
from _figures import figure, save
from _script import finish
from _searches import REWARDS, search_params
from _watched import WATCHED, Found, answer_of, as_found, spent
from _work import Work
from dynasor.core.types import PolicySpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SC, MCTS = "self-consistency", "mcts"
KNOBS = {
    SC: (5, 10, 15, 20),
    "best-of-n": (4, 8, 16),
    MCTS: (3, 7, 10, 15, 20),
    "rebase": (16, 32, 64, 128),
    "beam": (8, 16),
}
"""The paper's (table 2), and ours for what it does not have."""
WIDEST = 128
ONE_BY_ONE = PolicySpec("even", {"in_flight": 1}, has_lock=False)
CHOOSE = ("best", "vote")
COLOURS = {
    SC: ("#777777", "o"),
    "best-of-n": ("#d99a2b", "^"),
    MCTS: ("#4c9a6a", "s"),
    "rebase": ("#1769aa", "P"),
    "beam": ("#b5534c", "v"),
}
TICKS = (50, 100, 200, 500, 1000, 2000, 5000, 10_000)
BILLED = ("tokens", "prompt_tokens", "judge_tokens")

Runs = list[list[Found]]
"""What was found of every question under every seed: `[question][seed]`."""


def cells(
    programs: Sequence[str], rewards: str = "model", widest: int = WIDEST
) -> dict[tuple[str, int], Cell]:
    """Return what must run, by program and knob: the largest knob where it holds the others.

    Of what has a run for each width, none is wider than `widest`.
    """
    found: dict[tuple[str, int], Cell] = {}
    for name in programs:
        kind = WATCHED[name]
        widths = [knob for knob in KNOBS[name] if knob <= widest]
        for knob in KNOBS[name][-1:] if kind.is_prefixed else widths:
            policy = ONE_BY_ONE if name == MCTS else EVEN
            found[name, knob] = Cell(f"{name} {knob}", maker(name, knob, rewards), policy)
    return found


def maker(name: str, knob: int, rewards: str) -> Any:
    """Return what makes a program of a question."""
    params = search_params(name, rewards)
    return lambda question: WATCHED[name](question, task=TASK, cap=knob, **params)


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run what is missing, and sum up."""
    problems = evaluation(options.questions)
    programs = [name for name in KNOBS if name in (options.program or KNOBS)]
    asked = cells(programs, options.rewards, options.widest)
    same = {**conditions(options), "rewards": options.rewards}
    with Work(options.work, "runs", same, Found) as work:
        await alternate(list(asked.values()), problems, options, work, as_found)
        runs = {
            where: [
                [work[cell.label, seed, one.id] for seed in range(options.seeds)]
                for one in problems
            ]
            for where, cell in asked.items()
        }
    return {
        "questions": len(problems),
        "seeds": options.seeds,
        "live": options.live,
        "engine": options.engine,
        "judge": options.judge or options.engine,
        "rewards": options.rewards,
        "rows": rows(runs),
        "notes": dict(sum((noted(found) for found in runs.values()), Counter())),
    }


def noted(runs: Runs) -> Counter[str]:
    """Count what was borne with."""
    return sum((Counter(found.notes) for row in runs for found in row), Counter())


def rows(runs: dict[tuple[str, int], Runs]) -> list[dict[str, Any]]:
    """Return one row a program, knob and way to choose."""
    whole = next((found for (name, _), found in runs.items() if name == SC), None)
    curve = None if whole is None else sc_curve(whole)
    return [
        row(name, knob, choose, found, curve)
        for (name, ran), found in runs.items()
        for knob in (KNOBS[name] if WATCHED[name].is_prefixed else (ran,))
        for choose in (("vote",) if name == SC else CHOOSE)
    ]


def row(
    name: str, knob: int, choose: str, runs: Runs, curve: tuple[Numbers, Numbers] | None
) -> dict[str, Any]:
    """Return the figures of a program at a knob."""
    ran = KNOBS[name][-1] if WATCHED[name].is_prefixed else knob
    right = rightness(runs, choose, knob)
    bills = [[spent(found, knob) for found in line] for line in runs]
    billed = {
        key: float(column([[getattr(bill, key) for bill in line] for line in bills]).mean())
        for key in BILLED
    }
    calls = column([[bill.calls + bill.judge_calls for bill in line] for line in bills])
    seconds = column([[found.seconds for found in line] for line in runs])
    own = [answer_of(found, choose) == found.own for line in runs for found in line]
    is_usual = choose == getattr(WATCHED[name], "choose", "vote")
    return {
        "program": name,
        "choose": choose,
        "knob": knob,
        "ran": ran,
        "accuracy": row_mean(right),
        **billed,
        "calls": float(calls.mean()),
        "seconds": float(seconds.mean()) if ran == knob else None,
        "own": own.count(False) if is_usual and ran == knob else 0,
        "beyond_sc": None
        if curve is None or name == SC
        else change(right, at_tokens(curve, billed["tokens"])),
    }


def rightness(runs: Runs, choose: str, knob: int) -> Numbers:
    """Return how often each question is answered right at a knob, in [0, 1]."""
    return column(
        [[answer_of(found, choose, knob) in found.right for found in row] for row in runs]
    )


def sc_curve(runs: Runs) -> tuple[Numbers, Numbers]:
    """Return self-consistency's mean tokens by cap, and its rightness by cap and question."""
    caps = range(1, KNOBS[SC][-1] + 1)
    tokens = [np.mean([[spent(one, cap).tokens for one in row] for row in runs]) for cap in caps]
    return np.array(tokens), np.array([rightness(runs, "vote", cap) for cap in caps])


def at_tokens(curve: tuple[Numbers, Numbers], tokens: float) -> Numbers:
    """Return each question's rightness on a curve at so many tokens, between two caps in part."""
    spends, right = curve
    place = float(np.interp(tokens, spends, np.arange(len(spends))))
    low = int(place)
    high = min(low + 1, len(spends) - 1)
    return right[low] + (place - low) * (right[high] - right[low])


def show(found: dict[str, Any]) -> None:
    """Print the table as Markdown."""
    print(
        f"{found['questions']} problems, {found['seeds']} seeds, engine {found['engine']}, rewards "
        f"from {found['rewards']}, judge {found['judge']}, {found['live']} problems at once; "
        "means a question\n"
    )
    heads = ("program", "knob", "answer", "accuracy %", "tokens", "prompt", "judge", "calls")
    heads = (*heads, "seconds", "beyond SC, points", "own")
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for one in found["rows"]:
        seconds = "" if one["seconds"] is None else f"{one['seconds']:.2f}"
        beyond = "" if one["beyond_sc"] is None else spoken(one["beyond_sc"], "+")
        cells = (
            one["program"],
            one["knob"],
            one["choose"],
            spoken(one["accuracy"]),
            *(f"{one[key]:.0f}" for key in (*BILLED, "calls")),
            seconds,
            beyond,
            one["own"],
        )
        print(f"| {' | '.join(map(str, cells))} |")
    print(f"\nborne with: {found['notes'] or 'nothing'}")


def draw(found: dict[str, Any], target: Path) -> None:
    """Draw accuracy over sampled tokens, and over those with the judge's."""
    drawn, panels = figure(columns=2, size=(9.5, 4), sharey=True)
    words = ("tokens sampled", "tokens sampled, and the judge's")
    for axes, keys, label in zip(panels, (BILLED[:1], BILLED[::2]), words, strict=True):
        for name in dict.fromkeys(one["program"] for one in found["rows"]):
            for choose in CHOOSE:
                lines = [
                    one
                    for one in found["rows"]
                    if (one["program"], one["choose"]) == (name, choose)
                ]
                _line(axes, name, choose, lines, keys)
        axes.set(xscale="log", xlabel=f"{label}, a question")
        low, high = axes.get_xlim()
        ticks = [tick for tick in TICKS if low <= tick <= high]
        axes.minorticks_off()
        axes.set_xticks(ticks, labels=[f"{tick:,}" for tick in ticks])
    panels[0].set_ylabel("accuracy, %")
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    save(drawn, target)


def _line(
    axes: Axes, name: str, choose: str, lines: list[dict[str, Any]], keys: tuple[str, ...]
) -> None:
    if not lines:
        return
    colour, marker = COLOURS[name]
    accuracy = np.array(
        [[one["accuracy"][key] for key in ("estimate", "low", "high")] for one in lines]
    )
    middle = 100 * accuracy[:, 0]
    axes.errorbar(
        [sum(one[key] for key in keys) for one in lines],
        middle,
        np.abs(100 * accuracy[:, 1:].T - middle),
        color=colour,
        marker=marker,
        linestyle="-" if choose == "vote" else ":",
        markersize=4,
        elinewidth=0.5,
        label=f"{name}, {choose}",
    )


def main() -> None:
    """Measure, print, write and draw."""
    parser = arguments((__doc__ or "").split("\n", 1)[0], "search_accuracy")
    parser.add_argument("--judge", help="reward engine: URL or GGUF file; the engine if left out")
    parser.add_argument(
        "--rewards", choices=REWARDS, default="model", help="where rewards come from"
    )
    parser.add_argument("--program", action="append", choices=KNOBS, help="only this one")
    parser.add_argument(
        "--widest", type=int, default=WIDEST, help="of the widths of rebase and beam"
    )
    options = parser.parse_args()
    finish(options, asyncio.run(measure(options)), show, draw)


if __name__ == "__main__":
    main()
