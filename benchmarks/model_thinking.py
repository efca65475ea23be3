"""How the embedded model thinks: the answer that a probe gets at 10, 20, ... 100 % of a trace.

    scripts/bench model_thinking [--questions 500] [--json FILE] [--picture FILE]

One trace a held-out problem at temperature 0.7. A probe ends the trace there, asks for the answer
and reads it greedily. The final answer is what the model itself says after its trace; it is
compared with plain solutions, sampled at the same temperature. Intervals: 95 %, bootstrap over
questions.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from _figures import figure, save
from _model import answer_of, arguments, at_once, finish, generate, mean, prompt, sampler, started
from dynasor.core.types import Generate, Generated, Sampling
from dynasor.datasets import Problem, heldout
from dynasor.engines.protocol import Engine, Meter
from dynasor.evaluate import paired_mean

THINK, THOUGHT_END = "<|think|>", "</think>"
PROBE = f"{THOUGHT_END}\nThe answer is \\boxed{{"
WELL_FORMED = re.compile(r"(\d+)\}\.?\s*")
SHARES = [share / 10 for share in range(1, 11)]


@dataclass(frozen=True, slots=True)
class Thought:
    """One trace in pieces of a token each, and what the model said after it (None: cut off)."""

    problem: Problem
    pieces: list[str]
    said: str | None
    tokens: int

    @property
    def is_right(self) -> bool:
        return self.said is not None and answer_of(self.said) == self.problem.answer


async def think(engine: Engine, problem: Problem, seed: int) -> Thought:
    """Sample one trace."""
    work = generate(problem, seed, THINK)
    pieces: list[str] = []
    streamed = Generate(work.prompt, work.sampling, report_every=1)
    done = await engine.generate(streamed, Meter(), lambda delta, _: pieces.append(delta))
    thoughts, mark, said = done.text.partition(THOUGHT_END)
    kept, length = [], 0
    for piece in pieces:
        length += len(piece)
        if length > len(thoughts):
            break
        kept.append(piece)
    return Thought(problem, kept, said if mark else None, done.usage.completion_tokens)


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Think every problem through, probe every trace, and solve every problem plainly."""
    problems = heldout(options.questions)
    plain = [generate(p, seed) for p in problems for seed in range(options.plain)]
    async with started(options.engine, threads=options.threads) as (engine, description):
        slots = description.slots

        async def thought(index: int) -> Thought:
            return await think(engine, problems[index], index)

        thoughts = await at_once(slots, thought, range(len(problems)), "thinking")
        probes = [probe(t, share) for t in thoughts for share in SHARES]
        probed = await at_once(slots, sampler(engine), probes, "probing")
        solved = await at_once(slots, sampler(engine), plain, "solving")
    return figures(thoughts, probed, solved)


def probe(thought: Thought, share: float) -> Generate:
    """Ask for the answer after this share of a trace's tokens."""
    kept = "".join(thought.pieces[: round(share * len(thought.pieces))])
    return Generate(prompt(thought.problem, THINK, kept + PROBE), Sampling(12, temperature=0.0))


def figures(
    thoughts: list[Thought], probed: list[Generated], solved: list[Generated]
) -> dict[str, Any]:
    """Sum up by share of the trace."""
    width, plain = len(SHARES), len(solved) // len(thoughts)
    read = [WELL_FORMED.fullmatch(g.text) for g in probed]
    right = [
        float(match is not None and match[1] == thoughts[i // width].problem.answer)
        for i, match in enumerate(read)
    ]
    single = [
        float(np.mean([answer_of(s.text) == t.problem.answer for s in solved[i * plain :][:plain]]))
        for i, t in enumerate(thoughts)
    ]
    final = [float(t.is_right) for t in thoughts]
    return {
        "questions": len(thoughts),
        "shares": SHARES,
        "probed": [mean(right[at::width]) for at in range(width)],
        "well_formed": sum(match is not None for match in read) / len(read),
        "final": mean(final),
        "plain": mean(single),
        "gain": asdict(paired_mean(final, single)),
        "finished": float(np.mean([t.said is not None for t in thoughts])),
        "tokens": float(np.mean([t.tokens for t in thoughts])),
        "longest": max(t.tokens for t in thoughts),
        "plain_tokens": float(np.mean([s.usage.completion_tokens for s in solved])),
    }


def show(found: dict[str, Any]) -> None:
    """Print the figures for people."""
    print(f"{found['questions']} held-out problems, probed at shares of the trace:")
    for share, value in zip(found["shares"], found["probed"], strict=True):
        print(f"{share:>8.0%} {value['estimate']:.3f} [{value['low']:.3f}, {value['high']:.3f}]")
    print(f"well-formed probes {found['well_formed']:.4f}")
    for key in ("final", "plain", "gain"):
        value = found[key]
        print(f"{key:>8} {value['estimate']:.3f} [{value['low']:.3f}, {value['high']:.3f}]")
    print(
        f"traces that end by themselves {found['finished']:.3f}; tokens {found['tokens']:.0f} on "
        f"average, {found['longest']} at most; plain solutions {found['plain_tokens']:.0f}"
    )


def draw(found: dict[str, Any], target: Path) -> None:
    """Draw the probed accuracy over the trace."""
    drawn, (axes,) = figure()
    shares = 100 * np.array(found["shares"])
    probed = found["probed"]
    axes.fill_between(
        shares, [p["low"] for p in probed], [p["high"] for p in probed], alpha=0.2, linewidth=0
    )
    axes.plot(shares, [p["estimate"] for p in probed], marker="o", markersize=4, label="probed")
    for key, style, label in (("final", "--", "final answer"), ("plain", ":", "plain solution")):
        axes.axhline(found[key]["estimate"], color="#555555", linestyle=style, label=label)
    axes.set(xlabel="share of the thinking trace (%)", ylabel="answer is right", ylim=(0, 1))
    axes.legend(frameon=False, loc="lower right")
    save(drawn, target)


def main() -> None:
    """Measure, print, write and draw."""
    parser = arguments(__doc__.split("\n", 1)[0])
    parser.add_argument("--plain", type=int, default=2, help="plain solutions a problem")
    options = parser.parse_args()
    finish(options, asyncio.run(measure(options)), show, draw)


if __name__ == "__main__":
    main()
