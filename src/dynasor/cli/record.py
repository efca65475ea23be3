"""`dynasor record`: a data set in, a trace of many samples of every question out."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dynasor import batch
from dynasor.cli.batch_display import Bar, Lines, Quiet, say
from dynasor.cli.errors import INTERRUPTED
from dynasor.cli.options import (
    ConfigOption,
    EngineOption,
    JsonOption,
    ModelOption,
    SeedOption,
    SlotsOption,
    TaskOption,
    settings_from,
)
from dynasor.config import MOST_BRANCHES, Settings
from dynasor.core.errors import DynasorError
from dynasor.datasets.questions import load_questions, workload_of
from dynasor.record import RecordJob, Tally
from dynasor.record import record as record_all
from dynasor.runtime import MonotonicClock

__all__ = ["record"]


def record(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            help="A JSONL file of questions, arithmetic[:N], or hf:OWNER/NAME[:config][:split].",
        ),
    ],
    out_path: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="The trace; goes on where it ended. .gz: compressed."),
    ],
    samples: Annotated[
        int,
        typer.Option("--samples", "-n", min=1, max=MOST_BRANCHES, help="Samples of each question."),
    ] = 20,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Take the first so many questions only.")
    ] = None,
    engine: EngineOption = None,
    model: ModelOption = None,
    slots: SlotsOption = None,
    task: TaskOption = None,
    temperature: Annotated[
        float | None,
        typer.Option("--temperature", help="Sampling temperature.", show_default="0.7"),
    ] = None,
    top_p: Annotated[float, typer.Option("--top-p", help="Nucleus sampling, above 0 to 1.")] = 1.0,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", help="Longest sample, in tokens.", show_default="1024"),
    ] = None,
    logprobs: Annotated[
        bool | None,
        typer.Option(
            "--logprobs/--no-logprobs",
            help="Ask for log-probabilities.",
            show_default="where the engine has them",
        ),
    ] = None,
    seed: SeedOption = None,
    live: Annotated[
        int | None,
        typer.Option("--live", help="Questions worked on at once, at most.", show_default="256"),
    ] = None,
    question_field: Annotated[
        str | None,
        typer.Option("--question-field", metavar="NAME", help="Field that holds the question."),
    ] = None,
    reference_field: Annotated[
        str | None,
        typer.Option("--reference-field", metavar="NAME", help="Field that holds the reference."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record samples of an engine; stopped at any moment, the same command does the rest."""
    settings = settings_from(
        config,
        engine=engine,
        model=model,
        slots=slots,
        task=task,
        temperature=temperature,
        max_tokens=max_tokens,
        seed=seed,
        live=live,
    )
    questions = load_questions(
        dataset, limit, question_field=question_field, reference_field=reference_field
    )
    job = RecordJob(questions, workload_of(dataset), out_path, samples, top_p, logprobs)
    console = Console(stderr=True)
    clock = MonotonicClock()
    try:
        tally = asyncio.run(_run(job, settings, console, as_json))
    except KeyboardInterrupt:
        say(
            console,
            f"dynasor: interrupted; what is finished is in {_shown(out_path)}, and the "
            "same command does the rest",
        )
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        typer.echo(msgspec.json.encode(_figures(job, tally, clock.now())).decode())
    else:
        Console().print(_table(job, tally, clock.now()))
    if tally.failed:
        raise DynasorError(
            f"{tally.failed:,} of {tally.total:,} questions failed, the last one {tally.error}; "
            "the same command asks them again"
        )


class _Shown:
    """Shows a run as a batch is shown: a question is a line there."""

    def __init__(self, display: Quiet) -> None:
        self._display = display

    def moved(self, tally: Tally) -> None:
        """Show how far it has come."""
        self._display.moved(
            batch.Tally(
                total=tally.total,
                found=tally.found,
                answered=tally.recorded,
                failed=tally.failed,
                prompt_tokens=tally.prompt_tokens,
                completion_tokens=tally.completion_tokens,
            )
        )

    def warn(self, message: str) -> None:
        """Show one line."""
        self._display.warn(message)


async def _run(job: RecordJob, settings: Settings, console: Console, as_json: bool) -> Tally:
    if as_json:
        return await record_all(job, settings, _Shown(Quiet(console)))
    if not console.is_terminal:
        return await record_all(job, settings, _Shown(Lines(console)))
    with Bar(console) as bar:
        return await record_all(job, settings, _Shown(bar))


def _figures(job: RecordJob, tally: Tally, seconds: float) -> dict[str, Any]:
    return {
        "workload": job.workload,
        "output": _shown(job.out_path),
        "questions": tally.total,
        "found": tally.found,
        "recorded": tally.recorded,
        "failed": tally.failed,
        "samples": tally.samples,
        "unanswered": tally.unanswered,
        "prompt_tokens": tally.prompt_tokens,
        "completion_tokens": tally.completion_tokens,
        "seconds": round(seconds, 3),
    }


def _table(job: RecordJob, tally: Tally, seconds: float) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row("recorded", f"{tally.recorded:,} questions")
    if tally.found:
        table.add_row("found", f"{tally.found:,} were in the trace already")
    if tally.failed:
        table.add_row("failed", f"{tally.failed:,}; the same command asks them again")
    if tally.samples:
        share = tally.unanswered / tally.samples
        table.add_row("samples", f"{tally.samples:,}, {share:.1%} of them without an answer")
    if tally.completion_tokens:
        table.add_row("tokens", f"{tally.completion_tokens:,} generated")
    table.add_row("time", f"{seconds:.1f} s")
    table.add_row("trace", Text(_shown(job.out_path)))
    return table


def _shown(path: Path) -> str:
    """Return a path as text; bytes in it that are no text become a mark."""
    return os.fsencode(path).decode("utf-8", "replace")
