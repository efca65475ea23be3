"""Certaindex on a running stream against the published early exit by chunks, live and in turn.

    scripts/bench early_exit [--from docs/thinking.json] [--window 2] [--json FILE]
                             [--picture FILE] [--work DIR]

The first row thinks to its end, or to the limit. `early exit` is our own plain form of the rule
of Dynasor-CoT (`_thinking.EarlyExit`): chunks of 64 tokens, each a new request, a probe behind
each (or beside the next, as its code does), out when the last 2 or 3 agree without a word of
hesitation. `ours` is `ChainOfThought` with windows of as many probes or, with `--from` (the figures
of `scripts/bench thinking`), as calibrated there. `chunked`: the stream stops for a probe.

Each block of problems is thought by all of them in turn, in an order that rotates, `--live`
problems at once. Tokens are all that were sampled; `prompt tokens` those of all requests, cached or
not. Savings and points are against the first row, paired; 95 % bootstrap over problems, over blocks
for seconds. Compare rows of equal accuracy: a rule that exits sooner is not better for it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from _alternating import EVEN, TASK, Cell, alternate, arguments, conditions, evaluation
from _script import finish
from _thinking import LONGEST, EarlyExit, Ran, as_ran, draw_rows, rows, show_rows, thinker
from _work import Work
from dynasor.config import format_program, parse_policy, parse_program
from dynasor.core.program import Program
from dynasor.core.types import PolicySpec, ProgramSpec

EVERY, CHUNK = 32, 64
AGREED = PolicySpec("stepwise", {"every": 1, "at": 1.0}, has_lock=False)
SHARE = 0.2
"""Of a trace's tokens, for probes; those of the published rule come to about as much."""


def published(window: int, limit: int, *, is_beside: bool) -> Cell:
    """Return the published rule with a window."""

    def make(question: str) -> Program:
        cap = -(-limit // CHUNK)
        return EarlyExit(
            question, task=TASK, cap=cap, chunk=CHUNK, window=window, is_beside=is_beside
        )

    place = "beside" if is_beside else "behind"
    return Cell(f"early exit, last {window}, {place}", make, EVEN)


def ours(program: ProgramSpec, policy: PolicySpec, limit: int) -> Cell:
    """Return chains of thought with a rule."""
    cap = limit // program.params.get("every", EVERY)
    words = format_program(ProgramSpec("ours", program.params))
    return Cell(words, thinker(cap, program.params), policy)


def cells(options: argparse.Namespace) -> list[Cell]:
    """Return all that think, the one to compare with first."""
    windows, limit = options.window or [2, 3], options.limit
    found = [Cell("to the end", thinker(limit // EVERY, {"share": 0.0}), EVEN)]
    for window in windows:
        found += [published(window, limit, is_beside=is_beside) for is_beside in (False, True)]
        for chunked in (False, True) if options.calibrated is None else ():
            params = {"share": SHARE, "window": window, "chunked": chunked}
            found.append(ours(ProgramSpec("chain-of-thought", params), AGREED, limit))
    if options.calibrated is not None:
        rule = json.loads(options.calibrated.read_text())["rule"]
        program, policy = (
            parse_program(rule["program"]),
            parse_policy(rule["policy"], has_lock=False),
        )
        for chunked in (False, True):
            params = {**program.params, "chunked": chunked}
            cell = ours(ProgramSpec(program.name, params), policy, limit)
            words = f"{cell.label}, {rule['policy']}"
            found.append(Cell(words.replace("ours", "calibrated"), cell.make, policy))
    return found


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run what is missing, and sum up."""
    problems, asked = evaluation(options.questions), cells(options)
    began = {**conditions(options), "limit": options.limit}
    with Work(options.work, "runs", began, Ran) as work:
        await alternate(asked, problems, options, work, as_ran)
        found = rows(asked, problems, options, work)
    return {
        "questions": len(problems),
        "seeds": options.seeds,
        "live": options.live,
        "limit": options.limit,
        "rows": found,
    }


def show(found: dict[str, Any]) -> None:
    """Print the table."""
    print(
        f"{found['questions']} problems, {found['seeds']} seeds, {found['live']} at once, at most "
        f"{found['limit']} tokens of thought; means a problem, savings of the first row's\n"
    )
    show_rows(found["rows"])


def draw(found: dict[str, Any], target: Path) -> None:
    """Draw accuracy over tokens and seconds."""
    draw_rows(found["rows"], target)


def main() -> None:
    """Measure, print, write and draw."""
    parser = arguments((__doc__ or "").split("\n", 1)[0], "early_exit")
    parser.add_argument("--window", type=int, action="append", help="probes that agree (2, 3)")
    parser.add_argument("--limit", type=int, default=LONGEST, help="tokens of thought")
    parser.add_argument("--from", dest="calibrated", type=Path, help="figures of `thinking`")
    options = parser.parse_args()
    finish(options, asyncio.run(measure(options)), show, draw)


if __name__ == "__main__":
    main()
