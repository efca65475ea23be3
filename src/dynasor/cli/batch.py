"""`dynasor batch`: a file of questions in, a file of answers out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dynasor.batch import BatchJob, Tally, run_batch
from dynasor.cli.long_run import LiveOption, print_end, run_shown
from dynasor.cli.options import (
    CapOption,
    ConfigOption,
    EngineOption,
    JournalOption,
    JsonOption,
    LockOption,
    ModelOption,
    OrderingOption,
    PolicyOption,
    ProfileOption,
    ProgramOption,
    SeedOption,
    SlotsOption,
    TaskOption,
    settings_from,
)
from dynasor.core.errors import DynasorError
from dynasor.traces.lines import shown

__all__ = ["batch"]


def batch(
    in_path: Annotated[
        Path,
        typer.Argument(metavar="IN", help="Questions, a line each, in OpenAI's batch format."),
    ],
    out_path: Annotated[
        Path, typer.Argument(metavar="OUT", help="Answers, a line each; goes on where it ended.")
    ],
    engine: EngineOption = None,
    model: ModelOption = None,
    slots: SlotsOption = None,
    program: ProgramOption = None,
    policy: PolicyOption = None,
    profile: ProfileOption = None,
    lock: LockOption = None,
    ordering: OrderingOption = None,
    cap: CapOption = None,
    task: TaskOption = None,
    seed: SeedOption = None,
    live: LiveOption = None,
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Drop failed records and ask them again.")
    ] = False,
    config: ConfigOption = None,
    journal: JournalOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer a file of questions; stopped at any moment, the same command does the rest."""
    settings = settings_from(
        config,
        engine=engine,
        model=model,
        slots=slots,
        program=program,
        policy=policy,
        profile=profile,
        lock=lock,
        ordering=ordering,
        cap=cap,
        task=task,
        seed=seed,
        live=live,
    )
    job = BatchJob(in_path, out_path, retry_errors, journal)
    tally, seconds = run_shown(
        lambda watcher: run_batch(job, settings, watcher), out_path, is_quiet=as_json
    )
    print_end(_figures(job, tally, seconds), _facts(job, tally, seconds), as_json=as_json)
    if tally.failed and not tally.answered:
        raise DynasorError("every question failed; their records say why")


def _figures(job: BatchJob, tally: Tally, seconds: float) -> dict[str, Any]:
    return {
        "input": shown(job.in_path),
        "output": shown(job.out_path),
        "lines": tally.total,
        "found": tally.found,
        "answered": tally.answered,
        "failed": tally.failed,
        "unusable": tally.unusable,
        "prompt_tokens": tally.prompt_tokens,
        "completion_tokens": tally.completion_tokens,
        "even_tokens_estimate": round(tally.even_tokens),
        "saved_tokens_estimate": round(tally.saved_tokens),
        "saved_share_estimate": round(tally.saved_share or 0.0, 4),
        "seconds": round(seconds, 3),
    }


def _facts(job: BatchJob, tally: Tally, seconds: float) -> dict[str, str]:
    facts = {"answered": f"{tally.answered:,}"}
    if tally.found:
        facts["found"] = f"{tally.found:,} were in the output already"
    if tally.failed:
        facts["failed"] = f"{tally.failed:,}; --retry-errors asks them again"
    if tally.unusable:
        facts["unusable"] = f"{tally.unusable:,} lines; their records say why"
    if tally.answered or tally.failed:
        facts["tokens"] = f"{tally.completion_tokens:,} generated"
    if tally.saved_share is not None:
        facts["saved"] = (
            f"about {tally.saved_tokens:,.0f} tokens ({tally.saved_share:.0%}), an estimate: "
            "even allocation would have given every question its cap"
        )
    facts["time"] = f"{seconds:.1f} s, {tally.ended / seconds:.1f} lines a second"
    return facts | {"output": shown(job.out_path)}
