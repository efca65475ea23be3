"""Every policy on every recorded trace, with parameters chosen on other questions.

    scripts/bench held_out [--run-code] [--json docs/offline/held_out.json]

Ten random halves: a policy's parameters are chosen on one, to save most tokens while losing at
most 0.1 points of accuracy against even allocation, and judged on the other. `even+lock` and the
default parameters of each policy need no choice; they are judged on the same halves. The spread
is over the ten halves; they overlap, so it is no confidence interval, and `questions` is one: 95 %,
bootstrap over the judged questions of the first half.

Skylines are fitted anew for every half. All outcomes come out of the shipping scheduler.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from _offline import Setting, arguments, open_settings
from dynasor.calibrate import CALIBRATED, Aim, Chosen, calibrate_splits, halves, measure
from dynasor.core.types import PolicySpec
from dynasor.evaluate.offline import compare, means, with_width
from dynasor.evaluate.oracle import oracle
from dynasor.evaluate.replay import Job, replay_all

CAPS = {
    "svamp-codex": (10, 20, 30),
    "math500-llama3.1-8b": (20, 45),
    "humaneval-codegen16b": (20, 30),
    "game24-gpt4": (20, 30),
}
SPLITS = 10
SEEDS = {"svamp-codex": 2}
"""Shuffles where questions are many; five elsewhere."""
FIXED = {
    "even+lock": PolicySpec("even", {}, has_lock=True),
    "threshold, the paper's": PolicySpec("threshold", {}, has_lock=False),
    "beta, defaults": PolicySpec("beta", {}, has_lock=False),
    "sequential, defaults": PolicySpec("sequential", {}, has_lock=False),
}


def measured(setting: Setting, cap: int, width: int | None, options: argparse.Namespace) -> Any:
    """Return one setting's rows at one cap and width."""
    seeds = SEEDS.get(setting.name, 5)
    aim = Aim(cap=cap, width=width, seeds=seeds, processes=options.processes)
    table = measure(setting.questions, CALIBRATED, aim)
    rows = {
        f"{name}, calibrated": spread(calibrate_splits(table, name, SPLITS)) for name in CALIBRATED
    }
    rows |= fixed_rows(setting, aim, options.processes)
    return {"trace": setting.name, "cap": cap, "width": width, "seeds": seeds, "rows": rows}


def spread(chosen: list[Chosen]) -> dict[str, Any]:
    """Sum up one policy over the halves."""
    row = summary([one.judged for one in chosen])
    row["fitted_saved"] = fmean(one.fitted.saved.estimate for one in chosen)
    row["chosen"] = [shown(one.spec) for one in chosen]
    return row


def summary(judged: list[Any]) -> dict[str, Any]:
    """Return means and ranges over the halves, and the first half's intervals."""
    saved = [one.saved.estimate for one in judged]
    change = [one.accuracy_change.estimate for one in judged]
    return {
        "saved": [fmean(saved), min(saved), max(saved)],
        "change": [fmean(change), min(change), max(change)],
        "questions": {
            "saved": asdict_of(judged[0].saved),
            "change": asdict_of(judged[0].accuracy_change),
        },
        "accuracy": fmean(one.accuracy.estimate for one in judged),
        "branches": fmean(one.knob for one in judged),
    }


def asdict_of(interval: Any) -> list[float]:
    """Return an interval as three numbers."""
    return [interval.estimate, interval.low, interval.high]


def shown(spec: PolicySpec) -> dict[str, Any]:
    """Return a policy's parameters, a skyline's curves by their number only."""
    return {
        key: f"{len(value)} curves" if key == "curves" else value
        for key, value in spec.params.items()
    }


def fixed_rows(setting: Setting, aim: Aim, processes: int | None) -> dict[str, Any]:
    """Return the rows that need no choice, and the oracle, judged on the same halves."""
    even = PolicySpec("even", has_lock=False)
    jobs = [Job(with_width(spec, aim.width), aim.cap) for spec in (even, *FIXED.values())]
    seeds = range(aim.seeds)
    found = [means(one) for one in replay_all(setting.questions, jobs, seeds, processes)]
    found.append(means([oracle(setting.questions, aim.cap, seed) for seed in seeds]))
    rows = {}
    for name, own in zip((*FIXED, "oracle"), found[1:], strict=True):
        judged = []
        for split in range(SPLITS):
            _, places = halves(len(setting.questions), split)
            pair = (own.at(places), found[0].at(places))
            judged.append(compare(name, aim.cap, aim.width, *pair))
        rows[name] = summary(judged)
    return rows


def show(found: list[dict[str, Any]]) -> None:
    """Print one table a setting, as Markdown: it goes into the documents as it is."""
    for one in found:
        width = "all" if one["width"] is None else one["width"]
        print(f"\n**{one['trace']}, cap {one['cap']}, {width} in flight**\n")
        print("| policy | saved % | accuracy change, points | branches |")
        print("|---|---|---|---|")
        for name, row in one["rows"].items():
            saved, change = np.array(row["saved"]) * 100, np.array(row["change"]) * 100
            print(
                f"| {name} | {saved[0]:.1f} [{saved[1]:.1f}, {saved[2]:.1f}] | "
                f"{change[0]:+.2f} [{change[1]:+.2f}, {change[2]:+.2f}] | {row['branches']:.1f} |"
            )


def main() -> None:
    """Measure what is not in the JSON file yet, print, write."""
    parser = arguments((__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--width", type=int, action="append", help="branches in flight; 1 and 4")
    options = parser.parse_args()
    path: Path | None = options.json
    found = json.loads(path.read_text()) if path is not None and path.is_file() else []
    known = {(one["trace"], one["cap"], one["width"]) for one in found}
    settings = open_settings(list(CAPS), options)
    wanted = [
        (setting, cap, width)
        for setting in settings
        for cap in CAPS[setting.name]
        for width in options.width or (1, 4)
    ]
    for setting, cap, width in wanted:
        if (setting.name, cap, width) in known:
            continue
        begin = time.perf_counter()
        found.append(measured(setting, cap, width, options))
        print(f"{setting.name} {cap} {width}: {time.perf_counter() - begin:.0f} s", flush=True)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found) + "\n")
    show(found)


if __name__ == "__main__":
    main()
