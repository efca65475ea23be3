"""The options of `dynasor simulate`, by what they are about."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dynasor.cli.simulation_given import (
    DEFAULT_CAP,
    DEFAULT_LOAD,
    DEFAULT_PROGRAMS,
    DEFAULT_SYSTEMS,
)
from dynasor.core.ordering import orderings
from dynasor.online.systems import system_names

__all__ = [
    "AgingOption",
    "ArrivalsOption",
    "BelievedSlotsOption",
    "CapOption",
    "DeadlineOption",
    "DurationOption",
    "EvictionOption",
    "FiguresOption",
    "HorizonOption",
    "KvTokensOption",
    "LoadOption",
    "MaxRunningOption",
    "MemoryOption",
    "ModelledOption",
    "PlotOption",
    "ProgramsOption",
    "PromptTokensOption",
    "RateOption",
    "ReplicasOption",
    "RunsOption",
    "ScaleOption",
    "SharedTokensOption",
    "SourceArgument",
    "SystemsOption",
    "TokenBudgetOption",
]

SERVED, BY, ON, HOW = "What is served", "By whom", "On what", "How it is reported"

SourceArgument = Annotated[
    Path,
    typer.Argument(metavar="TRACE|WORKLOAD.toml", help="A trace, or a workload file."),
]
CapOption = Annotated[
    int | None,
    typer.Option(
        "--cap",
        min=1,
        help="Most branches of one question.",
        show_default=f"{DEFAULT_CAP}, or the profile's",
        rich_help_panel=SERVED,
    ),
]
LoadOption = Annotated[
    float | None,
    typer.Option(
        "--load",
        help="Rate of arrivals, as a fraction of what even allocation can just carry here.",
        show_default=f"{DEFAULT_LOAD:g}, or the file's",
        rich_help_panel=SERVED,
    ),
]
RateOption = Annotated[
    float | None,
    typer.Option("--rate", help="Programs a second, instead.", rich_help_panel=SERVED),
]
ArrivalsOption = Annotated[
    str | None,
    typer.Option(
        "--arrivals",
        metavar="KIND",
        help="poisson, together, or a JSON-lines file whose lines have a t (seconds).",
        show_default="poisson",
        rich_help_panel=SERVED,
    ),
]
ProgramsOption = Annotated[
    int | None,
    typer.Option(
        "--programs",
        "-n",
        min=1,
        help="How many programs come.",
        show_default=f"{DEFAULT_PROGRAMS}, or the file's; all that come within --duration",
        rich_help_panel=SERVED,
    ),
]
DurationOption = Annotated[
    float | None,
    typer.Option(
        "--duration",
        metavar="SECONDS",
        help="None comes at this time or later.",
        rich_help_panel=SERVED,
    ),
]
DeadlineOption = Annotated[
    float | None,
    typer.Option(
        "--deadline",
        metavar="SECONDS",
        help="Time of an easy question; harder ones have up to twice that.",
        rich_help_panel=SERVED,
    ),
]
ScaleOption = Annotated[
    float | None,
    typer.Option("--scale", help="Multiplies all deadlines.", rich_help_panel=SERVED),
]
PromptTokensOption = Annotated[
    int | None,
    typer.Option(
        "--prompt-tokens",
        min=1,
        help="Length of each prompt.",
        show_default="estimated from the question",
        rich_help_panel=SERVED,
    ),
]
SharedTokensOption = Annotated[
    int | None,
    typer.Option(
        "--shared-tokens",
        min=0,
        help="Instructions that all prompts begin with.",
        show_default="0",
        rich_help_panel=SERVED,
    ),
]
SystemsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--system",
        "-s",
        metavar="SYSTEM[:key=value,...][/POLICY]",
        help=f"Who serves ({', '.join(system_names(orderings()))}, or an ordering of your own), "
        "and the policy, as NAME[+lock][:key=value,...]; even if left out. Repeat it.",
        show_default=", ".join(DEFAULT_SYSTEMS),
        rich_help_panel=BY,
    ),
]
AgingOption = Annotated[
    float | None,
    typer.Option(
        "--aging",
        min=0,
        help="Times its solo time after which a program goes before all others; 0: never.",
        show_default="10",
        rich_help_panel=BY,
    ),
]
PatienceOption = Annotated[
    float | None,
    typer.Option(
        "--patience",
        metavar="SECONDS",
        help="In the system for so long a program goes before all others, however large it is.",
        show_default="by --aging alone",
        rich_help_panel=BY,
    ),
]
ModelledOption = Annotated[
    str,
    typer.Option(
        "--engine",
        "-e",
        metavar="PRESET|FILE.json",
        help="The engine to model: a preset, or what `dynasor fit-engine` wrote.",
        rich_help_panel=ON,
    ),
]
ReplicasOption = Annotated[
    int,
    typer.Option("--replicas", min=1, help="Engines side by side.", rich_help_panel=ON),
]
MemoryOption = Annotated[
    float | None,
    typer.Option(
        "--memory",
        metavar="SHARE",
        help="Share of a preset's GPU memory that may be used, weights included.",
        show_default="0.9",
        rich_help_panel=ON,
    ),
]
KvTokensOption = Annotated[
    int | None,
    typer.Option(
        "--kv-tokens",
        min=1,
        help="Tokens that the KV cache holds, instead.",
        rich_help_panel=ON,
    ),
]
BelievedSlotsOption = Annotated[
    int | None,
    typer.Option(
        "--slots",
        min=1,
        help="Calls that the scheduler takes an engine to run at once.",
        show_default="the engine's sequences",
        rich_help_panel=ON,
    ),
]
EvictionOption = Annotated[
    str | None,
    typer.Option(
        "--eviction",
        metavar="NAME",
        help="What goes from a full cache first: lru or idle-first.",
        show_default="lru",
        rich_help_panel=ON,
    ),
]
MaxRunningOption = Annotated[
    int | None,
    typer.Option(
        "--max-running",
        min=1,
        help="Sequences at once.",
        show_default="the engine's",
        rich_help_panel=ON,
    ),
]
TokenBudgetOption = Annotated[
    int | None,
    typer.Option(
        "--token-budget",
        min=1,
        help="Most tokens of one step.",
        show_default="the engine's",
        rich_help_panel=ON,
    ),
]
HorizonOption = Annotated[
    float | None,
    typer.Option(
        "--horizon",
        metavar="SECONDS",
        help="End each run then, whoever is still live.",
        show_default="when all programs have ended",
        rich_help_panel=HOW,
    ),
]
RunsOption = Annotated[
    int,
    typer.Option(
        "--seeds",
        min=1,
        help="Runs of each system; several give intervals.",
        rich_help_panel=HOW,
    ),
]
FiguresOption = Annotated[
    Path | None,
    typer.Option(
        "--json", help="Write all figures to this file ('-': print).", rich_help_panel=HOW
    ),
]
PlotOption = Annotated[
    Path | None,
    typer.Option("--plot", help="Draw the first seed's runs into this file.", rich_help_panel=HOW),
]
