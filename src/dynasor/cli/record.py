"""`dynasor record`: a data set in, a trace of samples, searches or thoughts out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dynasor.cli.long_run import LiveOption, print_end, run_shown
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
from dynasor.config import MOST_BRANCHES, parse_policy, parse_program
from dynasor.core.errors import DynasorError
from dynasor.datasets.questions import load_questions, workload_of
from dynasor.programs import BestOfN, SelfConsistency
from dynasor.programs.chain_of_thought import ChainOfThought
from dynasor.record import RecordJob, Tally
from dynasor.record import record as record_all
from dynasor.traces.lines import shown

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
        typer.Option(
            "--samples",
            "-n",
            min=1,
            max=MOST_BRANCHES,
            help="Samples of each question; of a search or a thought its cap.",
        ),
    ] = 20,
    program: Annotated[
        str,
        typer.Option(
            "--program",
            metavar="NAME[:key=value,...]",
            help="What to record: self-consistency, best-of-n, rebase, beam, mcts, "
            "chain-of-thought.",
        ),
    ] = SelfConsistency.name,
    searches: Annotated[
        int, typer.Option("--searches", min=1, help="Searches, or thoughts, of each question.")
    ] = 1,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            "-p",
            metavar="NAME[:key=value,...]",
            help="In which grants a search gets its cap; it must never stop.",
            show_default="even; mcts: even:in_flight=1",
        ),
    ] = None,
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
    live: LiveOption = None,
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
    """Record samples of an engine, searches or thoughts, into a trace.

    Stopped at any moment, the same command does the rest.
    """
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
    job = RecordJob(
        questions,
        workload_of(dataset),
        out_path,
        samples,
        top_p,
        logprobs,
        program=parse_program(program),
        searches=searches,
        policy=None if policy is None else parse_policy(policy, has_lock=False),
    )
    tally, seconds = run_shown(
        lambda watcher: record_all(job, settings, watcher), out_path, is_quiet=as_json
    )
    print_end(_figures(job, tally, seconds), _facts(job, tally, seconds), as_json=as_json)
    if tally.failed:
        raise DynasorError(
            f"{tally.failed:,} of {tally.total:,} questions failed, the last one {tally.error}; "
            "the same command asks them again"
        )


def _figures(job: RecordJob, tally: Tally, seconds: float) -> dict[str, Any]:
    return {
        "workload": job.workload,
        "program": job.program.name,
        "output": shown(job.out_path),
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


def _pieces(job: RecordJob) -> str:
    """Name what the tally counts of a program."""
    if job.program.name in (SelfConsistency.name, BestOfN.name):
        return "samples"
    return "chains" if job.program.name == ChainOfThought.name else "finished paths"


def _facts(job: RecordJob, tally: Tally, seconds: float) -> dict[str, str]:
    facts = {"recorded": f"{tally.recorded:,} questions"}
    if tally.found:
        facts["found"] = f"{tally.found:,} were in the trace already"
    if tally.failed:
        facts["failed"] = f"{tally.failed:,}; the same command asks them again"
    if tally.samples:
        share = tally.unanswered / tally.samples
        facts[_pieces(job)] = f"{tally.samples:,}, {share:.1%} of them without an answer"
    if tally.completion_tokens:
        facts["tokens"] = f"{tally.completion_tokens:,} generated"
    return facts | {"time": f"{seconds:.1f} s", "trace": shown(job.out_path)}
