"""`dynasor calibrate`: choose a policy on recorded samples, judge it, write a profile."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from dynasor.calibrate import (
    CALIBRATED,
    Aim,
    Chosen,
    Measurements,
    calibrate_splits,
    make_profile,
    measure,
    tries_of,
)
from dynasor.cli.options import JsonOption
from dynasor.cli.traces_given import (
    CacheOption,
    GroupingOption,
    LabelsOption,
    LossOption,
    RunCodeOption,
    bar,
    parse_width,
    prepare,
    sorting_from,
    wide_console,
)
from dynasor.core.errors import ConfigError, UnknownName
from dynasor.evaluate.coded import Made, made_by
from dynasor.evaluate.recorded import Recorded
from dynasor.profile import Profile, Range
from dynasor.programs import Mcts
from dynasor.programs.chain_of_thought import ChainOfThought

__all__ = ["calibrate", "summary"]

DEFAULT = ("beta", "sequential")
DEFAULT_CAP, DEFAULT_WIDTH = 20, 4
LOOK = 4096
"""Bytes in which a profile says that it is one: the field is its first."""


def calibrate(
    path: Annotated[Path, typer.Argument(metavar="TRACE", help="A recorded trace with labels.")],
    out: Annotated[Path, typer.Argument(metavar="PROFILE", help="The profile to write.")],
    cap: Annotated[
        int | None,
        typer.Option(
            "--cap",
            help="Most branches, or units of the program.",
            show_default="20; of searches and thoughts what was recorded",
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            "-p",
            metavar="NAME",
            help=f"Policies to choose from; repeat it ({', '.join(CALIBRATED)}).",
            show_default=", ".join(DEFAULT) + "; of searches and thoughts what suits them",
        ),
    ] = None,
    in_flight: Annotated[
        str | None,
        typer.Option(
            "--in-flight",
            "-w",
            metavar="W",
            help="Branches in flight, or 'all'.",
            show_default="4; of searches and thoughts what was recorded",
        ),
    ] = None,
    loss: LossOption = 0.1,
    caution: Annotated[
        float,
        typer.Option("--caution", min=0, help="Standard errors added to a candidate's loss."),
    ] = 2.0,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Shuffles of every question.")] = 10,
    splits: Annotated[
        int, typer.Option("--splits", min=1, help="Random halves; the profile is the first's.")
    ] = 10,
    lock: Annotated[
        bool | None,
        typer.Option(
            "--lock/--no-lock",
            help="Also stop when the leader is safe.",
            show_default="lock; of searches and thoughts no-lock",
        ),
    ] = None,
    labels: LabelsOption = "auto",
    grouping: GroupingOption = "task",
    cache: CacheOption = None,
    run_code: RunCodeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Choose a policy's parameters on half of the questions and judge them on the other half.

    What saves most tokens wins, of all that lose at most --loss points of accuracy against giving
    every question the cap. Every number reported comes from questions that the choice did not
    see.
    """
    for name in policy or ():
        if name not in CALIBRATED:
            raise UnknownName("policy to calibrate:", name, CALIBRATED)
    _check_out(out)  # known before an hour's work
    console = Console(stderr=True)
    sorting = sorting_from(labels, grouping, cache, run_code)
    trace, questions = prepare(path, sorting, console)
    made = made_by(trace)
    is_own = made.cap is not None
    names = tuple(policy or (_suited(made) if is_own else DEFAULT))
    width = made.in_flight if is_own else DEFAULT_WIDTH
    aim = Aim(
        cap=cap or made.cap or DEFAULT_CAP,
        width=width if in_flight is None else parse_width(in_flight),
        loss=loss / 100,
        caution=caution,
        seeds=seeds,
        has_lock=not is_own if lock is None else lock,
        program=made.program.name,
        params=made.program.params,
        tries=tries_of(made, questions),
    )
    measured, choices = _choose(questions, names, aim, splits, console)
    best = _best(choices)
    if choices[best][0].excess:
        console.print(
            f"warning: nothing tried was sure to lose at most {loss:g} points on the "
            f"{len(questions) // 2} questions chosen on; {best} loses least (more questions, "
            "a larger --loss or a smaller --caution would help)",
            style="yellow",
            markup=False,
        )
    today = datetime.now(UTC).date().isoformat()
    profile = make_profile(trace, measured, choices[best], sorting, today)
    profile.write(out)
    if as_json:
        typer.echo(msgspec.json.encode(profile).decode())
        return
    shown = wide_console()
    shown.print(_table(choices, best))
    shown.print(summary(profile), markup=False)
    shown.print(f"\nwritten to {out}; use it with --profile {out}", markup=False)


def _suited(made: Made) -> tuple[str, ...]:
    """Return the policies that suit a program: how often it can be looked at differs."""
    if made.program.name == ChainOfThought.name:
        return ("stepwise", "length")
    return ("threshold", "length", *(["stepwise"] if made.program.name == Mcts.name else []))


def _check_out(out: Path) -> None:
    """Raise `ConfigError` where no profile can stand, and for a file that is something else."""
    if not out.parent.is_dir():
        raise ConfigError(f"profile {out} cannot be written: there is no folder {out.parent}")
    if not out.is_file():
        return
    with out.open("rb") as file:
        beginning = file.read(LOOK)
    if beginning and b'"dynasor_profile"' not in beginning:  # a recording, say: hours of work
        raise ConfigError(f"{out} is there already and is no profile; name another file")


def _choose(
    questions: list[Recorded], names: tuple[str, ...], aim: Aim, splits: int, console: Console
) -> tuple[Measurements, dict[str, list[Chosen]]]:
    """Measure all candidates once, then choose and judge each policy on every split."""
    with bar(console) as progress:
        task = progress.add_task("replaying candidates", total=None)
        measured = measure(
            questions,
            names,
            aim,
            lambda: progress.advance(task),
            lambda total: progress.update(task, total=total),
        )
        task = progress.add_task("choosing and judging", total=splits * len(names))
        return measured, {
            name: calibrate_splits(measured, name, splits, lambda: progress.advance(task))
            for name in names
        }


def _best(choices: dict[str, list[Chosen]]) -> str:
    """Return the policy that costs least on the questions that the first split was fitted on."""

    def cost(name: str) -> tuple[float, float]:
        first = choices[name][0]
        return first.excess, first.fitted.tokens

    return min(choices, key=cost)


def _table(choices: dict[str, list[Chosen]], best: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for name, justify in (
        ("policy", "left"),
        ("saved %", "right"),
        ("over the splits", "right"),
        ("change, points", "right"),
        ("over the splits", "right"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for name, splits in choices.items():
        first = splits[0].judged
        saved = [100 * one.judged.saved.estimate for one in splits]
        change = [100 * one.judged.accuracy_change.estimate for one in splits]
        table.add_row(
            f"{name} *" if name == best else name,
            f"{100 * first.saved.estimate:.1f}",
            f"{fmean(saved):.1f} ({min(saved):.1f} to {max(saved):.1f})",
            f"{100 * first.accuracy_change.estimate:+.2f}",
            f"{fmean(change):+.2f} ({min(change):+.2f} to {max(change):+.2f})",
        )
    return table


def summary(profile: Profile) -> str:
    """Say in plain words what a profile is and what it was measured to do."""
    measured = profile.measured
    params = ", ".join(f"{key}={_short(value)}" for key, value in profile.params.items())
    width = "all branches" if profile.width is None else f"{profile.width} branches"
    lock = " with the lock" if profile.lock else ""
    return (
        f"\nProfile of {profile.made} for {profile.workload} ({profile.task}) on {profile.model}.\n"
        f"Policy {profile.policy}{lock}: {params or 'defaults'}.\n"
        f"Cap {profile.cap}, {width} in flight. Chosen on {measured.fitted_on} questions to lose "
        f"at most {100 * profile.loss:g} points; judged on {measured.judged_on} others, "
        f"{measured.shuffles} shuffles each:\n"
        f"  tokens saved     {_percent(measured.saved)} %\n"
        f"  accuracy         {_percent(measured.accuracy)} %\n"
        f"  accuracy change  {_percent(measured.accuracy_change, '+.2f')} points"
    )


def _percent(interval: Range, form: str = ".1f") -> str:
    low, middle, high = (
        format(100 * value, form) for value in (interval.low, interval.estimate, interval.high)
    )
    return f"{middle} ({low} to {high})"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
