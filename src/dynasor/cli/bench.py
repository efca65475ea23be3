"""`dynasor bench`: open-loop load on a server, and what it makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from dynasor.cli.bench_run import BenchRun, measured
from dynasor.cli.bench_shown import facts, warnings
from dynasor.cli.errors import INTERRUPTED
from dynasor.cli.long_run import print_end
from dynasor.cli.options import JsonOption
from dynasor.config import MOST_BRANCHES, Settings, parse_policy, parse_program
from dynasor.core.errors import ConfigError, DynasorError, UnknownName
from dynasor.datasets.questions import load_questions
from dynasor.load import Asking, Client, Question, of_batch, of_dataset, plan
from dynasor.online.arrivals import arrival_times
from dynasor.online.workload import Poisson, Timetable
from dynasor.tasks import tasks

__all__ = ["bench"]

USUAL_PROGRAMS = 100
TIMES = "x"


def bench(
    url: Annotated[str, typer.Argument(metavar="URL", help="An OpenAI-compatible server.")],
    rate: Annotated[
        float | None, typer.Option("--rate", "-r", help="Programs a second (Poisson arrivals).")
    ] = None,
    arrivals: Annotated[
        Path | None,
        typer.Option(
            "--arrivals", help="Recorded arrivals: JSON lines with a t in seconds; --rate rescales."
        ),
    ] = None,
    programs: Annotated[
        int | None,
        typer.Option("--programs", "-n", min=1, help="How many programs.", show_default="100"),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="For how long programs arrive.")
    ] = None,
    questions: Annotated[
        str | None,
        typer.Option(
            "--questions",
            metavar="DATASET",
            help="A JSONL file of questions, arithmetic[:N], or hf:OWNER/NAME[:config][:split].",
            show_default="arithmetic",
        ),
    ] = None,
    batch: Annotated[
        Path | None,
        typer.Option("--batch", help="Requests in OpenAI's batch format, sent as they are."),
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(
            "--algorithm",
            "-a",
            metavar="NAME[:key=value,...]",
            help="Have our gateway run this algorithm; plain requests without it.",
        ),
    ] = None,
    cap: Annotated[
        int | None,
        typer.Option("--cap", min=1, max=MOST_BRANCHES, help="The algorithm's cap."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy", "-p", metavar="NAME[:key=value,...]", help="The algorithm's policy."
        ),
    ] = None,
    branches: Annotated[
        int,
        typer.Option(
            "--branches",
            "-b",
            min=1,
            max=MOST_BRANCHES,
            help="Without an algorithm: plain requests of one program, sent together; they vote.",
        ),
    ] = 1,
    deadline: Annotated[
        str | None,
        typer.Option(
            "--deadline",
            metavar="SECONDS|Nx",
            help="Seconds from a program's arrival, or multiples of what it takes alone: 3x.",
        ),
    ] = None,
    tell_deadline: Annotated[
        bool,
        typer.Option(
            "--tell-deadline/--keep-deadline",
            help="Send deadline_seconds along with an algorithm, or judge by it only.",
        ),
    ] = True,
    stream: Annotated[
        bool, typer.Option("--stream/--no-stream", help="Whether answers are streamed.")
    ] = True,
    model: Annotated[
        str | None, typer.Option("--model", help="Model to ask for; the server's first if unset.")
    ] = None,
    task: Annotated[str, typer.Option("--task", help="Kind of question.")] = "math",
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="Longest answer, in tokens.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", min=0, max=2, help="Sampling temperature.")
    ] = None,
    body: Annotated[
        str | None,
        typer.Option("--body", metavar="JSON", help="Fields to add to every request's body."),
    ] = None,
    session_field: Annotated[
        str,
        typer.Option(
            "--session-field",
            metavar="NAME",
            help="Body field that gets the program's id (vLLM: session_id).",
        ),
    ] = "",
    seed: Annotated[int, typer.Option("--seed", help="Seed of arrivals, questions, samples.")] = 0,
    warm_up: Annotated[
        float,
        typer.Option("--warm-up", min=0, max=0.9, help="Share of the programs not measured."),
    ] = 0.0,
    timeout: Annotated[
        float, typer.Option("--timeout", help="Seconds of silence after which a request failed.")
    ] = 600.0,
    api_key: Annotated[
        str | None,
        typer.Option("--api-key", envvar="DYNASOR_API_KEY", help="Bearer token for the server."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Send programs to a server as they would arrive, and measure what it makes of them."""
    if not timeout > 0:
        raise ConfigError(f"--timeout is {timeout:g}; it must be positive")
    if task not in tasks():
        raise UnknownName("task", task, tasks())
    given = {"model": model, "max_tokens": max_tokens, "temperature": temperature}
    asking = Asking(
        tasks()[task],
        branches,
        _algorithm(algorithm, cap, policy, task),
        stream,
        seed,
        _usual(given, has_algorithm=algorithm is not None or batch is not None),
        {**_object(body), **({} if model is None else {"model": model})},
        session_field,
    )
    departures = plan(
        _questions(questions, batch, programs),
        arrival_times(_arrivals(rate, arrivals), seed),
        programs=USUAL_PROGRAMS if programs is None and seconds is None else programs,
        seconds=seconds,
        seed=seed,
    )
    run = BenchRun(
        Client(url, timeout, api_key),
        asking,
        departures,
        deadline=_deadline(deadline),
        is_deadline_told=tell_deadline,
    )
    found = measured(run, warm_up, is_quiet=as_json)
    for line in warnings(found):
        typer.echo(f"dynasor: warning: {line}", err=True)
    print_end(found, facts(found), as_json=as_json)
    if run.was_interrupted:
        raise typer.Exit(INTERRUPTED)
    if not found["answered"] and not found["ended_by_deadline"]:
        raise DynasorError(f"every program failed: {found['last_error']}")


def _algorithm(
    algorithm: str | None, cap: int | None, policy: str | None, task: str
) -> dict[str, Any] | None:
    """Return the keys of the object `dynasor`; None for plain requests."""
    if algorithm is None:
        for name, value in (("cap", cap), ("policy", policy)):
            if value is not None:
                raise ConfigError(f"--{name} is given without --algorithm; name the algorithm")
        return None
    spec = parse_program(algorithm)
    if policy is not None:
        parse_policy(policy)
    keys = {"algorithm": spec.name, "params": spec.params, "cap": cap, "policy": policy}
    return {name: value for name, value in keys.items() if value} | {"task": task}


def _usual(given: dict[str, Any], *, has_algorithm: bool) -> dict[str, Any]:
    """Return sampling fields: those given, and for plain questions the usual ones of Dynasor."""
    chosen = {name: value for name, value in given.items() if value is not None}
    if has_algorithm:
        return chosen
    usual = Settings()
    return {"max_tokens": usual.max_tokens, "temperature": usual.temperature, **chosen}


def _object(text: str | None) -> dict[str, Any]:
    try:
        return {} if text is None else msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as exc:
        raise ConfigError(f"--body is {text!r}; expected a JSON object: {exc}") from exc


def _questions(dataset: str | None, batch: Path | None, programs: int | None) -> list[Question]:
    if batch is not None:
        if dataset is not None:
            raise ConfigError("--questions and --batch are both given; give one of them")
        return of_batch(batch)
    name = dataset or "arithmetic"
    # Generated problems take time to make; of what is in a file any may be drawn.
    limit = (programs or USUAL_PROGRAMS) if name == "arithmetic" else None
    return of_dataset(load_questions(name, limit))


def _arrivals(rate: float | None, path: Path | None) -> Poisson | Timetable:
    if path is not None:
        return Timetable(str(path), rate=rate)
    if rate is None:
        raise ConfigError("neither --rate nor --arrivals is given; say how programs arrive")
    return Poisson(rate)


def _deadline(text: str | None) -> tuple[float, bool] | None:
    """Read seconds, or multiples of the time alone: the number, and whether it is of those."""
    if text is None:
        return None
    is_multiple = text.endswith(TIMES)
    try:
        number = float(text.removesuffix(TIMES))
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ConfigError(f"--deadline is {text!r}; give seconds (10) or multiples (3x)")
    return number, is_multiple
