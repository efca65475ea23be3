"""What reward certaindex knows and saves, as far as the recorded searches allow.

    scripts/bench rewards [--json docs/offline/rewards.json]

Beams (math500-beams-prm): each question has the finished beams of one search, with a process
reward a step. A question is answered by its best beam (`best-of-n`). Certaindex is the highest
reward so far (the paper's form for Rebase); the mean is given beside it. Beams are taken in
shuffled order: which of them a narrower search would have kept is not recorded, so this is
best-of-n over a search's survivors, not Rebase at a smaller width.

Trees (game24-gpt4-tot-trees): a unit is one more path kept at every step. Rewards are the model's
own votes on each candidate; tokens are estimated, and the votes' own cost is not in them.
Savings are over the 44 trees whose recording tells what every smaller width would have kept.

The threshold on the reward is chosen on one half of the questions to lose at most 0.1 points,
with two standard errors charged, and judged on the other; ten halves.
"""

from __future__ import annotations

from itertools import product
from statistics import fmean
from typing import Any

import numpy as np
from scipy.stats import kendalltau, mannwhitneyu, pearsonr

from _offline import BEAMS, arguments, find_trace, finish, open_settings
from dynasor.calibrate import Aim, Measurements, halves
from dynasor.core.types import PolicySpec
from dynasor.evaluate.offline import means
from dynasor.evaluate.recorded import Recorded
from dynasor.evaluate.replay import Job, replay_all
from dynasor.evaluate.searches import search_units
from dynasor.traces import read_trace

TREES = "game24-gpt4-tot-trees"
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
SPLITS = 10
RESAMPLES = 2_000


def correlations(questions: list[Recorded]) -> dict[str, Any]:
    """Return how well rewards tell the questions that are answered right from the others.

    `auc`: of the best beam's reward (or all beams' mean) for the best beam being right.
    `needed`: Pearson and Kendall with the share of beams that are right, of the questions that
    any beam solves: with few beams in no order of their own, that is what their number stands for.
    """
    best = [max(range(len(q.rewards)), key=q.rewards.__getitem__) for q in questions]
    right = np.array([q.worth(q.classes[place]) for q, place in zip(questions, best, strict=True)])
    signals = {
        "highest": np.array([max(q.rewards) for q in questions]),
        "mean": np.array([fmean(q.rewards) for q in questions]),
    }
    share = np.array([fmean(q.worth(group) for group in q.classes) for q in questions])
    solvable = share > 0
    return {
        "questions": len(questions),
        "best_is_right": float(right.mean()),
        "any_is_right": float(solvable.mean()),
        **{
            name: {
                "auc": interval(auc, values, right),
                "pearson": interval(pearson, values[solvable], share[solvable]),
                "kendall": interval(kendall, values[solvable], share[solvable]),
            }
            for name, values in signals.items()
        },
    }


def auc(values: Any, right: Any) -> float:
    """Return the chance that a right one's value is above a wrong one's."""
    good, bad = values[right > 0.5], values[right <= 0.5]
    if not len(good) or not len(bad):
        return float("nan")
    return float(mannwhitneyu(good, bad).statistic / (len(good) * len(bad)))


def pearson(values: Any, share: Any) -> float:
    """Return Pearson's correlation, not a number where one side does not vary."""
    if len(values) < 3 or np.ptp(values) == 0 or np.ptp(share) == 0:
        return float("nan")
    return float(pearsonr(values, share).statistic)


def kendall(values: Any, share: Any) -> float:
    """Return Kendall's tau b."""
    return float(kendalltau(values, share).statistic) if len(values) > 2 else float("nan")


def interval(measure: Any, left: Any, right: Any) -> list[float]:
    """Return a measure with its 95 % bootstrap interval over questions."""
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(left), len(left)) for _ in range(RESAMPLES)]
    spread = [measure(left[draw], right[draw]) for draw in draws]
    low, high = np.nanquantile(spread, [0.025, 0.975])
    return [measure(left, right), float(low), float(high)]


def savings(questions: list[Recorded], cap: int, seeds: int, processes: int) -> dict[str, Any]:
    """Return what a threshold on the highest reward saves, chosen and judged on halves."""
    detects = [detect for detect in (1, 2, 3, 4, 8) if detect < cap]
    specs = [
        PolicySpec("stepwise" if every else "threshold", _params(every, detect, at), has_lock=False)
        for every, detect, at in product((False, True), detects, THRESHOLDS)
    ]
    aim = Aim(cap=cap, width=1, seeds=seeds, program="best-of-n")
    even = PolicySpec("even", {"in_flight": 1}, has_lock=False)
    jobs = [Job(spec, cap, aim.program) for spec in (even, *specs)]
    found = [means(one) for one in replay_all(questions, jobs, range(seeds), processes)]
    accuracy = float(found[0].quality.mean())
    rows: dict[str, Any] = {"cap": cap, "questions": len(questions), "accuracy": accuracy}
    for name in ("threshold", "stepwise"):
        own = [place for place, spec in enumerate(specs) if spec.name == name]
        table = Measurements(
            tuple(questions),
            aim,
            found[0],
            tuple(specs[place] for place in own),
            tuple(found[place + 1] for place in own),
        )
        chosen = [table.chosen(name, *halves(len(questions), split)) for split in range(SPLITS)]
        saved = [one.judged.saved.estimate for one in chosen]
        change = [one.judged.accuracy_change.estimate for one in chosen]
        rows[name] = {
            "saved": [fmean(saved), min(saved), max(saved)],
            "change": [fmean(change), min(change), max(change)],
            "params": chosen[0].spec.params,
        }
    return rows


def _params(every: bool, detect: int, at: float) -> dict[str, Any]:
    return {"every" if every else "detect": detect, "at": {"reward": at}, "in_flight": 1}


def show(found: dict[str, Any]) -> None:
    """Print both tables as Markdown."""
    heads = ("AUC highest", "AUC mean", "tau highest", "tau mean")
    print(f"| search | questions | best right | any right | {' | '.join(heads)} |")
    print("|---" * 8 + "|")
    for name, one in found.items():
        knows = one["correlations"]
        print(
            f"| {name} | {knows['questions']} | {knows['best_is_right']:.2f} | "
            f"{knows['any_is_right']:.2f} | {spread(knows['highest']['auc'])} | "
            f"{spread(knows['mean']['auc'])} | {spread(knows['highest']['kendall'])} | "
            f"{spread(knows['mean']['kendall'])} |"
        )
    print("\n| search | policy on the reward | saved % | accuracy change, points |")
    print("|---|---|---|---|")
    for name, one in found.items():
        for policy in ("threshold", "stepwise"):
            row = one["savings"][policy]
            saved, change = (spread([100 * v for v in row[key]], 1) for key in ("saved", "change"))
            print(f"| {name} | {policy} | {saved} | {change} |")


def spread(values: list[float], digits: int = 2) -> str:
    """Write an estimate with its interval or range."""
    middle, low, high = values
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def main() -> None:
    """Measure, print, write."""
    options = arguments((__doc__ or "").split("\n", 1)[0]).parse_args()
    found: dict[str, Any] = {}
    for setting in open_settings(BEAMS, options):
        questions = [one for one in setting.questions if one.rewards]
        cap = min(len(one.tokens) for one in questions)
        found[setting.title] = {
            "correlations": correlations(questions),
            "savings": savings(questions, cap, options.seeds, options.processes),
        }
    trace = read_trace(find_trace(TREES), "tree")
    exact = search_units(trace, is_exact=True)
    cap = min(len(one.tokens) for one in exact)
    found["Game of 24, GPT-4 trees"] = {
        "correlations": correlations(search_units(trace)),
        "savings": savings(exact, cap, 1, options.processes),
    }
    finish(options, found, show)


if __name__ == "__main__":
    main()
