"""One run that records: what the trace lacks is drawn, and written line by line as it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from dynasor.api import Dynasor, Result
from dynasor.config import MOST_BRANCHES, Settings
from dynasor.core.allocation import EVEN
from dynasor.core.chance import program_seed
from dynasor.core.errors import ConfigError, DynasorError, EngineError
from dynasor.datasets.questions import QuestionLine
from dynasor.engines.protocol import Engine
from dynasor.programs.recording import Drawn, Recording
from dynasor.tally import RunTally, Watcher
from dynasor.tasks.groupings import BY_TASK
from dynasor.traces import Header, Sample, SamplingLine, TraceError, TraceWriter, open_trace
from dynasor.traces.format import VERSION

__all__ = ["RecordJob", "Tally", "record"]

HOPELESS_QUESTIONS = 20
"""So many in a row that an engine let down: it is gone, and the rest would fail too."""

_DRAWN = msgspec.json.Decoder(list[Drawn])


@dataclass(frozen=True, slots=True)
class RecordJob:
    """`samples` of every question, 1 to 1,000, to be written to the trace `out_path`.

    `workload` is what the trace calls the questions; `top_p` in (0, 1] is part of the sampling.
    `has_logprobs` None asks for log-probabilities where all engines give them.
    """

    questions: Sequence[QuestionLine]
    workload: str
    out_path: Path
    samples: int = 20
    top_p: float = 1.0
    has_logprobs: bool | None = None

    def __post_init__(self) -> None:
        """Check the numbers; raises `ConfigError`."""
        if not 1 <= self.samples <= MOST_BRANCHES:
            raise ConfigError(f"samples is {self.samples}; expected 1 to {MOST_BRANCHES:,}")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p is {self.top_p}; expected a number above 0, up to 1")


@dataclass(slots=True)
class Tally(RunTally):
    """Counts of one run; tokens are those of this run.

    Of `total` questions `found` were in the trace already and `recorded` are written now, with
    `samples` samples of which `unanswered` give no answer; `failed` have lost a sample for good
    and are not written: `error` says what happened to the latest of them.
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
    """Sample every question that the trace does not have yet; return the counts.

    All samples go through the scheduler, with even allocation and no lock. They are seeded by
    `settings.seed` and the question's id: a rerun asks for the same ones. A line's place in the
    trace is that of its end. `engines` None takes those of the settings.

    Raises `UserError` for settings that cannot be used and for a trace that was begun otherwise,
    `EngineError` where no engine can be reached at the start, and `DynasorError` where engines
    fail one question after another or the trace cannot be written. A question that fails alone
    raises nothing: it is counted, and the next run asks it again.
    """
    # No two answers are compared here, so nothing that compares them need be there.
    settings = settings.model_copy(update={"grouping": BY_TASK})
    async with Dynasor(engines, settings=settings) as dynasor:
        has_logprobs = _has_logprobs(job, dynasor)
        with TraceWriter(job.out_path, _header(job, dynasor, has_logprobs)) as writer:
            left = _left(job, writer)
            tally = Tally(len(job.questions), len(job.questions) - len(left))
            watcher.moved(tally)
            await _Run(dynasor, job, has_logprobs, writer, tally, watcher).ask_all(left)
            return tally


def _has_logprobs(job: RecordJob, dynasor: Dynasor) -> bool:
    if job.has_logprobs is not None:
        return job.has_logprobs
    return all("logprobs" in one.supports for one in dynasor.machine.descriptions.values())


def _header(job: RecordJob, dynasor: Dynasor, has_logprobs: bool) -> Header:
    """Return what the whole trace has in common: what must be given again to go on with it."""
    settings = dynasor.settings
    return Header(
        dynasor_trace=VERSION,
        kind="sampling",
        workload=job.workload,
        model=next(iter(dynasor.machine.descriptions.values())).model,
        task=settings.task,
        seed=settings.seed,
        sampling={
            "temperature": settings.temperature,
            "max_tokens": settings.max_tokens,
            "top_p": job.top_p,
            "samples": job.samples,
            "logprobs": has_logprobs,
        },
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
    has_logprobs: bool
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
        settings = self.dynasor.settings
        program = Recording(
            question.question,
            task=settings.task,
            cap=self.job.samples,
            seed=program_seed(settings.seed, question.id),
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            top_p=self.job.top_p,
            has_logprobs=self.has_logprobs,
        )
        result: Result = await self.dynasor.submit(
            program, policy=EVEN, program_id=question.id, workload=self.job.workload
        )
        self.tally.bill(result.spending)
        if result.error is not None or result.text is None:
            self._lose(question, result)
        else:
            self._write(question, _DRAWN.decode(result.text))
        self.watcher.moved(self.tally)

    def _write(self, question: QuestionLine, drawn: list[Drawn]) -> None:
        assert len(drawn) == self.job.samples
        extra = question.extra
        estimated = sum(one.tokens for one in drawn if not one.is_counted)
        if estimated:
            extra = {**extra, "estimated_tokens": estimated}
            self._warn_of_estimates()
        samples = tuple(_sample(one) for one in drawn)
        self.writer.append(
            SamplingLine(question.id, question.question, samples, question.reference, extra)
        )
        self.let_down = 0
        self.tally.recorded += 1
        self.tally.samples += len(samples)
        self.tally.unanswered += sum(one.answer is None for one in samples)

    def _warn_of_estimates(self) -> None:
        if not self.has_warned:
            self.has_warned = True
            self.watcher.warn(
                "the engine does not count its tokens: some counts in the trace are estimates "
                "(`estimated_tokens` in a line's `extra` says how many)"
            )

    def _lose(self, question: QuestionLine, result: Result) -> None:
        """Count a question that failed; raises `DynasorError` where there is no more hope."""
        self.tally.failed += 1
        self.tally.error = f"{question.id!r}: {result.error or result.status}"
        if not (isinstance(result.error, EngineError) and result.error.is_retryable):
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


def _sample(one: Drawn) -> Sample:
    return Sample(
        text=one.text,
        tokens=one.tokens,
        answer=one.answer,
        mean_logprob=one.mean_logprob,
        seed=one.seed,
        finish_reason=one.finish_reason,
    )
