"""One run that records: what the trace lacks is had, and written line by line as it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from dynasor.api import Dynasor, Result
from dynasor.config import Settings
from dynasor.core.errors import ConfigError, DynasorError, EngineError
from dynasor.datasets.questions import QuestionLine
from dynasor.engines.protocol import Engine
from dynasor.record.job import RecordJob
from dynasor.record.keepers import Keeper, keeper_of
from dynasor.tally import RunTally, Watcher
from dynasor.tasks.groupings import BY_TASK
from dynasor.traces import Header, TraceError, TraceWriter, open_trace
from dynasor.traces.format import VERSION

__all__ = ["Tally", "record"]

HOPELESS_QUESTIONS = 20
"""So many in a row that an engine let down: it is gone, and the rest would fail too."""

FINISHED = ("cap", "done", "nothing granted")
"""Reasons of an ending that the policy did not choose for what was found."""
LOST = " lost"
"""How a note ends that says that something is missing."""


@dataclass(slots=True)
class Tally(RunTally):
    """Counts of one run; tokens are those of this run.

    Of `total` questions `found` were in the trace already and `recorded` are written now, with
    `samples` samples (of a search: finished paths; of thoughts: chains) of which `unanswered` give
    no answer; `failed` have lost a sample for good and are not written: `error` says what happened
    to the latest of them.
    """

    recorded: int = 0
    samples: int = 0
    unanswered: int = 0
    error: str = ""

    @property
    def ended(self) -> int:
        """Questions that were recorded, or failed."""
        return self.recorded + self.failed


async def record(
    job: RecordJob,
    settings: Settings,
    watcher: Watcher[Tally],
    engines: Sequence[Engine] | None = None,
) -> Tally:
    """Record every question that the trace does not have yet; return the counts.

    All calls go through the scheduler, with even allocation or the job's policy, and no lock. They
    are seeded by `settings.seed` and the question's id: a rerun asks for the same ones. A line's
    place in the trace is that of its end. `engines` None takes those of the settings.

    Raises `UserError` for settings that cannot be used, for a trace that was begun otherwise, and
    for a policy that stops a program before its cap,
    `EngineError` where no engine can be reached at the start, and `DynasorError` where engines
    fail one question after another or the trace cannot be written. A question that fails alone
    raises nothing: it is counted, and the next run asks it again.
    """
    # No two answers are compared here, so nothing that compares them need be there.
    settings = settings.model_copy(update={"grouping": BY_TASK})
    async with Dynasor(engines, settings=settings) as dynasor:
        keeper = keeper_of(job, settings, dynasor.machine.catalog, _has_logprobs(job, dynasor))
        with TraceWriter(job.out_path, _header(job, dynasor, keeper)) as writer:
            left = _left(job, writer)
            tally = Tally(len(job.questions), len(job.questions) - len(left))
            watcher.moved(tally)
            await _Run(dynasor, job, keeper, writer, tally, watcher).ask_all(left)
            return tally


def _has_logprobs(job: RecordJob, dynasor: Dynasor) -> bool:
    if job.has_logprobs is not None:
        return job.has_logprobs
    return all("logprobs" in one.supports for one in dynasor.machine.descriptions.values())


def _header(job: RecordJob, dynasor: Dynasor, keeper: Keeper) -> Header:
    """Return what the whole trace has in common: what must be given again to go on with it."""
    settings = dynasor.settings
    return Header(
        dynasor_trace=VERSION,
        kind=keeper.kind,
        workload=job.workload,
        model=next(iter(dynasor.machine.descriptions.values())).model,
        task=settings.task,
        seed=settings.seed,
        sampling=keeper.sampling,
    )


def _left(job: RecordJob, writer: TraceWriter) -> list[QuestionLine]:
    """Return the questions that are not in the trace.

    Raises `TraceError` where an id is there with another question: ids that were made up are the
    same in every data set.
    """
    finished = writer.finished
    if finished:
        asked = {one.id: one.question for one in job.questions}
        with open_trace(job.out_path) as trace:
            for line in trace.lines:
                if asked.get(line.id, line.question) != line.question:
                    raise TraceError(
                        f"trace {job.out_path} has another question with the id {line.id!r}: it "
                        "was begun with another data set; give that one, or name another file"
                    )
    return [one for one in job.questions if one.id not in finished]


@dataclass(slots=True)
class _Run:
    """One run, from the first question to the last.

    `let_down` counts the questions in a row that an engine failed to answer.
    """

    dynasor: Dynasor
    job: RecordJob
    keeper: Keeper
    writer: TraceWriter
    tally: Tally
    watcher: Watcher[Tally]
    let_down: int = 0
    has_warned: bool = False

    async def ask_all(self, questions: Sequence[QuestionLine]) -> None:
        """Record these questions; raises the first error that ends the run."""
        room = asyncio.Semaphore(self.dynasor.settings.live)
        try:
            async with asyncio.TaskGroup() as group:
                for question in questions:
                    await room.acquire()
                    asking = group.create_task(self._ask(question))
                    asking.add_done_callback(lambda _: room.release())
        except ExceptionGroup as errors:
            first = errors.exceptions[0]
            raise first from first.__cause__

    async def _ask(self, question: QuestionLine) -> None:
        """Run what a question needs, and write its line where all of it was had."""
        handles = [
            self.dynasor.submit(
                program,
                policy=self.keeper.policy,
                program_id=name,
                workload=self.job.workload,
            )
            for name, program in self.keeper.programs(question).items()
        ]
        results = [await handle for handle in handles]
        for result in results:
            self.tally.bill(result.spending)
        short = next((one for one in results if one.error is not None or one.text is None), None)
        lost = next((note for one in results for note in one.notes if note.endswith(LOST)), "")
        if short is not None or lost:
            self._lose(question, short, lost)
        else:
            self._write(question, results)
        self.watcher.moved(self.tally)

    def _write(self, question: QuestionLine, results: Sequence[Result]) -> None:
        for result in results:
            if result.reason not in FINISHED:
                raise ConfigError(
                    f"the policy stopped question {question.id!r} ({result.reason}) after "
                    f"{result.knob} of {self.job.samples} units; a recording needs them all: give "
                    "a policy that never stops, such as 'even' or 'threshold:at=1'"
                )
        kept = self.keeper.keep(question, results)
        extra = {**question.extra, **kept.line.extra}
        if kept.estimated:
            extra["estimated_tokens"] = kept.estimated
            self._warn_of_estimates()
        self.writer.append(msgspec.structs.replace(kept.line, extra=extra))
        self.let_down = 0
        self.tally.recorded += 1
        self.tally.samples += kept.pieces
        self.tally.unanswered += kept.unanswered

    def _warn_of_estimates(self) -> None:
        if not self.has_warned:
            self.has_warned = True
            self.watcher.warn(
                "the engine does not count its tokens: some counts in the trace are estimates "
                "(`estimated_tokens` in a line's `extra` says how many)"
            )

    def _lose(self, question: QuestionLine, result: Result | None, lost: str) -> None:
        """Count a question that failed; raises `DynasorError` where there is no more hope."""
        error = None if result is None else result.error
        self.tally.failed += 1
        what = lost if result is None else result.error or result.status
        self.tally.error = f"{question.id!r}: {what}"
        is_gone = isinstance(error, EngineError) and error.is_retryable
        if not is_gone and result is not None:
            self.let_down = 0  # a refusal is an answer, if not a sample
            return
        self.let_down += 1
        if self.let_down >= HOPELESS_QUESTIONS:
            done = self.tally.found + self.tally.recorded
            raise DynasorError(
                f"{self.let_down} questions in a row have failed, the last one {self.tally.error}; "
                f"{done:,} of {self.tally.total:,} are in {self.job.out_path}: see to the engine "
                "and run the same command again"
            )
