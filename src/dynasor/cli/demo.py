"""`dynasor demo`: the same problems twice on one engine, evenly and with certaindex."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from dynasor.api import Dynasor
from dynasor.cli.options import (
    CapOption,
    EngineOption,
    JsonOption,
    ModelOption,
    PolicyOption,
    ProfileOption,
    SeedOption,
    SlotsOption,
    settings_from,
)
from dynasor.config import Settings
from dynasor.core.allocation import EVEN
from dynasor.core.errors import ConfigError
from dynasor.core.types import PolicySpec
from dynasor.datasets.arithmetic import heldout
from dynasor.evaluate import Judged, Question, Trial, run_trial
from dynasor.programs import SelfConsistency

__all__ = ["demo", "zones_table"]

NAMED = 10
"""Problems of a zone that are named in the table; `--json` names all."""
ZONES = ("easy", "hard", "hopeless")
"""The zones of the paper's figure 1, told from the branches of the even run."""


def demo(
    problems: Annotated[
        int, typer.Option("--problems", "-n", min=1, max=5000, help="How many held-out problems.")
    ] = 40,
    policy: PolicyOption = None,
    profile: ProfileOption = None,
    cap: CapOption = None,
    seed: SeedOption = None,
    engine: EngineOption = None,
    model: ModelOption = None,
    slots: SlotsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer problems twice: every one gets the whole cap, then only what it needs."""
    settings = settings_from(
        None,
        engine=engine,
        model=model,
        slots=slots,
        policy=policy,
        profile=profile,
        cap=cap,
        seed=seed,
    )
    if settings.program != SelfConsistency.name:
        raise ConfigError(
            f"program {settings.program!r}: the demo shows {SelfConsistency.name!r} alone; "
            "`dynasor ask` and `dynasor batch` run any program"
        )
    console = Console(stderr=as_json)
    questions = [Question(p.id, p.question, p.answer) for p in heldout(problems)]
    even, ours = asyncio.run(_run(questions, settings, console))
    if as_json:
        typer.echo(msgspec.json.encode(_figures(even, ours)).decode())
        return
    console.print(_comparison(even, ours, settings))
    console.print(zones_table(even, ours))
    console.print(_conclusion(even, ours))


async def _run(
    questions: Sequence[Question], settings: Settings, console: Console
) -> tuple[Trial, Trial]:
    async with Dynasor(settings=settings) as dynasor:
        engine = next(iter(dynasor.machine.descriptions.values()))
        console.print(
            f"{len(questions)} held-out arithmetic problems, model [b]{engine.model}[/b], "
            f"{dynasor.machine.slots} slots, at most {settings.cap} branches each"
        )
        columns = (
            TextColumn("{task.description:<18}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[tokens]:>8,} tokens  {task.fields[right]:>3} right"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console) as progress:
            even = await _trial(dynasor, questions, EVEN, progress, "even allocation")
            chosen = settings.policy_spec()
            ours = await _trial(dynasor, questions, chosen, progress, f"certaindex, {chosen.name}")
        return even, ours


async def _trial(
    dynasor: Dynasor,
    questions: Sequence[Question],
    policy: PolicySpec,
    progress: Progress,
    name: str,
) -> Trial:
    bar: TaskID = progress.add_task(name, total=len(questions), tokens=0, right=0)
    tokens = right = 0

    def show(judged: Judged) -> None:
        nonlocal tokens, right
        tokens += judged.result.spending.completion_tokens
        right += judged.is_right
        progress.update(bar, advance=1, tokens=tokens, right=right)

    return await run_trial(dynasor, questions, policy, show)


def _comparison(even: Trial, ours: Trial, settings: Settings) -> Table:
    table = Table(title="the same problems, the same engine", title_justify="left")
    table.add_column("")
    for heading in ("even", settings.policy, "change"):
        table.add_column(heading, justify="right")
    points = 100 * (ours.accuracy - even.accuracy)
    table.add_row("accuracy", f"{even.accuracy:.1%}", f"{ours.accuracy:.1%}", f"{points:+.1f} pts")
    table.add_row(
        "tokens", f"{even.tokens:,}", f"{ours.tokens:,}", _change(even.tokens, ours.tokens)
    )
    table.add_row(
        "wall time",
        f"{even.seconds:.1f} s",
        f"{ours.seconds:.1f} s",
        _change(even.seconds, ours.seconds),
    )
    table.add_row(
        "branches",
        f"{even.branches:,}",
        f"{ours.branches:,}",
        _change(even.branches, ours.branches),
    )
    table.add_row("calls aborted", f"{even.aborted_calls:,}", f"{ours.aborted_calls:,}", "")
    return table


def zones_table(even: Trial, ours: Trial) -> Table:
    """Show which problems were easy, hard and hopeless, and what each zone got."""
    table = Table(
        title="where the compute went, even allocation to ours",
        title_justify="left",
        caption="easy: all branches right; hard: some; hopeless: none",
        caption_justify="left",
    )
    for heading in ("zone", "problems", "branches", "right"):
        table.add_column(heading, justify="left" if heading == "zone" else "right", no_wrap=True)
    table.add_column("which")
    for zone in ZONES:
        pairs = [
            (left, right)
            for left, right in zip(even.judged, ours.judged, strict=True)
            if _zone(left) == zone
        ]
        if pairs:
            table.add_row(zone, *_zone_cells(pairs))
        else:
            table.add_row(zone, "0")
    return table


def _zone_cells(pairs: Sequence[tuple[Judged, Judged]]) -> tuple[str, str, str, str]:
    count = len(pairs)
    before = sum(left.result.knob for left, _ in pairs) / count
    after = sum(right.result.knob for _, right in pairs) / count
    right = [sum(judged.is_right for judged in side) for side in zip(*pairs, strict=True)]
    names = " ".join(left.id.rsplit("-", 1)[-1] for left, _ in pairs[:NAMED])
    names += " …" if count > NAMED else ""
    return str(count), f"{before:.1f} → {after:.1f}", f"{right[0]} → {right[1]}", names


def _zone(judged: Judged) -> str:
    if judged.right_votes == 0:
        return "hopeless"
    return "easy" if judged.right_votes == judged.result.knob else "hard"


def _conclusion(even: Trial, ours: Trial) -> str:
    saved = 1 - ours.tokens / max(1, even.tokens)
    time = 1 - ours.seconds / even.seconds
    flips = sum(a.is_right != b.is_right for a, b in zip(even.judged, ours.judged, strict=True))
    return (
        f"[b]{saved:.0%}[/b] of the tokens and [b]{time:.0%}[/b] of the time saved; "
        f"{flips} of {len(even.judged)} problems judged differently"
    )


def _change(before: float, after: float) -> str:
    return f"{(after - before) / before:+.0%}" if before else ""


def _figures(even: Trial, ours: Trial) -> dict[str, Any]:
    """Return the comparison as JSON values."""
    return {
        "problems": len(even.judged),
        "saved_tokens": 1 - ours.tokens / max(1, even.tokens),
        "saved_seconds": 1 - ours.seconds / even.seconds,
        "zones": {zone: [j.id for j in even.judged if _zone(j) == zone] for zone in ZONES},
        **{
            name: {
                "accuracy": trial.accuracy,
                "tokens": trial.tokens,
                "seconds": trial.seconds,
                "branches": trial.branches,
                "aborted_calls": trial.aborted_calls,
            }
            for name, trial in (("even", even), ("ours", ours))
        },
    }
