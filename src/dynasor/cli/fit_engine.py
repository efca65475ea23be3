"""`dynasor fit-engine`: measure a live engine and fit the formula that simulations use."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from dynasor.calibrate.cache_size import CacheSize, cache_size
from dynasor.calibrate.loads import Bench, Plan, TimedLoad, plan_for
from dynasor.calibrate.step_time import FittedStep, Term, fit_step_time, solver
from dynasor.cli.options import (
    ConfigOption,
    JsonOption,
    ModelOption,
    SeedOption,
    SlotsOption,
    settings_from,
)
from dynasor.cli.traces_given import bar, wide_console
from dynasor.config import Settings
from dynasor.core.errors import ConfigError
from dynasor.engines.protocol import Description
from dynasor.runtime import MonotonicClock
from dynasor.sim.engine_file import EngineFile
from dynasor.wiring import make_engines

__all__ = ["fit_engine"]

LOOK = 4096
"""Bytes in which a file says that it is an engine: the field is its first."""
POOR = 0.2
"""Mean error from which on a fit deserves a warning."""


class Wishes(msgspec.Struct, frozen=True):
    """What the user wants measured; None where the engine decides."""

    most_calls: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    repeats: int
    token_budget: int


class Measured(msgspec.Struct, frozen=True):
    """What came of it."""

    description: Description
    cache: CacheSize | None
    timed: list[TimedLoad]


def fit_engine(
    engine: Annotated[
        str | None,
        typer.Argument(
            metavar="ENGINE",
            help="An OpenAI-compatible server, a .gguf file, or 'embedded'.",
            show_default="the settings' engine, else embedded",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The engine file to write.")
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency",
            "-c",
            min=1,
            help="Most calls at once.",
            show_default="the engine's slots",
        ),
    ] = None,
    prompt_tokens: Annotated[
        int | None,
        typer.Option(
            "--prompt-tokens",
            min=1,
            help="The long prompts.",
            show_default="half the context, at most 2048",
        ),
    ] = None,
    completion_tokens: Annotated[
        int | None,
        typer.Option(
            "--completion-tokens",
            min=2,
            help="The long completions.",
            show_default="an eighth of the context, at most 128",
        ),
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Loads of each kind.")] = 2,
    kv_tokens: Annotated[
        int | None,
        typer.Option(
            "--kv-tokens",
            min=1,
            help="Tokens that the KV cache holds.",
            show_default="asked from the engine",
        ),
    ] = None,
    token_budget: Annotated[
        int, typer.Option("--token-budget", min=2, help="Most tokens of one step of the engine.")
    ] = 2048,
    model: ModelOption = None,
    slots: SlotsOption = None,
    seed: SeedOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure an engine under loads of every size and fit the seconds of its steps.

    The engine should have nothing else to do meanwhile. What is fitted, and what it leaves out,
    is in docs/engine-model.md.
    """
    solver()  # that it is installed, and below where the file goes: known before a minute's work
    if out is not None:
        _check_out(out)
    settings = settings_from(
        config, engine=None if engine is None else [engine], model=model, slots=slots, seed=seed
    )
    console = Console(stderr=True)
    wishes = Wishes(concurrency, prompt_tokens, completion_tokens, repeats, token_budget)
    measured = asyncio.run(_measure(settings, wishes, console))
    fitted = fit_step_time(measured.timed, token_budget)
    cache = measured.cache if kv_tokens is None else CacheSize(kv_tokens)
    found = EngineFile(
        model=measured.description.model,
        step=fitted.step,
        kv_tokens=None if cache is None else cache.tokens,
        block_tokens=16 if cache is None else cache.block_tokens,
        max_running=measured.description.slots,
        token_budget=token_budget,
        fit=fitted.fit,
    )
    for warning in _warnings(found):
        console.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    if out is not None:
        found.write(out)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    shown = wide_console()
    shown.print(_table(fitted))
    shown.print(_summary(found), markup=False, highlight=False)
    if out is not None:
        shown.print(f"\nwritten to {out}", markup=False, highlight=False)


def _check_out(out: Path) -> None:
    """Raise `ConfigError` where no file can stand, and for one that is something else."""
    if not out.parent.is_dir():
        raise ConfigError(f"engine {out} cannot be written: there is no folder {out.parent}")
    if out.is_dir():
        raise ConfigError(f"engine {out} cannot be written: it is a folder; name a file in it")
    if not out.is_file():
        return
    with out.open("rb") as file:
        beginning = file.read(LOOK)
    if beginning and b'"dynasor_engine"' not in beginning:
        raise ConfigError(f"{out} is there already and is no engine; name another file")


async def _measure(settings: Settings, wishes: Wishes, console: Console) -> Measured:
    """Start the engine, send it all loads, and close it whatever happens."""
    engines = make_engines(settings)
    if len(engines) != 1:
        raise ConfigError(f"{len(engines)} engines are named; name the one to measure")
    engine = engines[0]
    try:
        description = await engine.start()
        plan = _plan(description, wishes, settings.seed)
        with bar(console) as progress:
            task = progress.add_task("measuring", total=len(plan.loads()))
            bench = Bench(engine, MonotonicClock(), settings.seed)
            timed = await bench.run(plan, lambda: progress.advance(task))
        return Measured(description, await cache_size(engine, description), timed)
    finally:
        await engine.close()


def _plan(description: Description, wishes: Wishes, seed: int) -> Plan:
    """Return what to send; raises `ConfigError` for more than the engine can hold."""
    most_calls = wishes.most_calls or description.slots
    if most_calls > description.slots:
        raise ConfigError(
            f"--concurrency is {most_calls}; the engine runs {description.slots} calls at once, "
            "and loads that wait for each other tell nothing of its steps (--slots says otherwise)"
        )
    if wishes.token_budget <= description.slots:
        raise ConfigError(
            f"--token-budget is {wishes.token_budget}; a step needs room for prompts beside one "
            f"token of each of {description.slots} calls"
        )
    plan = plan_for(description.context_tokens, most_calls, repeats=wishes.repeats, seed=seed)
    plan = replace(
        plan,
        prompt_tokens=wishes.prompt_tokens or plan.prompt_tokens,
        completion_tokens=wishes.completion_tokens or plan.completion_tokens,
    )
    whole = plan.prompt_tokens + plan.completion_tokens
    if description.context_tokens is not None and whole > description.context_tokens:
        raise ConfigError(
            f"a long prompt and completion have {whole} tokens together; the engine takes "
            f"{description.context_tokens}: lower --prompt-tokens or --completion-tokens"
        )
    return plan


def _warnings(found: EngineFile) -> list[str]:
    """Return a sentence for everything that the file should not be trusted with."""
    warnings: list[str] = []
    if found.fit is not None and found.fit.unsure:
        warnings.append(
            f"{', '.join(found.fit.unsure)}: these loads do not tell it from zero, or from the "
            "others; more --repeats, --concurrency or --prompt-tokens may help"
        )
    if found.fit is not None and found.fit.mean_error > POOR:
        warnings.append(
            f"the formula misses the loads by {found.fit.mean_error:.0%} in the mean; was "
            "the engine doing something else too?"
        )
    if found.kv_tokens is None:
        warnings.append(
            "the engine does not say what its KV cache holds; give --kv-tokens, or the file "
            "cannot be simulated"
        )
    return warnings


def _table(fitted: FittedStep) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("coefficient", "µs", "±", "% of the time", ""):
        table.add_column(name, justify="left" if name in ("coefficient", "") else "right")
    for term in fitted.terms:
        table.add_row(
            term.name.replace("_", " "),
            f"{1e6 * term.seconds:.4g}",
            f"{1e6 * term.error:.2g}",
            f"{100 * term.share:.1f}",
            _note(term, fitted),
        )
    return table


def _note(term: Term, fitted: FittedStep) -> str:
    if term.name in fitted.fit.unsure:
        return "[yellow]unsure[/yellow]"
    return "once a call" if term.name == "per_call" else ""


def _summary(found: EngineFile) -> str:
    """Say in plain words what was measured and what the engine holds."""
    fit = found.fit
    held = "unknown size" if found.kv_tokens is None else f"{found.kv_tokens:,} tokens"
    text = f"\n{found.model}: {found.max_running} sequences at once, KV cache of {held}"
    if fit is None:
        return text
    return (
        f"{text}\n{fit.loads} loads of up to {fit.most_calls} calls, {fit.prompt_tokens} prompt "
        f"and {fit.completion_tokens} completion tokens: R² {fit.r_squared:.3f}, "
        f"mean error {fit.mean_error:.1%}"
    )
