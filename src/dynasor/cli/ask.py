"""`dynasor ask`: one question, its branches arriving, its certaindex moving, why it stopped."""

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
    SeedOption,
    SlotsOption,
    TaskOption,
    settings_from,
)
from dynasor.config import Settings
from dynasor.core.commands import Moved
from dynasor.core.errors import ConfigError
from dynasor.programs import SelfConsistency

__all__ = ["ask", "result_object"]

BAR = 24
"""Width of the certaindex bar, in characters."""
REASONS = {
    "certain": "the policy is certain of the leading answer",
    "locked": "the leader cannot be overtaken any more",
    "cap": "the cap is used up",
    "deadline": "time ran out; this is the best answer so far",
    "done": "the program ended by itself",
    "price": "a further branch is worth less than it costs at the present load",
    "late": "no further branch would have been in time",
}


def ask(
    question: Annotated[
        str, typer.Argument(help="The question; '-' reads it from standard input.")
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
    program = SelfConsistency(
        question,
        task=settings.task,
        cap=settings.cap,
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
    )
    async with Dynasor(settings=settings, journal=journal) as dynasor:
        handle = dynasor.submit(program, deadline_seconds=deadline_seconds)
        if as_json:
            quiet: Result = await handle
            return quiet
        console = Console()
        with Live(_steps([], program.cap), console=console, refresh_per_second=12) as live:
            steps: list[Moved] = []
            async for step in handle.progress():
                steps.append(step)
                live.update(_steps(steps, program.cap))
        result: Result = await handle
        console.print(_story(result))
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
        "seconds": round(result.seconds, 3),
        "error": None if result.error is None else str(result.error),
    }


def _steps(steps: list[Moved], cap: int) -> Group:
    """Draw the branches so far, a line each, and the state of the vote."""
    lines = [Text(f"sampling, at most {cap} branches", style="dim")] if not steps else []
    seen: dict[str, float] = {}
    for step in steps:
        news = [name for name, votes in step.votes.items() if votes > seen.get(name, 0.0)]
        seen = step.votes
        lines.append(_step(step, news[0] if news else "no answer"))
    return Group(*lines)


def _step(step: Moved, answer: str) -> Text:
    line = Text(f"  branch {step.knob:>3}  {_short(answer):<16} ")
    for value in step.certaindex.values():
        filled = round(value * BAR)
        line.append("━" * filled, style="green")
        line.append("━" * (BAR - filled), style="dim")
        line.append(f" certaindex {value:.2f}")
    return line


def _story(result: Result) -> Group:
    if result.error is not None:
        return Group()
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    answer = "no answer was found" if result.answer is None else result.answer
    table.add_row("answer", Text(answer, style="bold green"))
    votes = ", ".join(f"{_short(name)} x{count:g}" for name, count in result.votes.items())
    table.add_row("votes", Text(votes or "none"))
    table.add_row("stopped", Text(REASONS.get(result.reason, result.reason)))
    spending = result.spending
    aborted = f", {spending.aborted_tokens} of them in {result.aborted_calls} aborted calls"
    table.add_row(
        "spent",
        f"{result.knob} of {result.cap} branches, {spending.completion_tokens} tokens"
        f"{aborted if result.aborted_calls else ''}, {result.seconds:.2f} s",
    )
    return Group(Text(), table)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= BAR else line[: BAR - 1] + "…"
