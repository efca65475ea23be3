"""Sampling the embedded model, for the benchmarks that its card is made of."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np
from rich.progress import track

import _script
from _script import finish
from dynasor.config import load_settings
from dynasor.core.types import Generate, Generated, Message, Prompt, Sampling
from dynasor.datasets import Problem
from dynasor.engines.llamacpp import SHIPPED_JUDGE
from dynasor.engines.protocol import Description, Engine, Meter
from dynasor.evaluate import paired_mean
from dynasor.tasks import tasks
from dynasor.wiring import make_engines

__all__ = [
    "LONGEST",
    "TEMPERATURE",
    "answer_of",
    "arguments",
    "at_once",
    "finish",
    "generate",
    "mean",
    "prompt",
    "sampler",
    "started",
]

TEMPERATURE = 0.7
LONGEST = {"<|solve|>": 100, "<|think|>": 600}

In = TypeVar("In")
Out = TypeVar("Out")


def arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser with what all of these benchmarks take."""
    parser = _script.arguments(description)
    parser.add_argument("--questions", type=int, default=500, help="held-out problems")
    parser.add_argument("--engine", default="embedded", help="URL or GGUF file")
    parser.add_argument("--threads", type=int, help="of the embedded engine")
    return parser


@contextlib.asynccontextmanager
async def started(name: str, **flags: Any) -> AsyncIterator[tuple[Engine, Description]]:
    """Start one engine by the name that every command takes, and close it.

    Whatever its name, it serves the embedded model, and is told to judge as that is.
    """
    judge = {"judge_instruction": SHIPPED_JUDGE.instruction, "judge_mark": SHIPPED_JUDGE.mark}
    (engine,) = make_engines(load_settings(engine=name, **judge, **flags))
    description = await engine.start()
    try:
        yield engine, description
    finally:
        await engine.close()


def prompt(problem: Problem, mode: str = "<|solve|>", prefix: str = "") -> Prompt:
    """Ask a problem in one of the model's modes; `prefix` is the beginning of its text."""
    return Prompt((Message("system", mode), Message("user", problem.question)), prefix)


def generate(problem: Problem, seed: int | None, mode: str = "<|solve|>") -> Generate:
    """Sample one whole text."""
    return Generate(prompt(problem, mode), Sampling(LONGEST[mode], TEMPERATURE, seed=seed))


async def at_once(
    slots: int, call: Callable[[In], Awaitable[Out]], items: Sequence[In], told: str | None = None
) -> list[Out]:
    """Await `call` for every item, `slots` at a time, in the items' order; `told` names the bar."""
    turn = asyncio.Semaphore(slots)

    async def one(item: In) -> Out:
        async with turn:
            return await call(item)

    calls = [asyncio.ensure_future(one(item)) for item in items]
    try:
        return [await call for call in (track(calls, told, transient=True) if told else calls)]
    finally:
        for each in calls:
            each.cancel()


def sampler(engine: Engine) -> Callable[[Generate], Awaitable[Generated]]:
    """Return a call for `at_once`."""
    return lambda work: engine.generate(work, Meter())


def answer_of(text: str) -> str | None:
    """Return the boxed answer of a text."""
    return tasks()["math"].extract(text)


def mean(values: Sequence[float]) -> dict[str, float]:
    """Return a mean over questions with its 95 % bootstrap interval."""
    return asdict(paired_mean(values, np.zeros(len(values)).tolist()))
