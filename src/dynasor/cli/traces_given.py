"""What the commands on recorded samples share: their options, and traces made ready to replay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dynasor.config import format_policy, parse_policy
from dynasor.core.allocation import make_policy
from dynasor.core.errors import ConfigError, UserError
from dynasor.core.types import PolicySpec
from dynasor.evaluate.classes import GROUPINGS, LABELS, Sorting, default_cache, sort_trace
from dynasor.evaluate.coded import Made
from dynasor.evaluate.processes import cores
from dynasor.evaluate.recorded import Recorded
from dynasor.programs import Mcts
from dynasor.programs.chain_of_thought import ChainOfThought
from dynasor.traces import Trace, read_trace
from dynasor.wiring import make_catalog

__all__ = [
    "CacheOption",
    "GroupingOption",
    "LabelsOption",
    "LossOption",
    "RunCodeOption",
    "SeedsOption",
    "TracesArgument",
    "WidthsOption",
    "bar",
    "parse_rows",
    "parse_width",
    "prepare",
    "sorting_from",
    "usual_rows",
    "wide_console",
]

LOCK = "+lock"
ALL = "all"
WIDE = 120
"""Columns of a table that goes to a file or a pipe, where nothing need wrap."""

TracesArgument = Annotated[
    list[Path], typer.Argument(metavar="TRACE...", help="Recorded traces (see `dynasor trace`).")
]
WidthsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--in-flight",
        "-w",
        metavar="W",
        help="Branches in flight of one question; repeat it; 'all' for as many as a rule allows.",
        show_default="1",
    ),
]
SeedsOption = Annotated[int, typer.Option("--seeds", min=1, help="Shuffles of every question.")]
LossOption = Annotated[
    float,
    typer.Option("--loss", min=0, max=100, help="Accuracy that may be lost, in points (percent)."),
]
LabelsOption = Annotated[
    str,
    typer.Option("--labels", help=f"What makes an answer good: {', '.join(LABELS)}."),
]
GroupingOption = Annotated[
    str,
    typer.Option("--grouping", help="Which answers are the same: 'task', or 'tests' (code)."),
]
CacheOption = Annotated[
    Path | None,
    typer.Option(
        "--cache", help="Folder that keeps compared answers.", show_default="the user's cache"
    ),
]
RunCodeOption = Annotated[
    bool, typer.Option("--run-code", help="Permit to run recorded programs, in a sandbox.")
]


def sorting_from(labels: str, grouping: str, cache: Path | None, run_code: bool) -> Sorting:
    """Return how to sort traces, as the options say; raises `ConfigError`."""
    if labels not in LABELS:
        raise ConfigError(f"--labels is {labels!r}; choose one of {', '.join(LABELS)}")
    if grouping not in GROUPINGS:
        raise ConfigError(f"--grouping is {grouping!r}; choose one of {', '.join(GROUPINGS)}")
    folder = cache or default_cache()
    return Sorting(labels, grouping, folder, cores(), run_code)  # type: ignore[arg-type]


def parse_width(text: str) -> int | None:
    """Read a number of branches in flight."""
    if text == ALL:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise ConfigError(f"--in-flight is {text!r}; give a number from 1, or 'all'")
    return int(text)


def parse_rows(given: list[str]) -> dict[str, PolicySpec]:
    """Read policies written as `NAME[+lock][:key=value,...]`; raises `UserError`."""
    rows: dict[str, PolicySpec] = {}
    known = make_catalog().policies
    for text in given:
        name, colon, rest = text.partition(":")
        has_lock = name.endswith(LOCK)
        spec = parse_policy(name.removesuffix(LOCK) + colon + rest, has_lock=has_lock)
        make_policy(spec, known)
        rows[text] = spec
    return rows


def usual_rows(made: Made) -> list[str]:
    """Return policies that suit the program of a trace, as they are written on a command line.

    Its own, and one that asks again and again; searches level by level end where their recording
    has an end.
    """
    kinds = make_catalog().programs
    usual = kinds[made.program.name].usual_policy if made.program.name in kinds else None
    at: object = {"entropy": 0.85, "reward": 0.99}
    if usual is not None and "at" in usual.params:
        at = usual.params["at"]
    first = made.detect or max(1, (made.cap or 1) // 4)
    rows = [PolicySpec("threshold", {"detect": first, "at": at})]
    if made.program.name in (Mcts.name, ChainOfThought.name):
        rows = [PolicySpec("stepwise", {"every": 1, "at": at})]
    looks = 1 if usual is None else usual.params.get("detect", 1)
    if usual is not None and usual.name != "even" and looks < (made.cap or 1):
        rows.insert(0, usual)
    return list(dict.fromkeys(format_policy(one) for one in rows))


def wide_console() -> Console:
    """Return a console for tables: as wide as they are where the output goes to a file or pipe."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDE)


def bar(console: Console) -> Progress:
    """Return a progress bar that leaves nothing behind."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def prepare(
    path: Path, sorting: Sorting, console: Console, *, needs_quality: bool = True
) -> tuple[Trace, list[Recorded]]:
    """Read a trace, sort its answers, and leave out what cannot be judged, saying so.

    Raises `UserError` where nothing is left, and for searches that no program here made.
    """
    trace = read_trace(path)
    with bar(console) as progress:
        task = progress.add_task("comparing answers", total=len(trace.lines))
        questions = sort_trace(trace, sorting, lambda: progress.advance(task))
    usable = [one for one in questions if one.tokens and (one.has_quality or not needs_quality)]
    for count, what in (
        (sum(not one.tokens for one in questions), "have no sample"),
        (_unjudged(questions) * needs_quality, f"have no {_label(sorting)}"),
        (sum(all(c is None for c in one.classes) for one in usable), "never got an answer (kept)"),
        (sum(not any(one.tokens) for one in usable), "have no tokens to save"),
    ):
        if count:
            line = f"{path}: {count} of {len(questions)} questions {what}"
            console.print(line, style="yellow", markup=False)
    if not usable:
        raise UserError(
            f"{path}: no question has both samples and a {_label(sorting)}; record with "
            "references, or choose other --labels"
        )
    return trace, usable


def _label(sorting: Sorting) -> str:
    """Name what says which answers are good."""
    return {"auto": "reference", "none": "label"}.get(sorting.labels, sorting.labels)


def _unjudged(questions: list[Recorded]) -> int:
    return sum(bool(one.tokens) and not one.has_quality for one in questions)
