"""`dynasor batch`: a file of questions in, a file of answers out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dynasor.batch import BatchJob, Tally, run_batch
from dynasor.cli.batch_display import Bar, Lines, Quiet, say
from dynasor.cli.errors import INTERRUPTED
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
    SeedOption,
    SlotsOption,
    TaskOption,
    settings_from,
)
from dynasor.config import Settings
from dynasor.core.errors import DynasorError
from dynasor.runtime import MonotonicClock

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
    policy: PolicyOption = None,
    profile: ProfileOption = None,
    lock: LockOption = None,
    ordering: OrderingOption = None,
    cap: CapOption = None,
    task: TaskOption = None,
    seed: SeedOption = None,
    live: Annotated[
        int | None,
        typer.Option("--live", help="Questions worked on at once, at most.", show_default="256"),
    ] = None,
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
        figures = _figures(job, tally, clock.now())
        typer.echo(msgspec.json.encode(figures).decode())
    else:
        Console().print(_table(job, tally, clock.now()))
    if tally.failed and not tally.answered:
        raise DynasorError("every question failed; their records say why")


async def _run(job: BatchJob, settings: Settings, console: Console, as_json: bool) -> Tally:
    if as_json:
        return await run_batch(job, settings, Quiet(console))
    if not console.is_terminal:
        return await run_batch(job, settings, Lines(console))
    with Bar(console) as bar:
        return await run_batch(job, settings, bar)


def _figures(job: BatchJob, tally: Tally, seconds: float) -> dict[str, Any]:
    return {
        "input": _shown(job.in_path),
        "output": _shown(job.out_path),
        "lines": tally.total,
        "found": tally.found,
        "answered": tally.answered,
        "failed": tally.failed,
        "unusable": tally.unusable,
        "prompt_tokens": tally.prompt_tokens,
        "completion_tokens": tally.completion_tokens,
        "even_tokens_estimate": round(tally.even_tokens),
        "saved_tokens_estimate": round(tally.saved_tokens),
        "saved_share_estimate": round(tally.saved_share, 4),
        "seconds": round(seconds, 3),
    }


def _table(job: BatchJob, tally: Tally, seconds: float) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row("answered", f"{tally.answered:,}")
    if tally.found:
        table.add_row("found", f"{tally.found:,} were in the output already")
    if tally.failed:
        table.add_row("failed", f"{tally.failed:,}; --retry-errors asks them again")
    if tally.unusable:
        table.add_row("unusable", f"{tally.unusable:,} lines; their records say why")
    if tally.answered or tally.failed:
        table.add_row("tokens", f"{tally.completion_tokens:,} generated")
    if tally.even_tokens:
        table.add_row(
            "saved",
            f"about {tally.saved_tokens:,.0f} tokens ({tally.saved_share:.0%}), an estimate: "
            "even allocation would have given every question its cap",
        )
    table.add_row("time", f"{seconds:.1f} s, {tally.written / seconds:.1f} lines a second")
    table.add_row("output", Text(_shown(job.out_path)))
    return table


def _shown(path: Path) -> str:
    """Return a path as text; bytes in it that are no text become '?'."""
    return str(path).encode("utf-8", "replace").decode()
