"""Recordings of the held-out problems, made where they are missing, and sorted."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from _alternating import calibration, evaluation, settings
from dynasor.config import format_policy
from dynasor.core.types import PolicySpec, ProgramSpec
from dynasor.datasets.questions import QuestionLine
from dynasor.evaluate.classes import Sorting, default_cache, sort_trace
from dynasor.evaluate.recorded import Recorded
from dynasor.record import RecordJob, Tally, record
from dynasor.traces import Trace, read_trace

__all__ = ["open_recording", "places", "questions"]

WORKLOAD = "arithmetic"
TOLD_EVERY = 25
"""Questions between two lines of progress."""


def questions(options: argparse.Namespace) -> list[QuestionLine]:
    """Return the problems that judge, and then those that thresholds are chosen on."""
    problems = evaluation(options.questions) + calibration(options.calibration)
    return [QuestionLine(one.id, one.question, one.answer) for one in problems]


def places(options: argparse.Namespace) -> tuple[range, range]:
    """Return where in `questions` those to choose on stand, and those that judge."""
    end = options.questions
    return range(end, end + options.calibration), range(end)


def open_recording(
    options: argparse.Namespace,
    name: str,
    program: ProgramSpec,
    samples: int,
    searches: int = 1,
    policy: PolicySpec | None = None,
) -> tuple[Trace, list[Recorded]]:
    """Record what is missing under a name in the work folder; return it in `questions`' order.

    Ends the script with one line where questions could not be recorded.
    """
    asked = questions(options)
    options.work.mkdir(parents=True, exist_ok=True)
    path: Path = options.work / f"{name}.jsonl.gz"
    job = RecordJob(
        asked,
        WORKLOAD,
        path,
        samples,
        has_logprobs=False,
        program=program,
        searches=searches,
        policy=policy,
    )
    said = "" if policy is None else f" under {format_policy(policy)}"
    print(f"recording {name}: {program.name}{said}, {path}", file=sys.stderr, flush=True)
    tally = asyncio.run(record(job, settings(options), _Progress(name)))
    if tally.failed:
        raise SystemExit(
            f"{tally.failed} of {tally.total} questions were not recorded, the last one "
            f"{tally.error}; run the same command again"
        )
    trace = read_trace(path)
    sorted_ = {one.id: one for one in sort_trace(trace, Sorting(cache=default_cache()))}
    lines = {line.id: line for line in trace.lines}
    ids = [one.id for one in asked]
    in_order = Trace(trace.path, trace.header, tuple(lines[one] for one in ids), trace.digest)
    return in_order, _listed(sorted_, ids)


def _listed(found: dict[str, Recorded], ids: Sequence[str]) -> list[Recorded]:
    return [found[one] for one in ids]


class _Progress:
    """Tells of a recording now and then."""

    def __init__(self, name: str) -> None:
        self._name = name

    def moved(self, tally: Tally) -> None:
        if tally.done % TOLD_EVERY == 0 or not tally.left:
            print(
                f"  {self._name}: {tally.done} of {tally.total}, "
                f"{tally.completion_tokens:,} tokens now",
                file=sys.stderr,
                flush=True,
            )

    def warn(self, message: str) -> None:
        print(message, file=sys.stderr)
