"""`dynasor simulate`: the scheduler and modelled engines in virtual time, system by system."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from pathlib import Path

import msgspec
import typer
from rich.console import Console

from dynasor.cli.options import ProfileOption
from dynasor.cli.simulation_given import (
    DEFAULT_ENGINE,
    ClusterAsked,
    Given,
    WorkloadAsked,
    check_experiment,
    make_cluster,
    make_systems,
    read_given,
    suited_systems,
)
from dynasor.cli.simulation_options import (
    AgingOption,
    ArrivalsOption,
    BelievedSlotsOption,
    CapOption,
    DeadlineOption,
    DurationOption,
    EvictionOption,
    FiguresOption,
    HorizonOption,
    KvTokensOption,
    LoadOption,
    MaxRunningOption,
    MemoryOption,
    ModelledOption,
    PatienceOption,
    PlotOption,
    ProgramsOption,
    PromptTokensOption,
    RateOption,
    ReplicasOption,
    RunsOption,
    ScaleOption,
    SharedTokensOption,
    SourceArgument,
    SystemsOption,
    TokenBudgetOption,
)
from dynasor.cli.simulation_runs import run_all
from dynasor.cli.simulation_shown import Found, figures, lines, warnings
from dynasor.cli.traces_given import (
    CacheOption,
    GroupingOption,
    LabelsOption,
    RunCodeOption,
    bar,
    sorting_from,
    wide_console,
)
from dynasor.core.errors import ConfigError, DynasorError
from dynasor.online.capacity import at_load, even_capacity
from dynasor.online.outcome import Simulated
from dynasor.online.plots import draw
from dynasor.online.plots import figure as empty_figure
from dynasor.online.run import Experiment
from dynasor.online.seeds import over_seeds
from dynasor.profile import Profile, read_profile

__all__ = ["simulate"]

PICTURES = (".svg", ".png", ".pdf")
PRINTED = "-"


def simulate(
    source: SourceArgument,
    cap: CapOption = None,
    load: LoadOption = None,
    rate: RateOption = None,
    arrivals: ArrivalsOption = None,
    programs: ProgramsOption = None,
    duration: DurationOption = None,
    deadline: DeadlineOption = None,
    scale: ScaleOption = None,
    prompt_tokens: PromptTokensOption = None,
    shared_tokens: SharedTokensOption = None,
    system: SystemsOption = None,
    aging: AgingOption = None,
    patience: PatienceOption = None,
    profile: ProfileOption = None,
    engine: ModelledOption = DEFAULT_ENGINE,
    replicas: ReplicasOption = 1,
    memory: MemoryOption = None,
    kv_tokens: KvTokensOption = None,
    slots: BelievedSlotsOption = None,
    eviction: EvictionOption = None,
    max_running: MaxRunningOption = None,
    token_budget: TokenBudgetOption = None,
    horizon: HorizonOption = None,
    seeds: RunsOption = 1,
    labels: LabelsOption = "auto",
    grouping: GroupingOption = "task",
    cache: CacheOption = None,
    run_code: RunCodeOption = False,
    json_path: FiguresOption = None,
    plot: PlotOption = None,
) -> None:
    """Serve recorded programs on modelled engines: latency, deadlines, fairness, memory.

    The scheduler, the policies and the votes are those of a live run; only time is virtual, and
    the engines are a formula. docs/simulation.md says what is modelled and how to read the report.
    """
    written = {"--json": None if str(json_path) == PRINTED else json_path, "--plot": plot}
    _check_written(written, (source, engine, profile, arrivals))
    if seeds > 1:
        over_seeds((0.0, 1.0))  # what it needs is installed: known before an hour's work
    if horizon is not None and not 0 < horizon < inf:
        raise ConfigError(f"--horizon is {horizon:g}; give a number of seconds above 0")
    calibrated = None if profile is None else read_profile(profile)
    asked = WorkloadAsked(
        cap=cap,
        deadline=deadline,
        arrivals=arrivals,
        prompt_tokens=prompt_tokens,
        shared_tokens=shared_tokens,
        rate=rate,
        load=load,
        programs=programs,
        duration=duration,
        scale=scale,
    )
    cluster = make_cluster(
        ClusterAsked(
            engine=engine,
            replicas=replicas,
            memory=memory,
            kv_tokens=kv_tokens,
            slots=slots,
            eviction=eviction,
            max_running=max_running,
            token_budget=token_budget,
        )
    )
    systems = make_systems(system, aging, patience, calibrated)  # known before an hour's work
    console = Console(stderr=True)
    sorting = sorting_from(labels, grouping, cache, run_code)
    given = read_given(source, asked, sorting, calibrated, console)
    if not system and calibrated is None and (suited := suited_systems(given)):
        systems = make_systems(suited, aging, patience, None)
    _check_written(written, [trace.path for trace in given.traces.values()])
    _tell_misfits(calibrated, given, grouping, console)
    experiment = Experiment(given.workload, given.questions, cluster, horizon)
    check_experiment(experiment)
    found = _run(Found(given, experiment, engine, systems), seeds, plot is not None, console)
    _report(found, json_path, plot, console)


def _check_written(written: dict[str, Path | None], read: Iterable[Path | str | None]) -> None:
    """Raise `ConfigError` for files that cannot be written, before an hour's work.

    `written` is by option; what is read must not be among it.
    """
    sources = [Path(one) for one in read if one is not None and Path(one).exists()]
    for option, path in written.items():
        if path is None:
            continue
        if not path.parent.is_dir():
            text = f"{option} {path} cannot be written: there is no folder {path.parent}"
            raise ConfigError(text)
        if path.is_dir():
            raise ConfigError(f"{option} {path} is a folder; name a file")
        if path.exists() and any(one.samefile(path) for one in sources):
            raise ConfigError(f"{option} {path} is read by this very run; name another file")
    picture = written["--plot"]
    if picture is not None:
        if picture.suffix.lower() not in PICTURES:
            raise ConfigError(f"--plot is {picture}; its name must end in {' or '.join(PICTURES)}")
        empty_figure()  # what it needs is installed


def _tell_misfits(profile: Profile | None, given: Given, grouping: str, console: Console) -> None:
    """Say what the profile was not made for, each once."""
    if profile is None:
        return
    heads = [trace.header for trace in given.traces.values()]
    misfits = [
        misfit
        for head in heads
        for misfit in profile.misfits(
            model=head.model, task=head.task, workload=head.workload, grouping=grouping
        )
    ]
    for misfit in dict.fromkeys(misfits):
        _warn(misfit, console)


def _warn(text: str, console: Console) -> None:
    console.print(f"warning: {text}", style="yellow", markup=False, soft_wrap=True)


def _run(found: Found, seeds: int, has_picture: bool, console: Console) -> Found:
    """Measure the capacity if the rate hangs on it, and make all runs."""
    experiment, load = found.experiment, found.given.load
    first = experiment.workload.seed
    capacity = None
    with bar(console) as progress:
        if load is not None:
            task = progress.add_task("measuring the capacity", total=1)
            capacity = even_capacity(experiment, first)
            progress.remove_task(task)
            experiment = at_load(experiment, load, capacity)
        task = progress.add_task("simulating", total=seeds * len(found.systems))
        runs = run_all(
            experiment,
            found.systems,
            range(first, first + seeds),
            unjudged=found.given.unjudged,
            has_pictures=has_picture,
            on_done=lambda: progress.advance(task),
        )
    return Found(found.given, experiment, found.engine, found.systems, capacity, runs)


def _report(found: Found, json_path: Path | None, plot: Path | None, console: Console) -> None:
    """Print and write everything.

    Raises `DynasorError` where all programs of a system failed, or a promise of ours was broken.
    """
    for warning in warnings(found):
        _warn(warning, console)
    text = "" if json_path is None else _json(found)
    if str(json_path) == PRINTED:
        typer.echo(text)
    else:
        shown = wide_console()
        for line in lines(found, shown.width):
            shown.print(line)
        if json_path is not None:
            _write(json_path, text + "\n")
    if plot is not None:
        draw(_first_runs(found), plot)
    if found.failed:
        raise DynasorError(f"every program failed under {', '.join(found.failed)}")
    broken = found.broken_promises
    if broken:
        raise DynasorError(
            f"the promise of aging was broken {broken} times, which must not be: the fault is "
            "ours, please report it with this command"
        )


def _json(found: Found) -> str:
    return msgspec.json.format(msgspec.json.encode(figures(found)), indent=1).decode()


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as exc:
        raise DynasorError(f"--json {path} cannot be written: {exc.strerror}") from exc


def _first_runs(found: Found) -> dict[str, Simulated]:
    """Return the runs of the first seed, by system."""
    kept = {name: made[0].simulated for name, made in found.runs.items()}
    return {name: one for name, one in kept.items() if one is not None}
