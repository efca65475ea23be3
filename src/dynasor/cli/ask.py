"""`dynasor ask`: one question, its units arriving, its certaindex moving, why it stopped."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dynasor.api import Dynasor, Result
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
from dynasor.config import Settings
from dynasor.core.commands import Moved
from dynasor.core.errors import ConfigError
from dynasor.core.program import Program

__all__ = ["ask", "result_object"]

BAR = 24
"""Width of the certaindex bar, in characters."""
REASONS = {
    "certain": "the policy is certain of the leading answer",
    "locked": "the leader cannot be overtaken any more",
    "cap": "the cap is used up",
    "deadline": "time ran out; this is the best answer so far",
    "done": "the program ended by itself",
    "price": "going on is worth less than it costs at the present load",
    "late": "nothing further would have been in time",
}


def ask(
    question: Annotated[
        str, typer.Argument(help="The question; '-' reads it from standard input.")
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
    deadline_seconds: Annotated[
        float | None, typer.Option("--deadline", help="Seconds until the best answer so far.")
    ] = None,
    config: ConfigOption = None,
    journal: JournalOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask one question and watch it being answered."""
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
    )
    question = _text(_standard_input() if question == "-" else question)
    if deadline_seconds is not None and not deadline_seconds > 0:  # before an engine is loaded
        raise ConfigError(f"deadline_seconds is {deadline_seconds}; it must be positive")
    result = asyncio.run(_ask(question, settings, journal, deadline_seconds, as_json))
    if as_json:
        typer.echo(msgspec.json.encode(result_object(result)).decode())
    result.raise_for_status()


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise ConfigError("the question '-' is read from standard input, and that is closed")
    return sys.stdin.buffer.read()


def _text(given: str | bytes) -> str:
    """Return the question; raises `ConfigError` for none and for what is no text."""
    try:
        question = given.decode() if isinstance(given, bytes) else given
        question.encode()  # an argument that is not UTF-8 arrives with lone surrogates
    except UnicodeError as exc:
        raise ConfigError("the question is not UTF-8") from exc
    if not question.strip():
        raise ConfigError("the question is empty")
    return question


async def _ask(
    question: str,
    settings: Settings,
    journal: Path | None,
    deadline_seconds: float | None,
    as_json: bool,
) -> Result:
    dynasor = Dynasor(settings=settings, journal=journal)
    program = dynasor.make_program(question)
    policy = dynasor.policy_for(
        program
    )  # what cannot be used is refused before an engine is loaded
    async with dynasor:
        handle = dynasor.submit(program, policy=policy, deadline_seconds=deadline_seconds)
        if as_json:
            quiet: Result = await handle
            return quiet
        console = Console()
        with Live(_steps([], program), console=console, refresh_per_second=12) as live:
            steps: list[Moved] = []
            async for step in handle.progress():
                steps.append(step)
                live.update(_steps(steps, program))
        result: Result = await handle
        console.print(_story(result, program))
        return result


def result_object(result: Result) -> dict[str, Any]:
    """Return a result as JSON values, for machines."""
    spending = result.spending
    return {
        "question": result.question,
        "answer": result.answer,
        "text": result.text,
        "status": result.status,
        "reason": result.reason,
        "certaindex": result.certaindex,
        "votes": result.votes,
        "knob": result.knob,
        "cap": result.cap,
        "tokens": {
            "prompt": spending.prompt_tokens,
            "completion": spending.completion_tokens,
            "finished": spending.finished_tokens,
            "aborted": spending.aborted_tokens,
            "failed": spending.failed_tokens,
            "estimated": spending.estimated_tokens,
        },
        "calls": result.calls,
        "aborted_calls": result.aborted_calls,
        "failed_attempts": result.failed_attempts,
        "grouping_failures": result.grouping_failures,
        "notes": result.notes,
        "seconds": round(result.seconds, 3),
        "error": None if result.error is None else str(result.error),
    }


def _steps(steps: list[Moved], program: Program) -> Group:
    """Draw the units so far, a line each, and the state of the vote."""
    lines = [Text(f"at most {_counted(program.cap, program)}", style="dim")] if not steps else []
    seen: dict[str, float] = {}
    for step in steps:
        news = [name for name, votes in step.votes.items() if votes > seen.get(name, -1.0)]
        seen = step.votes
        has_votes = program.votes is not None
        lines.append(_step(step, program.unit, (*news, "no vote")[0] if has_votes else ""))
    return Group(*lines)


def _step(step: Moved, unit: str, vote: str) -> Text:
    line = Text(f"  {unit} {step.knob:>3}  ")
    if vote:
        line.append(f"{_short(vote):<16} ")
    width = BAR if len(step.certaindex) == 1 else BAR // (len(step.certaindex) + 1)
    for name, value in step.certaindex.items():
        filled = round(value * width)
        line.append("━" * filled, style="green")
        line.append("━" * (width - filled), style="dim")
        line.append(f" {name} {value:.2f}  ")
    return line


def _story(result: Result, program: Program) -> Group:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    if result.error is None:
        answer = "no answer was found" if result.answer is None else result.answer
        table.add_row("answer", Text(answer, style="bold green"))
        if program.votes is not None:
            votes = (f"{_short(name)} x{round(n, 2):g}" for name, n in result.votes.items())
            table.add_row("votes", Text(", ".join(votes) or "none"))
        signals = ", ".join(f"{name} {value:.2f}" for name, value in result.certaindex.items())
        table.add_row("certaindex", Text(signals or "none"))
        table.add_row("stopped", Text(REASONS.get(result.reason, result.reason)))
        table.add_row("spent", _spent(result, program))
    if result.notes:
        notes = ", ".join(f"{count:,} {mishap}" for mishap, count in result.notes.items())
        table.add_row("on the way", Text(notes))
    return Group(Text(), table) if table.row_count else Group()


def _spent(result: Result, program: Program) -> str:
    spending = result.spending
    aborted = f", {spending.aborted_tokens} of them in {result.aborted_calls} aborted calls"
    return (
        f"{result.knob} of {_counted(result.cap, program)}, {spending.completion_tokens} tokens"
        f"{aborted if result.aborted_calls else ''}, {result.seconds:.2f} s"
    )


def _counted(count: int, program: Program) -> str:
    """Return so many of the program's units: `20 branches`, `1 path`."""
    unit = program.unit
    if count == 1:
        return f"1 {unit}"
    return f"{count} {unit}{'es' if unit.endswith(('ch', 's', 'sh', 'x')) else 's'}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= BAR else line[: BAR - 1] + "…"
