"""Tokens a second of several engines that serve the embedded model, side by side.

    scripts/bench model_speed --engine embedded --engine http://127.0.0.1:8000

The same solutions are sampled in blocks on one engine after the other, in an order that turns, so
that a machine whose speed drifts slows all alike. Each engine gets as many calls at once as it has
slots (32 embedded, 64 for a server that does not say). Intervals: 95 %, bootstrap over blocks.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from _model import at_once, finish, generate, sampler, started
from dynasor.datasets import heldout
from dynasor.evaluate import ratio_of_sums
from dynasor.runtime import MonotonicClock


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Sample all blocks on all engines."""
    problems = heldout(options.problems)
    clock = MonotonicClock()
    tokens: dict[str, list[float]] = {name: [] for name in options.engine}
    seconds: dict[str, list[float]] = {name: [] for name in options.engine}
    async with contextlib.AsyncExitStack() as stack:
        engines = {
            name: await stack.enter_async_context(started(name, threads=options.threads))
            for name in options.engine
        }
        for block in range(options.blocks + 1):
            # Without seeds: vLLM 0.32 on the CPU ends with an error where it has read only a part
            # of a seeded call's prompt.
            works = [generate(p, None) for p in problems for _ in range(4)]
            turn = block % len(engines)
            names = list(engines)
            for name in names[turn:] + names[:turn]:
                engine, description = engines[name]
                began = clock.now()
                done = await at_once(description.slots, sampler(engine), works)
                # The first block warms up and does not count.
                if block:
                    seconds[name].append(clock.now() - began)
                    tokens[name].append(sum(d.usage.completion_tokens for d in done))
    first = options.engine[0]
    return {
        name: {
            "slots": engines[name][1].slots,
            "tokens_per_second": asdict(ratio_of_sums(tokens[name], seconds[name])),
            "seconds_per_token_ratio": asdict(
                ratio_of_sums(
                    [s / t for s, t in zip(seconds[name], tokens[name], strict=True)],
                    [s / t for s, t in zip(seconds[first], tokens[first], strict=True)],
                )
            ),
        }
        for name in engines
    }


def show(found: dict[str, Any]) -> None:
    """Print the figures for people."""
    print(f"{'engine':>28} slots  tokens a second          seconds a token against the first")
    for name, values in found.items():
        speed, ratio = values["tokens_per_second"], values["seconds_per_token_ratio"]
        print(
            f"{name:>28} {values['slots']:>5}  "
            f"{speed['estimate']:,.0f} [{speed['low']:,.0f}, {speed['high']:,.0f}]  "
            f"    {ratio['estimate']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
        )


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--engine", action="append", help="URL, GGUF file or 'embedded'")
    parser.add_argument("--threads", type=int, help="of the embedded engine")
    parser.add_argument("--problems", type=int, default=64, help="a block, four samples each")
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    options.engine = options.engine or ["embedded"]
    finish(options, asyncio.run(measure(options)), show)


if __name__ == "__main__":
    main()
