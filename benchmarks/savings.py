"""What certaindex saves on a real engine: the same held-out problems under two policies, paired.

    scripts/bench savings [--problems 500] [--policy beta] [--json FILE] [--engine URL]

The problems are run in blocks; in each block both policies run one after the other, in an order
that alternates, so that a machine whose speed drifts slows both alike. Both draw the same branches
(the sampling seeds come from the problems' ids). Intervals: 95 %, paired bootstrap over problems
for accuracy and tokens, over blocks for time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from dynasor import Dynasor
from dynasor.config import load_settings
from dynasor.core.types import PolicySpec
from dynasor.datasets.arithmetic import heldout
from dynasor.evaluate import Interval, Judged, Question, paired_mean, ratio_of_sums, run_trial

EVEN = PolicySpec("even", has_lock=False)
BLOCK = 50


async def measure(options: argparse.Namespace) -> dict[str, object]:
    """Run all blocks and return the figures."""
    flags = {"engine": options.engine, "policy": options.policy, "cap": options.cap}
    settings = load_settings(**flags, seed=options.seed)
    questions = [Question(p.id, p.question, p.answer) for p in heldout(options.problems)]
    policies = {"even": EVEN, "ours": settings.policy_spec()}
    judged: dict[str, list[Judged]] = {name: [] for name in policies}
    seconds: dict[str, list[float]] = {name: [] for name in policies}
    async with Dynasor(settings=settings) as dynasor:
        for number, start in enumerate(range(0, len(questions), BLOCK)):
            block = questions[start : start + BLOCK]
            for name in list(policies)[:: 1 if number % 2 == 0 else -1]:
                trial = await run_trial(dynasor, block, policies[name])
                judged[name] += trial.judged
                seconds[name].append(trial.seconds)
            print(
                f"  {start + len(block):>4} of {len(questions)}: even {seconds['even'][-1]:.1f} s, "
                f"ours {seconds['ours'][-1]:.1f} s",
                file=sys.stderr,
                flush=True,
            )
    return figures(judged, seconds, options)


def figures(
    judged: dict[str, list[Judged]], seconds: dict[str, list[float]], options: argparse.Namespace
) -> dict[str, object]:
    """Compare both policies on the same problems."""
    even, ours = judged["even"], judged["ours"]
    tokens = ratio_of_sums(
        *[[j.result.spending.completion_tokens for j in x] for x in (ours, even)]
    )
    time = ratio_of_sums(seconds["ours"], seconds["even"])
    accuracy = paired_mean([j.is_right for j in ours], [j.is_right for j in even])
    return {
        "problems": len(even),
        "policy": options.policy,
        "cap": options.cap,
        "tokens_saved": saved(tokens),
        "seconds_saved": saved(time),
        "accuracy_change": {
            "estimate": accuracy.estimate,
            "low": accuracy.low,
            "high": accuracy.high,
        },
        **{name: summary(judged[name], seconds[name]) for name in judged},
        "questions": [
            {
                "id": left.id,
                "right_votes": left.right_votes,
                "even": [left.result.knob, left.result.spending.completion_tokens, left.is_right],
                "ours": [
                    right.result.knob,
                    right.result.spending.completion_tokens,
                    right.is_right,
                    right.result.reason,
                ],
            }
            for left, right in zip(even, ours, strict=True)
        ],
    }


def saved(ratio: Interval) -> dict[str, float]:
    """Turn the interval of a ratio into the interval of what is saved."""
    return {"estimate": 1 - ratio.estimate, "low": 1 - ratio.high, "high": 1 - ratio.low}


def summary(judged: list[Judged], seconds: list[float]) -> dict[str, float]:
    """Add up one policy's trial."""
    return {
        "accuracy": sum(j.is_right for j in judged) / len(judged),
        "tokens": sum(j.result.spending.completion_tokens for j in judged),
        "aborted_tokens": sum(j.result.spending.aborted_tokens for j in judged),
        "estimated_tokens": sum(j.result.spending.estimated_tokens for j in judged),
        "aborted_calls": sum(j.result.aborted_calls for j in judged),
        "branches": sum(j.result.knob for j in judged),
        "seconds": sum(seconds),
    }


def show(found: dict[str, object]) -> None:
    """Print the comparison for people."""
    rows: dict[str, Any] = {name: found[name] for name in ("even", "ours")}
    print(f"{found['problems']} held-out problems, cap {found['cap']}, policy {found['policy']}")
    print(f"{'':>16} {'even':>10} {'ours':>10}")
    for key in ("accuracy", "tokens", "aborted_tokens", "aborted_calls", "branches", "seconds"):
        even, ours = rows["even"][key], rows["ours"][key]
        text = "{:>10.3f}" if key == "accuracy" else "{:>10,.0f}"
        print(f"{key:>16} {text.format(even)} {text.format(ours)}")
    scales = {"tokens_saved": "%", "seconds_saved": "%", "accuracy_change": "points"}
    for key, scale in scales.items():
        interval: Any = found[key]
        print(
            f"{key:>16} {100 * interval['estimate']:.1f} {scale} "
            f"[{100 * interval['low']:.1f}, {100 * interval['high']:.1f}]"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--policy", default="beta")
    parser.add_argument("--cap", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", action="append", help="URL or GGUF file; embedded if left out")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    found = asyncio.run(measure(options))
    show(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
