"""From a trace's texts to `Recorded` questions: answers compared and graded once, then kept.

Answers are compared as a live run compares them: by the task, at sight or in worker processes,
each with the first member of every class before it. What that gives is kept on disk until the
trace or the way of sorting changes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal, get_args

import msgspec

from dynasor.core.errors import UserError
from dynasor.evaluate.coded import Made, made_by
from dynasor.evaluate.recorded import Recorded
from dynasor.evaluate.searches import finished_paths, with_searches
from dynasor.evaluate.thoughts import all_answers, with_thoughts
from dynasor.tasks import task
from dynasor.traces import ChainLine, Line, Sample, SamplingLine, Trace, TreeLine
from dynasor.workers import Workers
from dynasor.workers.sandbox import Sandbox

__all__ = ["GROUPINGS", "LABELS", "Labels", "Sorting", "default_cache", "sort_trace"]

BY_TASK, BY_TESTS = "task", "tests"
GROUPINGS = (BY_TASK, BY_TESTS)
"""Equal as the task says, or programs that pass the same of the model's own tests (CodeT, arXiv
2207.10397); one that passes none of them is no answer, as CodeT gives its set no weight."""
SORTING_VERSION = 2
"""Raised whenever the same trace would be sorted differently."""

Labels = Literal["auto", "reference", "verdict", "ranking", "reward", "none"]
LABELS: tuple[str, ...] = get_args(Labels)


@dataclass(frozen=True, slots=True)
class Sorting:
    """How to sort and grade a trace.

    `labels` says what makes an answer good: its equality to the `reference`; the `verdict` that
    came with the samples; its `ranking` among them (1 for the first place, 0 for the last, the
    mean over a class); its `reward`; `none`. `auto` takes the verdicts if there are any, else the
    references. `cache` is a folder, None keeps nothing. `run_code` permits to run programs.
    """

    labels: Labels = "auto"
    grouping: str = BY_TASK
    cache: Path | None = None
    processes: int = 1
    run_code: bool = False


def default_cache() -> Path:
    """Return the user's cache folder for sorted traces."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "dynasor" / "classes"


def sort_trace(
    trace: Trace, sorting: Sorting, on_question: Callable[[], None] | None = None
) -> list[Recorded]:
    """Sort and grade a trace's answers; `on_question` is called as each is done.

    The answers of a search are those of its finished paths, those of a chain of thought its probes'
    and its own. Raises `UserError` for a trace that does not say which program made it, and for
    labels that it does not have.
    """
    made_by(trace)
    kept = _cache_file(trace, sorting)
    if kept is not None and kept.is_file():
        try:
            return msgspec.json.decode(kept.read_bytes(), type=list[Recorded])
        except msgspec.MsgspecError:
            kept.unlink()  # torn by a full disk or a kill: it is made again
    questions = asyncio.run(_sort_all(trace, sorting, on_question or (lambda: None)))
    if kept is not None:
        _keep(kept, questions)
    return questions


def _keep(path: Path, questions: list[Recorded]) -> None:
    beside = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(msgspec.json.encode(questions))
        beside.replace(path)
    except OSError as exc:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise UserError(
            f"what was compared cannot be kept in {path.parent}: {exc.strerror}; "
            "name a folder that can be written to"
        ) from exc


def _cache_file(trace: Trace, sorting: Sorting) -> Path | None:
    if sorting.cache is None:
        return None
    key = f"{trace.digest}/{SORTING_VERSION}/{sorting.grouping}/{sorting.labels}"
    return sorting.cache / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


async def _sort_all(
    trace: Trace, sorting: Sorting, on_question: Callable[[], None]
) -> list[Recorded]:
    name = trace.header.task
    needs_sandbox = sorting.grouping == BY_TESTS or (
        task(name).runs_programs and sorting.labels in ("auto", "reference")
    )
    sandbox = (
        Sandbox(is_allowed=sorting.run_code, processes=sorting.processes) if needs_sandbox else None
    )
    async with Workers(sorting.processes) as workers:
        sorter, made = _Sorter(workers, sandbox, name, sorting), made_by(trace)

        async def one(line: Line) -> Recorded:
            found = await _sort_line(sorter, line, made)
            on_question()
            return found

        return list(await asyncio.gather(*(one(line) for line in trace.lines)))


async def _sort_line(sorter: _Sorter, line: Line, made: Made) -> Recorded:
    """Sort a line's answers as if they were samples, then put each where it belongs."""
    match line:
        case SamplingLine():
            return await sorter.sort(line)
        case TreeLine():
            return with_searches(line, await sorter.sort(finished_paths(line)), made.step_end)
        case ChainLine():
            answers = await sorter.sort(all_answers(line))
            return with_thoughts(line, answers, made.every, made.cap or 1)


@dataclass(frozen=True, slots=True)
class _Sorter:
    workers: Workers
    sandbox: Sandbox | None
    task: str
    sorting: Sorting

    async def sort(self, line: SamplingLine) -> Recorded:
        """Give every sample its class, and every class its quality."""
        classes = await self._classes(line)
        members: list[list[Sample]] = [[] for _ in {one for one in classes if one is not None}]
        for sample, group in zip(line.samples, classes, strict=True):
            if group is not None:
                members[group].append(sample)
        label = _label(line, self.sorting.labels)
        if label == "reference":
            quality = await self._right(line, members)
        else:
            quality = [_mean_quality(each, label, len(line.samples)) for each in members]
        rewards = [one.reward for one in line.samples if one.reward is not None]
        logprobs = [one.mean_logprob for one in line.samples if one.mean_logprob is not None]
        return Recorded(
            id=line.id,
            question=line.question,
            classes=classes,
            tokens=tuple(one.tokens for one in line.samples),
            quality=tuple(quality),
            has_quality=label != "none",
            rewards=tuple(rewards) if len(rewards) == len(classes) else (),
            logprobs=tuple(logprobs) if len(logprobs) == len(classes) else (),
        )

    async def _classes(self, line: SamplingLine) -> tuple[int | None, ...]:
        """Return each sample's class, numbered by first appearance; None without an answer."""
        given = [one.answer for one in line.samples]
        answers = list(dict.fromkeys(one for one in given if one is not None))
        homes: Sequence[Hashable]
        if self.sorting.grouping == BY_TESTS:
            assert self.sandbox is not None
            tests = line.extra.get("own_tests")
            if not isinstance(tests, list):
                raise UserError(f"question {line.id!r} has no 'own_tests' to group its answers by")
            signed = await self.sandbox.agree(line.question, answers, [str(one) for one in tests])
            # A program that passes none of the tests agrees with others of its kind in nothing.
            answers, homes = _passing(answers, signed)
        else:
            homes, _ = await self.workers.compare(self.task, (), tuple(answers))
        numbers = {home: number for number, home in enumerate(dict.fromkeys(homes))}
        place = {answer: numbers[home] for answer, home in zip(answers, homes, strict=True)}
        return tuple(None if one is None else place.get(one) for one in given)

    async def _right(self, line: SamplingLine, members: list[list[Sample]]) -> list[float]:
        """Return the share of each class's members that the reference proves right.

        Where answers are compared, the first member speaks for its class. Programs are all run:
        those of one class need not all be right.
        """
        reference = line.reference or ""
        if self.sandbox is None or not task(self.task).runs_programs:
            return [
                float(await self.workers.grade(self.task, line.question, each[0].answer, reference))
                for each in members
            ]
        answers = [one.answer for each in members for one in each]
        outcomes = iter(await self.sandbox.grade_many(line.question, answers, reference))
        return [fmean(next(outcomes).is_passed for _ in each) for each in members]


def _passing(
    answers: Sequence[str], signed: Sequence[tuple[bool, ...]]
) -> tuple[list[str], list[tuple[bool, ...]]]:
    """Return the programs that pass some test, and which tests each passes."""
    kept = [(one, passed) for one, passed in zip(answers, signed, strict=True) if any(passed)]
    return [one for one, _ in kept], [passed for _, passed in kept]


def _label(line: SamplingLine, wanted: Labels) -> Labels:
    """Return which label a question is judged by; raise `UserError` where it has not got it."""
    has: dict[Labels, bool] = {
        "verdict": any(one.is_right is not None for one in line.samples),
        "reference": line.reference is not None,
        "ranking": all(one.rank is not None for one in line.samples),
        "reward": all(one.reward is not None for one in line.samples),
        "none": True,
    }
    if wanted == "auto":
        return next(name for name in ("verdict", "reference", "none") if has[name])
    if wanted in ("ranking", "reward") and not has[wanted]:
        raise UserError(
            f"question {line.id!r} has a sample without {wanted}; "
            "record it for every sample, or choose other labels"
        )
    return wanted if has[wanted] else "none"


def _mean_quality(members: list[Sample], label: Labels, samples: int) -> float:
    """Return the mean quality of a class's members; what has no verdict is wrong."""
    if label == "verdict":
        return fmean(one.is_right is True for one in members)
    if label == "ranking":
        places = (min(one.rank or samples, samples) - 1 for one in members)
        return fmean(1 - place / max(1, samples - 1) for place in places)
    if label == "reward":
        return fmean(one.reward or 0.0 for one in members)
    return 0.0
