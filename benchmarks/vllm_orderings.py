"""Whose calls run first, on a real vLLM: first come, its priorities, our gateway, our plug-in.

    scripts/bench vllm_orderings --json docs/online/vllm-orderings.json \\
        --picture docs/online/vllm-orderings.svg

vLLM serves the embedded model on the CPU with 64 slots. Programs are groups of 4 to 16 calls, 4 of
them side by side, each of a length that is forced, so that all systems do the same work. A
program belongs to one of eight workloads, whose lengths differ as a log-normal's eighths do
(`--sigma`). Programs arrive at random, at `--load` times the rate that the server keeps up with,
which a burst of programs finds out first. Nobody is told a length: every system knows a
program's calls, and learns what a call takes from those of its workload that have ended.

The systems, each on a server of its own, one after the other, with the same arrivals:
`first come`: all calls are sent at once; `priority`: so too, each with its program's remaining
work when it was sent as vLLM's own priority; `gateway`: Dynasor sends 64 calls and a few, least
remaining work first; `plug-in`: all calls are sent at once, with hints, and Dynasor's scheduler
runs inside vLLM. The plug-in's patience is 0.4 times the P99 latency of `first come`: what users
bear today, and a margin.

A program is in time if its latency is at most `--deadline` times what its longest strand takes on
a busy server. Latencies are seconds, and a warm-up of one program in ten is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist, fmean
from typing import Any

import msgspec
import numpy as np

from _figures import figure, save
from _script import arguments, finish
from _vllm_server import make_model, serve
from dynasor import Dynasor
from dynasor.config import Settings, load_settings
from dynasor.core.program import Ask, Context, Fork, Strand
from dynasor.core.task import Task
from dynasor.core.types import Generate, Generated, Sampling
from dynasor.engines.http import HttpEngine
from dynasor.engines.protocol import Description, Meter, OnReport
from dynasor.programs import SelfConsistency

SLOTS = 64
CALLS = (4, 16)
WIDTH = 4
WORKLOADS = 8
MEDIAN_TOKENS = 40.0
LONGEST = 480
"""Tokens of one call at most: with its prompt it must fit into the 768 that the model reads."""
SPREAD = (0.7, 1.3)
"""A call's length over its program's."""
PATIENCE = 0.4
SYSTEMS = ("first come", "priority", "gateway", "plug-in")
MEASURES = ("mean", "p50", "p90", "p99", "attainment")
PLUGIN = ("--scheduler-cls", "dynasor.plugins.vllm.ProgramScheduler")


@dataclass
class Forced(SelfConsistency):
    """A program whose branches have these lengths, `WIDTH` of them side by side."""

    name = "forced"

    lengths: tuple[int, ...] = ()

    def execute(self, context: Context) -> Strand:
        """Run every WIDTH-th branch in a strand of its own."""
        yield Ask(self.cap)
        for place in range(min(WIDTH, self.cap)):
            yield Fork(self._some(context.task, self.lengths[place::WIDTH]))

    def _some(self, task: Task, lengths: tuple[int, ...]) -> Strand:
        for tokens in lengths:
            yield from self._branch(task, Generate(self.prompt(task), Sampling(tokens)))


class ForcedEngine(HttpEngine):
    """vLLM that never ends a text by itself; its priority, if it has one, is remaining work."""

    async def start(self) -> Description:
        """Connect, and have every generation ignore the end of the text."""
        description = await super().start()
        self._dialect = replace(self._dialect, always={"ignore_eos": True})
        return description

    async def generate(
        self, work: Generate, meter: Meter, on_report: OnReport | None = None
    ) -> Generated:
        """Generate one completion, of a rank that is the tokens that its program has to go."""
        if work.hints is not None:
            rank = round(work.hints.knob_left * work.hints.tokens_per_knob)
            hints = msgspec.structs.replace(work.hints, rank=rank)
            work = msgspec.structs.replace(work, hints=hints)
        return await super().generate(work, meter, on_report)


@dataclass(frozen=True, slots=True)
class Job:
    """One program to come: seconds after the first, its workload and the lengths of its calls."""

    at: float
    workload: str
    lengths: tuple[int, ...]

    @property
    def longest(self) -> int:
        """Tokens of its longest strand: what it takes alone."""
        return max(sum(self.lengths[place::WIDTH]) for place in range(WIDTH))


def jobs(options: argparse.Namespace, rate: float) -> list[Job]:
    """Draw the programs; `rate` is in tokens a second."""
    source = random.Random(options.seed)
    quantiles = [NormalDist().inv_cdf((one + 0.5) / WORKLOADS) for one in range(WORKLOADS)]
    drawn = []
    for _ in range(options.programs):
        workload = source.randrange(WORKLOADS)
        usual = MEDIAN_TOKENS * np.exp(options.sigma * quantiles[workload])
        sizes = [usual * source.uniform(*SPREAD) for _ in range(source.randint(*CALLS))]
        lengths = tuple(max(4, min(LONGEST, round(size))) for size in sizes)
        drawn.append(Job(0.0, f"workload {workload}", lengths))
    gap = fmean(sum(job.lengths) for job in drawn) / rate
    at, placed = 0.0, []
    for job in drawn:
        placed.append(replace(job, at=at))
        at += source.expovariate(1.0 / gap)
    return placed


def settings_of(system: str) -> Settings:
    """Return what Dynasor is told for a system."""
    common = {"policy": "even", "lock": False, "program": "self-consistency"}
    if system == "gateway":
        return load_settings(ordering="sjf", **common)
    ordering = "sjf" if system in {"priority", "plug-in"} else "app-fifo"
    return load_settings(engine_order="engine", ordering=ordering, **common)


def server_of(system: str, model: Path, patience: float) -> AbstractContextManager[str]:
    """Return a server for a system."""
    options = ["--max-num-seqs", str(SLOTS)]
    if system == "priority":
        options += ["--scheduling-policy", "priority"]
    if system != "plug-in":
        return serve(model, *options)
    told = json.dumps({"patience_seconds": patience}) if patience else ""
    return serve(model, *options, *PLUGIN, environment={"DYNASOR_VLLM": told})


async def run(system: str, url: str, work: list[Job]) -> list[float]:
    """Run all programs; return their latencies."""
    engine = ForcedEngine(url, slots=SLOTS, has_priority=system == "priority", seconds_limit=900)
    async with Dynasor(engine, settings=settings_of(system)) as dynasor:
        begun = time.monotonic()

        async def one(number: int, job: Job) -> float:
            await asyncio.sleep(begun + job.at - time.monotonic())
            question = f"Ann has {number} apples and buys {number + 3} more. How many has she?"
            program = Forced(question, cap=len(job.lengths), lengths=job.lengths)
            result = await dynasor.run(program, workload=job.workload)
            tokens = result.spending.completion_tokens
            if tokens != sum(job.lengths):
                raise SystemExit(f"{tokens} tokens came of {sum(job.lengths)} that were forced")
            return time.monotonic() - begun - job.at

        return list(await asyncio.gather(*(one(*each) for each in enumerate(work))))


def capacity(url: str, options: argparse.Namespace) -> float:
    """Return how many tokens a second the server makes of a burst of programs."""
    burst = [replace(job, at=0.0) for job in jobs(options, 1.0)[: options.burst]]
    seconds = max(asyncio.run(run("first come", url, burst)))
    return sum(sum(job.lengths) for job in burst) / seconds


def figures(
    work: list[Job], latencies: list[float], rate: float, deadline: float
) -> dict[str, Any]:
    """Return the measures of one system."""
    counted = slice(len(work) // 10, None)
    found = np.array(latencies[counted])
    solo = np.array([job.longest for job in work[counted]]) * SLOTS / rate
    p50, p90, p99 = np.percentile(found, [50, 90, 99])
    in_time = float((found <= deadline * solo).mean())
    ends = max(job.at + latency for job, latency in zip(work, latencies, strict=True))
    return {"mean": float(found.mean()), "p50": p50, "p90": p90, "p99": p99,
            "attainment": in_time, "seconds": ends}  # fmt: skip


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run every system on a server of its own."""
    rows: dict[str, Any] = {}
    rate, patience, work = 0.0, 0.0, []
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder))
        for system in SYSTEMS:
            with server_of(system, model, patience) as url:
                if not rate:
                    capacity(url, options)  # a server's first steps are slow
                    rate = capacity(url, options)
                    work = jobs(options, rate * options.load)
                latencies = asyncio.run(run(system, url, work))
            rows[system] = figures(work, latencies, rate, options.deadline)
            patience = patience or PATIENCE * rows[system]["p99"]
    base = rows[SYSTEMS[0]]
    for row in rows.values():
        row["over first come"] = {name: row[name] / base[name] for name in ("mean", "p99")}
    return {
        "programs": options.programs, "slots": SLOTS, "load": options.load, "sigma": options.sigma,
        "seed": options.seed, "tokens_per_second": rate, "patience_seconds": patience,
        "deadline": options.deadline, "systems": rows,
    }  # fmt: skip


def show(found: dict[str, Any]) -> None:
    """Print one line a system."""
    print(
        f"{found['programs']} programs on {found['slots']} slots, {found['load']:g} times what "
        f"{found['tokens_per_second']:.0f} tokens/s carry; latency in seconds"
    )
    print(f"{'':12}" + "".join(f"{name:>12}" for name in (*MEASURES, "mean/first", "p99/first")))
    for name, row in found["systems"].items():
        over = row["over first come"]
        values = [*(row[measure] for measure in MEASURES), over["mean"], over["p99"]]
        print(f"{name:12}" + "".join(f"{value:12.2f}" for value in values))


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw the latencies side by side, and who was in time."""
    drawn, panels = figure(columns=2, rows=1, size=(9, 3.2))
    names = ("mean", "p50", "p90", "p99")
    for place, (system, row) in enumerate(found["systems"].items()):
        at = [number + 0.2 * (place - 1.5) for number in range(len(names))]
        panels[0].bar(at, [row[name] for name in names], width=0.18, label=system)
        panels[1].bar([place], [100 * row["attainment"]], width=0.6)
    panels[0].set_xticks(range(len(names)), labels=["mean", "P50", "P90", "P99"])
    panels[0].set(ylabel="program latency, s")
    panels[0].legend(frameon=False, fontsize=8)
    panels[1].set_xticks(range(len(found["systems"])), labels=list(found["systems"]))
    panels[1].set(ylabel="share of programs in time, %")
    save(drawn, path)


def main() -> None:
    """Measure, print, write and draw."""
    parser = arguments((__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--programs", type=int, default=400)
    parser.add_argument("--burst", type=int, default=24, help="programs that find the capacity")
    parser.add_argument("--load", type=float, default=2.0, help="arrivals over capacity")
    parser.add_argument("--sigma", type=float, default=1.0, help="of the workloads' lengths")
    parser.add_argument("--deadline", type=float, default=5.0, help="over a program's time alone")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    finish(options, measure(options), show, draw)


if __name__ == "__main__":
    main()
