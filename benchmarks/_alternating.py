"""Programs on a live engine, block by block: each block of problems by all programs in turn.

The order rotates from block to block, so that a machine whose speed drifts slows all alike. Every
block begins with an engine that has just started: what one program made it keep serves no other.
What was found is kept (`_work`), and a killed run goes on with the block that it was at.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import _script
from _work import Work
from dynasor import Dynasor, Result
from dynasor.config import Settings, load_settings
from dynasor.core.program import Program
from dynasor.core.types import PolicySpec
from dynasor.datasets import Problem, heldout
from dynasor.engines.llamacpp import SHIPPED_JUDGE
from dynasor.evaluate import Interval, paired_mean, ratio_of_sums

__all__ = [
    "EVEN",
    "TASK",
    "Cell",
    "alternate",
    "arguments",
    "calibration",
    "change",
    "column",
    "conditions",
    "evaluation",
    "row_mean",
    "saved",
    "settings",
    "spoken",
]

EVEN = PolicySpec("even", has_lock=False)
TASK = "math"
POOL = 2_000
"""Held-out problems at most: the first `EVALUATED` judge, those behind them calibrate."""
EVALUATED = 200

T = TypeVar("T")
Numbers = np.ndarray[tuple[int], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Cell:
    """One way to answer a problem; `label` names it in the work file, with its parameters."""

    label: str
    make: Callable[[str], Program]
    policy: PolicySpec


def arguments(description: str, work: str) -> argparse.ArgumentParser:
    """Return a parser with what all live benchmarks of searches and thoughts take."""
    parser = _script.arguments(description)
    parser.add_argument("--questions", type=int, default=EVALUATED, help="held-out problems")
    parser.add_argument("--seeds", type=int, default=3, help="runs of every problem")
    parser.add_argument("--engine", default="embedded", help="URL or GGUF file")
    parser.add_argument("--threads", type=int, help="of an embedded engine")
    parser.add_argument("--live", type=int, default=16, help="problems worked on at once")
    parser.add_argument("--block", type=int, default=25, help="problems before the next program")
    parser.add_argument(
        "--work", type=Path, default=Path("build") / work, help="folder of what was found so far"
    )
    return parser


def evaluation(count: int) -> list[Problem]:
    """Return the problems that judge."""
    if not 1 <= count <= EVALUATED:
        raise SystemExit(f"--questions is {count}; expected 1 to {EVALUATED}")
    return heldout(count)


def calibration(count: int) -> list[Problem]:
    """Return the problems that thresholds are chosen on; none of them judges."""
    most = POOL - EVALUATED
    if not 2 <= count <= most:
        raise SystemExit(f"--calibration is {count}; expected 2 to {most}")
    return heldout(EVALUATED + count)[EVALUATED:]


def settings(options: argparse.Namespace, seed: int = 0) -> Settings:
    """Return the settings of a run; whoever judges is told to as the embedded model is."""
    judge = getattr(options, "judge", None)
    return load_settings(
        engine=options.engine,
        threads=options.threads,
        live=options.live,
        seed=seed,
        task=TASK,
        reward_engine=judge,
        judge_instruction=SHIPPED_JUDGE.instruction,
        judge_mark=SHIPPED_JUDGE.mark,
    )


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    """Return what must be the same for all that is compared."""
    names = ("engine", "threads", "live", "judge")
    return {name: getattr(options, name, None) for name in names}


async def alternate(
    cells: Sequence[Cell],
    problems: Sequence[Problem],
    options: argparse.Namespace,
    work: Work[T],
    judge: Callable[[Dynasor, Problem, Result, float], Awaitable[T]],
) -> None:
    """Run what the work file lacks; its keys are (label, seed, problem's id).

    `judge` makes a value of a result; it is given the block's seconds a problem, and is not
    part of them. Raises the first error of a problem that failed.
    """
    firsts = range(0, len(problems), options.block)
    blocks = [
        (seed, problems[first : first + options.block])
        for seed, first in product(range(options.seeds), firsts)
    ]
    for number, (seed, block) in enumerate(blocks):
        for cell in rotated(cells, number):
            missing = [one for one in block if (cell.label, seed, one.id) not in work]
            if not missing:
                continue
            async with Dynasor(settings=settings(options, seed)) as dynasor:
                results, seconds = await _run_block(dynasor, cell, missing)
                for problem, result in zip(missing, results, strict=True):
                    value = await judge(dynasor, problem, result, seconds / len(missing))
                    work.add((cell.label, seed, problem.id), value)
            print(
                f"  block {number + 1} of {len(blocks)}, seed {seed}, {cell.label}: "
                f"{len(missing)} problems in {seconds:.1f} s",
                file=sys.stderr,
                flush=True,
            )


def rotated(items: Sequence[T], by: int) -> Iterator[T]:
    """Yield all items, beginning `by` places further on."""
    return (items[(place + by) % len(items)] for place in range(len(items)))


async def _run_block(
    dynasor: Dynasor, cell: Cell, problems: Sequence[Problem]
) -> tuple[list[Result], float]:
    """Return the problems' results, and the seconds that they took together."""
    loop = asyncio.get_running_loop()
    room = asyncio.Semaphore(dynasor.settings.live)
    began = loop.time()

    async def one(problem: Problem) -> Result:
        async with room:
            program = cell.make(problem.question)
            return await dynasor.run(program, policy=cell.policy, program_id=problem.id)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(problem)) for problem in problems]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks], loop.time() - began


def column(values: Sequence[Sequence[float]]) -> Numbers:
    """Return each question's mean over seeds: `values[question][seed]`."""
    return np.array([np.mean(row) for row in values])


def row_mean(values: Numbers) -> dict[str, float]:
    """Return a mean over questions with its 95 % bootstrap interval."""
    return change(values, np.zeros(len(values)))


def change(own: Numbers, other: Numbers) -> dict[str, float]:
    """Return the mean of `own - other` over the same questions, with its interval."""
    return asdict(paired_mean(own.tolist(), other.tolist()))


def saved(own: Numbers, other: Numbers) -> dict[str, float]:
    """Return the share of `other` that `own` does not take, with its interval."""
    ratio = ratio_of_sums(own.tolist(), other.tolist())
    return asdict(Interval(1 - ratio.estimate, 1 - ratio.high, 1 - ratio.low))


def spoken(value: dict[str, float], sign: str = "") -> str:
    """Write an estimate with its interval, in percent."""
    middle, low, high = (f"{100 * value[key]:{sign}.1f}" for key in ("estimate", "low", "high"))
    return f"{middle} [{low}, {high}]"
