"""Recorded samples for benchmarks: found, read, and their answers sorted into classes once.

The traces are no part of the repository. They are looked for in `$DYNASOR_TRACES`, else in
`../shared/traces` beside the checkout.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from dynasor.workers import Workers

__all__ = ["Question", "default_folder", "find_trace", "read_questions"]


class Question(Struct, frozen=True):
    """One question's samples as numbers.

    `classes[i]` is the class of sample i's answer, numbered as they first appear in the file, and
    None where it gave none; `tokens[i]` its length; `right` are the classes that the reference
    answer grades as right.
    """

    id: str
    classes: tuple[int | None, ...]
    tokens: tuple[int, ...]
    right: tuple[int, ...]


class _Sample(Struct):
    answer: str | None
    tokens: int


class _Line(Struct):
    id: str
    question: str
    gold: str
    samples: list[_Sample]


class _Cache(Struct):
    digest: str
    questions: list[Question]


def default_folder() -> Path:
    """Return where the traces are looked for; they may be absent."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "traces"
    return Path(os.environ.get("DYNASOR_TRACES") or beside)


def find_trace(folder: Path, name: str) -> Path | None:
    """Return the file of a trace, None where it is absent."""
    path = folder / f"{name}.jsonl.gz"
    return path if path.is_file() else None


def read_questions(
    path: Path, limit: int | None = None, cache: Path | None = None, processes: int = 2
) -> list[Question]:
    """Read a trace's first `limit` questions and sort each one's answers into classes.

    Answers are compared as a live run does it, by the math task in worker processes, each with
    the first member of every class before it. That takes a minute where the answers are formulas:
    `cache` is a folder that keeps the classes until the trace changes.
    """
    data = path.read_bytes()
    digest = hashlib.sha256(data + f"{limit}".encode()).hexdigest()
    kept = None if cache is None else cache / f"{path.name}.{digest[:12]}.classes.json"
    if kept is not None and kept.is_file():
        known = msgspec.json.decode(kept.read_bytes(), type=_Cache)
        if known.digest == digest:
            return known.questions
    lines = gzip.decompress(data).splitlines()[:limit]
    decoder = msgspec.json.Decoder(_Line)
    questions = asyncio.run(_classify([decoder.decode(line) for line in lines], processes))
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(msgspec.json.encode(_Cache(digest, questions)))
    return questions


async def _classify(lines: list[_Line], processes: int) -> list[Question]:
    async with Workers(processes) as workers:
        return list(await asyncio.gather(*(_sort(workers, line) for line in lines)))


async def _sort(workers: Workers, line: _Line) -> Question:
    """Give every sample its class, and grade each class by its first member."""
    answers = tuple(
        dict.fromkeys(sample.answer for sample in line.samples if sample.answer is not None)
    )
    founders, _ = await workers.compare("math", (), answers)
    places: dict[Any, int | None] = {None: None, **dict(zip(answers, founders, strict=True))}
    right = [
        founder
        for founder in sorted(set(founders))
        if await workers.grade("math", line.question, answers[founder], line.gold)
    ]
    return Question(
        line.id,
        tuple(places[sample.answer] for sample in line.samples),
        tuple(sample.tokens for sample in line.samples),
        tuple(right),
    )
