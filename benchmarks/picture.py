"""Draw the README's picture from the figures of `benchmarks/savings.py`.

    scripts/bench savings --json docs/savings.json && scripts/bench picture

One dot a problem: how often the model solves it (of 20 branches), and how many tokens the policy
spent on it, beside what even allocation spent.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from _figures import figure, save

ROOT = Path(__file__).parents[1]
EVEN, OURS = "#9aa5b1", "#1769aa"


def draw(found: dict[str, Any], target: Path) -> None:
    """Draw both policies' tokens over how often the model is right."""
    questions = found["questions"]
    right = np.array([q["right_votes"] for q in questions])
    drawn, (axes,) = figure(size=(7.2, 3.4))
    jitter = np.random.default_rng(0).uniform(-0.35, 0.35, len(questions))
    for name, colour, label in (
        ("even", EVEN, f"even allocation, {found['cap']} branches each"),
        ("ours", OURS, f"certaindex ({found['policy']})"),
    ):
        tokens = np.array([q[name][1] for q in questions])
        axes.scatter(right + jitter, tokens, s=7, color=colour, alpha=0.45, linewidths=0)
        means = [tokens[right == k].mean() if (right == k).any() else np.nan for k in range(21)]
        axes.plot(range(21), means, color=colour, linewidth=2, label=label)
    axes.set_xlabel(f"right answers in {found['cap']} branches (0: hopeless, 20: easy)")
    axes.set_ylabel("tokens spent on the problem")
    axes.set_xlim(-0.7, 20.7)
    axes.set_xticks(range(0, 21, 5))
    axes.set_ylim(0, None)
    axes.legend(frameon=False, loc="upper right")
    save(drawn, target)


def main() -> None:
    """Read the figures and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--figures", type=Path, default=ROOT / "docs" / "savings.json")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "savings.svg")
    options = parser.parse_args()
    draw(json.loads(options.figures.read_text()), options.out)
    print(f"wrote {options.out.name}")


if __name__ == "__main__":
    main()
