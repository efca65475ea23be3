"""Running a batch: lines in, records out, as many at once as the settings allow.

    1  lock the output and read what it holds; count the input's lines     nothing changes yet
    2  start the engines; one that is down ends the run here
    3  cut off a torn last line, take out failures that are to be retried
    4  read the input line by line; skip what is done, ask the rest, write each as it ends

Whatever ends a run, `kill -9` included: what is written stands, and the next run does the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dynasor.api import Dynasor, Handle, Result
from dynasor.batch.lines import Line, read_lines
from dynasor.batch.output import Output, OutputError, Progress, read_progress
from dynasor.batch.question import BadLine, Question, read_question
from dynasor.batch.records import Asked, Record, answer_record, bad_line_record, refused_record
from dynasor.batch.survey import survey
from dynasor.batch.tally import Tally
from dynasor.batch.witness import Witness
from dynasor.config import Settings, format_policy
from dynasor.core.errors import EngineUnreachable, UserError
from dynasor.engines.protocol import Engine
from dynasor.requests.program import make_program
from dynasor.runtime.clock import wall_clock
from dynasor.tally import Watcher
from dynasor.wiring import make_engines

__all__ = ["BatchJob", "run_batch"]

HOPELESS_QUESTIONS = 20
"""So many questions in a row without a sign of life: the engine is gone, not the question bad."""
HOPELESS_SECONDS = 60.0
"""No engine could be reached for so long: a restarted one would be back."""
WATCH_SECONDS = 5.0
"""How often that is looked at."""
SAMPLE = "What is 1 + 1?"
"""A question to try the settings' program with, before an engine is loaded."""
BREATH_LINES = 256
"""Lines that may pass without an answer to wait for before others get their turn."""


@dataclass(frozen=True, slots=True)
class BatchJob:
    """What to run: `retry_errors` asks failed questions again; `journal` names a new file."""

    in_path: Path
    out_path: Path
    retry_errors: bool = False
    journal: Path | None = None


async def run_batch(
    job: BatchJob,
    settings: Settings,
    watcher: Watcher[Tally],
    engines: Sequence[Engine] | None = None,
) -> Tally:
    """Answer every line of the input that has no record yet; return the counts.

    `engines` None takes those of the settings. Raises `UserError` for files and settings that
    cannot be used, `EngineError` where no engine can be reached, at the start or any more, and
    `DynasorError` where the output cannot be written. Questions that fail and lines that cannot
    be run raise nothing: they are records.
    """
    with Output(job.out_path) as output:
        if job.in_path.exists() and job.in_path.samefile(job.out_path):
            raise OutputError(f"{job.out_path} is the input and the output; name another output")
        progress = read_progress(job.out_path, drops_failures=job.retry_errors)
        found = survey(job.in_path, progress)
        if found.strangers:
            watcher.warn(_strangers(job, found.strangers))
        tally = Tally(total=found.total)
        if not found.left:
            tally.found = found.total
            output.prepare(progress, drops_failures=job.retry_errors)
            return tally
        witnesses = [Witness(engine) for engine in engines or make_engines(settings)]
        dynasor = Dynasor(witnesses, settings=settings, journal=job.journal)
        dynasor.policy_for(dynasor.make_program(SAMPLE))
        async with dynasor:
            output.prepare(progress, drops_failures=job.retry_errors)
            watcher.moved(tally)
            await _Run(dynasor, witnesses, output, progress, tally, watcher).answer_all(job.in_path)
        return tally


@dataclass(slots=True)
class _Run:
    """One run, from the first line to the last.

    `held` has what failed, or lost branches, since the engines fell silent: it is written at the
    next sign of life or at the input's end, and never if the run stops before, so that the next
    run asks again.
    """

    dynasor: Dynasor
    witnesses: list[Witness]
    output: Output
    progress: Progress
    tally: Tally
    watcher: Watcher[Tally]
    seen: dict[str, int] = field(default_factory=dict)
    held: list[tuple[Record, Result]] = field(default_factory=list)
    has_warned: bool = False

    async def answer_all(self, path: Path) -> None:
        """Answer what has no record; raises the first error that ends the run."""
        room = asyncio.Semaphore(self.dynasor.settings.live)
        try:
            async with asyncio.TaskGroup() as outer:
                watching = outer.create_task(self._watch())
                async with asyncio.TaskGroup() as group:
                    async for question in self._questions(path):
                        await room.acquire()
                        asked = self._ask(question)
                        if asked is None:
                            room.release()
                            continue
                        answering = group.create_task(self._answer(*asked))
                        answering.add_done_callback(lambda _: room.release())
                watching.cancel()
        except BaseExceptionGroup as errors:
            first = _first(errors)
            raise first from first.__cause__
        self._write_held()

    async def _watch(self) -> None:
        """End the run once no engine could be reached for long; say so when that begins."""
        loop = asyncio.get_running_loop()
        has_warned = False
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            since = [witness.unreachable_since for witness in self.witnesses]
            if None in since:
                has_warned = False
                continue
            if not has_warned:
                has_warned = True
                self.watcher.warn(f"no engine can be reached: {self._addresses}; still trying")
            if loop.time() - max(moment for moment in since if moment) > HOPELESS_SECONDS:
                raise self._hopeless(f"for {HOPELESS_SECONDS:.0f} s")

    async def _questions(self, path: Path) -> AsyncIterator[Question]:
        """Yield every question that has no record; write one for every line that is none."""
        for line in read_lines(path):
            if line.number % BREATH_LINES == 0:
                await asyncio.sleep(0)
            question = self._read(line)
            if question is not None:
                yield question

    def _read(self, line: Line) -> Question | None:
        """Return the question of a line; None where there is nothing (more) to do."""
        bad: BadLine | None = None
        question: Question | None = None
        try:
            question = read_question(line)
            name: str | None = question.custom_id
        except BadLine as exc:
            bad, name = exc, exc.custom_id
        if name is not None and name in self.seen:
            place = f"custom_id {name!r} stands in line {self.seen[name]} already"
            bad = BadLine("duplicate_custom_id", place, "custom_id", name)
        elif name is not None:
            self.seen[name] = line.number
            if name in self.progress.finished:
                self.tally.found += 1
                return None
        # A line that was corrected meanwhile has another custom_id, or has one now.
        if self.progress.bad_lines.get(line.number, ...) == name:
            self.tally.found += 1
            return None
        if bad is not None:
            self._write_unusable(bad_line_record(line.number, bad))
            return None
        return question

    def _ask(self, question: Question) -> tuple[Asked, Handle] | None:
        """Start a question; None where it is refused, which is its record."""
        extras, settings = question.body.extras, self.dynasor.settings
        try:
            program = make_program(question.body, settings, self.dynasor.machine.catalog)
            policy = self.dynasor.policy_for(program, extras.policy)
            handle = self.dynasor.submit(
                program,
                policy=policy,
                deadline_seconds=extras.deadline_seconds,
                workload=program.task,
            )
        except UserError as exc:
            self._write_unusable(refused_record(question, exc))
            return None
        self._compare_model(question.body.model)
        return Asked(question, program, format_policy(policy)), handle

    async def _answer(self, asked: Asked, handle: Handle) -> None:
        result: Result = await handle
        record = answer_record(asked, result, self._model, wall_clock())
        is_silent = all(witness.is_silent for witness in self.witnesses)
        if is_silent and (result.error is not None or result.failed_attempts):
            self.held.append((record, result))
            if len(self.held) >= HOPELESS_QUESTIONS:
                raise self._hopeless(f"during the last {len(self.held)} questions")
            return
        if not is_silent:
            self._write_held()
        self._write(record, result)

    @property
    def _model(self) -> str:
        """The model that answers."""
        return next(iter(self.dynasor.machine.descriptions.values())).model

    def _write(self, record: Record, result: Result) -> None:
        self.output.write(record)
        self.tally.add(result)
        self.watcher.moved(self.tally)

    def _write_held(self) -> None:
        while self.held:
            self._write(*self.held.pop(0))

    def _write_unusable(self, record: Record) -> None:
        self.output.write(record)
        self.tally.unusable += 1
        self.watcher.moved(self.tally)

    def _compare_model(self, wanted: str | None) -> None:
        if wanted not in (None, self._model) and not self.has_warned:
            self.has_warned = True
            self.watcher.warn(f"a question asks for model {wanted!r}; {self._model!r} answers all")

    @property
    def _addresses(self) -> str:
        return ", ".join(witness.address for witness in self.witnesses)

    def _hopeless(self, how_long: str) -> EngineUnreachable:
        return EngineUnreachable(
            self._addresses,
            f"it has not answered {how_long}; "
            f"{self.tally.done:,} of {self.tally.total:,} lines are in {self.output.path}: "
            "start the engine and run the same command again",
        )


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of a group, however deep it is."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _strangers(job: BatchJob, count: int) -> str:
    return (
        f"{job.out_path} holds {count:,} answers to questions that {job.in_path} does not have; "
        "they are kept: is it the output of another input?"
    )
