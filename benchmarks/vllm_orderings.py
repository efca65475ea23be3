"""Whose calls run first, on a real vLLM: first come, its priorities, our gateway, our plug-in.

    scripts/bench vllm_orderings [--whole] --json docs/vllm/orderings.json \\
        --picture docs/vllm/orderings.svg

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
runs inside vLLM. The patience of both is 0.4 times the P99 latency of `first come`: what users
bear today, and a margin.

With `--whole` nothing is forced: programs are votes of 16 samples on held-out problems, a workload
for each number of steps that a solution takes. `first come` and `priority` run all samples; for
`gateway` and `plug-in` Dynasor's default policy decides how many. Right answers are counted.

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
from itertools import accumulate
from pathlib import Path
from statistics import NormalDist, fmean
from typing import Any

import msgspec
import numpy as np

from _figures import figure, save
from _model import LONGEST as LONGEST_OF
from _script import arguments, finish
from _vllm_server import make_model, serve
from dynasor import Dynasor
from dynasor.config import Settings, load_settings
from dynasor.core.program import Ask, Context, Fork, Strand
from dynasor.core.task import Task
from dynasor.core.types import Generate, Generated, Sampling
from dynasor.datasets import heldout
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
SAMPLES = 16
LONGEST_ANSWER = LONGEST_OF["<|solve|>"]
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


class RankedEngine(HttpEngine):
    """vLLM whose priority, if it has one, is remaining work.

    It gets no seeds: on a CPU it cannot draw from one after half a prompt (docs/model.md).
    """

    async def generate(
        self, work: Generate, meter: Meter, on_report: OnReport | None = None
    ) -> Generated:
        """Generate one completion, of a rank that is the tokens that its program has to go."""
        sampling = msgspec.structs.replace(work.sampling, seed=None)
        work = msgspec.structs.replace(work, sampling=sampling)
        if work.hints is not None:
            rank = round(work.hints.knob_left * work.hints.tokens_per_knob)
            hints = msgspec.structs.replace(work.hints, rank=rank)
            work = msgspec.structs.replace(work, hints=hints)
        return await super().generate(work, meter, on_report)


class ForcedEngine(RankedEngine):
    """vLLM that never ends a text by itself."""

    async def start(self) -> Description:
        """Connect, and have every generation ignore the end of the text."""
        description = await super().start()
        self._dialect = replace(self._dialect, always={"ignore_eos": True})
        return description


@dataclass(frozen=True, slots=True)
class Job:
    """One program to come: seconds after the first, its workload, and what it asks.

    `lengths` are those of its calls, none where they are sampled; then there is an `answer`.
    """

    at: float
    workload: str
    question: str
    lengths: tuple[int, ...] = ()
    answer: str = ""

    @property
    def longest(self) -> int:
        """Tokens of its longest strand: what it takes alone."""
        if not self.lengths:
            return LONGEST_ANSWER
        return max(sum(self.lengths[place::WIDTH]) for place in range(WIDTH))

    def program(self) -> SelfConsistency:
        """Return the program to run."""
        if self.lengths:
            return Forced(self.question, cap=len(self.lengths), lengths=self.lengths)
        return SelfConsistency(self.question, task="math", cap=SAMPLES, max_tokens=LONGEST_ANSWER)


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a program: its latency in seconds, the tokens that it took, its answer."""

    seconds: float
    tokens: int
    is_right: bool


def jobs(options: argparse.Namespace, rate: float) -> list[Job]:
    """Draw forced programs; `rate` is in tokens a second."""
    drawn = forced(options)
    return placed(drawn, fmean(sum(job.lengths) for job in drawn) / rate, options.seed)


def placed(drawn: list[Job], gap: float, seed: int) -> list[Job]:
    """Return programs that arrive at random, `gap` seconds after each other in the mean."""
    source = random.Random(seed + 1)
    gaps = [source.expovariate(1.0 / gap) for _ in drawn[1:]]
    return [
        replace(job, at=at) for job, at in zip(drawn, accumulate(gaps, initial=0.0), strict=True)
    ]


def sampled(options: argparse.Namespace) -> list[Job]:
    """Return the programs whose lengths are sampled."""
    problems = heldout(options.programs)
    random.Random(options.seed).shuffle(problems)
    return [Job(0.0, f"steps {one.steps}", one.question, answer=one.answer) for one in problems]


def forced(options: argparse.Namespace) -> list[Job]:
    """Draw the programs whose lengths are forced."""
    source = random.Random(options.seed)
    quantiles = [NormalDist().inv_cdf((one + 0.5) / WORKLOADS) for one in range(WORKLOADS)]
    drawn = []
    for _ in range(options.programs):
        workload = source.randrange(WORKLOADS)
        usual = MEDIAN_TOKENS * np.exp(options.sigma * quantiles[workload])
        sizes = [usual * source.uniform(*SPREAD) for _ in range(source.randint(*CALLS))]
        lengths = tuple(max(4, min(LONGEST, round(size))) for size in sizes)
        # No two prompts are the same: nobody finds another's in the cache.
        question = f"Ann has {len(drawn)} apples and buys {len(drawn) + 3} more. How many has she?"
        drawn.append(Job(0.0, f"workload {workload}", question, lengths))
    return drawn


def settings_of(system: str, patience: float, *, is_whole: bool) -> Settings:
    """Return what Dynasor is told for a system; `patience` in seconds, 0 for no limit."""
    decides = is_whole and system in {"gateway", "plug-in"}
    common: dict[str, Any] = {} if decides else {"policy": "even", "lock": False}
    if system == "gateway":
        return load_settings(ordering="sjf", patience_seconds=patience or None, **common)
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
    return serve(model, *options, *PLUGIN, more={"DYNASOR_VLLM": told})


async def run(system: str, url: str, work: list[Job], patience: float = 0.0) -> list[Done]:
    """Run all programs; return what came of each."""
    is_whole = not work[0].lengths
    kind = RankedEngine if is_whole else ForcedEngine
    engine = kind(url, slots=SLOTS, has_priority=system == "priority", seconds_limit=900)
    async with Dynasor(
        engine, settings=settings_of(system, patience, is_whole=is_whole)
    ) as dynasor:
        begun = time.monotonic()

        async def one(job: Job) -> Done:
            await asyncio.sleep(begun + job.at - time.monotonic())
            result = await dynasor.run(job.program(), workload=job.workload)
            seconds, tokens = time.monotonic() - begun - job.at, result.spending.completion_tokens
            if job.lengths and tokens != sum(job.lengths):
                raise SystemExit(f"{tokens} tokens came of {sum(job.lengths)} that were forced")
            return Done(seconds, tokens, result.answer == job.answer)

        return list(await asyncio.gather(*map(one, work)))


def capacity(url: str, drawn: list[Job]) -> tuple[float, float]:
    """Return how many tokens a second the server makes of a burst, and those of a program."""
    done = asyncio.run(run("first come", url, drawn))
    tokens = sum(one.tokens for one in done)
    return tokens / max(one.seconds for one in done), tokens / len(done)


def figures(work: list[Job], done: list[Done], rate: float, deadline: float) -> dict[str, Any]:
    """Return the measures of one system."""
    counted = slice(len(work) // 10, None)
    found = np.array([one.seconds for one in done[counted]])
    solo = np.array([job.longest for job in work[counted]]) * SLOTS / rate
    p50, p90, p99 = np.percentile(found, [50, 90, 99])
    in_time = float((found <= deadline * solo).mean())
    ends = max(job.at + one.seconds for job, one in zip(work, done, strict=True))
    return {"mean": float(found.mean()), "p50": p50, "p90": p90, "p99": p99,
            "attainment": in_time, "seconds": ends, "tokens": fmean(one.tokens for one in done),
            "accuracy": fmean(one.is_right for one in done)}  # fmt: skip


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run every system on a server of its own."""
    rows: dict[str, Any] = {}
    rate, patience, work = 0.0, 0.0, []
    drawn = sampled(options) if options.whole else forced(options)
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder))
        for system in SYSTEMS:
            with server_of(system, model, patience) as url:
                if not rate:
                    burst = drawn[: options.burst]
                    capacity(url, burst)  # a server's first steps are slow
                    rate, tokens = capacity(url, burst)
                    if not options.whole:
                        tokens = fmean(sum(job.lengths) for job in drawn)
                    work = placed(drawn, tokens / (rate * options.load), options.seed)
                done = asyncio.run(run(system, url, work, patience))
            rows[system] = figures(work, done, rate, options.deadline)
            patience = patience or PATIENCE * rows[system]["p99"]
    base = rows[SYSTEMS[0]]
    for row in rows.values():
        row["over first come"] = {name: row[name] / base[name] for name in ("mean", "p99")}
    return {
        "programs": options.programs, "whole": options.whole, "slots": SLOTS,
        "load": options.load, "sigma": options.sigma,
        "seed": options.seed, "tokens_per_second": rate, "patience_seconds": patience,
        "deadline": options.deadline, "systems": rows,
    }  # fmt: skip


def show(found: dict[str, Any]) -> None:
    """Print one line a system."""
    print(
        f"{found['programs']} programs on {found['slots']} slots, {found['load']:g} times what "
        f"{found['tokens_per_second']:.0f} tokens/s carry; latency in seconds"
    )
    heads = (*MEASURES, "mean/first", "p99/first", *(("tokens", "right") if found["whole"] else ()))
    print(f"{'':12}" + "".join(f"{name:>12}" for name in heads))
    for name, row in found["systems"].items():
        over = row["over first come"]
        values = [*(row[measure] for measure in MEASURES), over["mean"], over["p99"]]
        if found["whole"]:
            values += [row["tokens"], row["accuracy"]]
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
    parser.add_argument("--whole", action="store_true", help="sampled lengths, and the policy")
    parser.add_argument("--burst", type=int, default=24, help="programs that find the capacity")
    parser.add_argument("--load", type=float, default=2.0, help="arrivals over capacity")
    parser.add_argument("--sigma", type=float, default=1.0, help="of the workloads' lengths")
    parser.add_argument("--deadline", type=float, default=5.0, help="over a program's time alone")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    finish(options, measure(options), show, draw)


if __name__ == "__main__":
    main()
