"""`dynasor serve`: an OpenAI-compatible server in front of the engines."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from dynasor.api import Dynasor
from dynasor.cli.open_files import raise_open_files
from dynasor.cli.options import (
    CapOption,
    ConfigOption,
    EngineOption,
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
from dynasor.config import Serving, Settings
from dynasor.traces.lines import shown

__all__ = ["serve"]

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a user may write
"""Where a client on this machine finds a server that listens on all addresses."""
QUESTION = "A shop has 12 boxes. It gets 7 more. How many boxes are there now?"


def serve(
    engine: EngineOption = None,
    reward_engine: Annotated[
        list[str] | None,
        typer.Option(
            "--reward-engine",
            metavar="URL",
            help="A reward model's server (repeat for replicas); the engine judges if unset.",
        ),
    ] = None,
    embedding_engine: Annotated[
        str | None,
        typer.Option(
            "--embedding-engine",
            metavar="URL|local",
            help="Where answers in free text are compared.",
            show_default="the engine where it embeds, else local",
        ),
    ] = None,
    engine_kind: Annotated[
        str | None,
        typer.Option(
            "--engine-kind",
            metavar="vllm|sglang|tensorrt-llm|llama.cpp|openai",
            help="What the engines are; found out if unset.",
        ),
    ] = None,
    engine_order: Annotated[
        str | None,
        typer.Option(
            "--engine-order",
            metavar="gateway|engine",
            help="Who orders calls: 'engine' where our plug-in runs inside it.",
            show_default="gateway",
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option("--host", help="Address to listen on.", show_default="127.0.0.1"),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", help="Port; 0 takes a free one.", show_default="8000"),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", help="API keys that may come in (see `dynasor keys`)."),
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(
            "--algorithm",
            "-a",
            metavar="NAME[:key=value,...]",
            help="For requests that name none; without it they pass through.",
        ),
    ] = None,
    program: ProgramOption = None,
    policy: PolicyOption = None,
    profile: ProfileOption = None,
    lock: LockOption = None,
    ordering: OrderingOption = None,
    cap: CapOption = None,
    task: TaskOption = None,
    shadow: Annotated[
        str | None,
        typer.Option(
            "--shadow",
            metavar="NAME[:key=value,...]",
            help="Policy that decides without acting: see what it would save.",
        ),
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", help="Folder for traces of what is served.")
    ] = None,
    log: Annotated[
        str | None,
        typer.Option(
            "--log", metavar="text|json|none", help="A line a request.", show_default="text"
        ),
    ] = None,
    drain_seconds: Annotated[
        float | None,
        typer.Option("--drain", help="Seconds that requests have at the end.", show_default="30"),
    ] = None,
    model: ModelOption = None,
    slots: SlotsOption = None,
    seed: SeedOption = None,
    config: ConfigOption = None,
) -> None:
    """Serve OpenAI's API in front of engines, until SIGTERM or Ctrl-C."""
    serving = {
        "host": host,
        "port": port,
        "keys": keys,
        "algorithm": algorithm,
        "shadow": shadow,
        "record": record,
        "log": log,
        "drain_seconds": drain_seconds,
    }
    settings = settings_from(
        config,
        engine=engine,
        reward_engine=reward_engine,
        embedding_engine=embedding_engine,
        engine_kind=engine_kind,
        engine_order=engine_order,
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
        serve={name: value for name, value in serving.items() if value is not None} or None,
    )
    _serve(settings)


def _serve(settings: Settings) -> None:
    # Other commands need no web server.
    from dynasor.cli.serving_process import Broken, bind, run  # noqa: PLC0415
    from dynasor.gateway.app import make_app  # noqa: PLC0415

    serving = settings.serve
    sock = bind(serving.host, serving.port)  # a port that is taken is said before engines load
    raise_open_files()
    try:
        app = make_app(settings)
        dynasor: Dynasor = app.state.service.dynasor
        app.state.service.check()  # else every request would be refused
        address = _address(serving.host, sock.getsockname()[1])

        def tell() -> None:
            for line in ready_lines(address, dynasor, serving):
                typer.echo(line)

        run(app, sock, serving.drain_seconds, tell)
    except Broken as exc:
        typer.echo(f"dynasor: {exc}", err=True)
        raise typer.Exit(exc.exit_code) from None
    finally:
        sock.close()


def ready_lines(address: str, dynasor: Dynasor, serving: Serving) -> list[str]:
    """Return what is told when requests are taken: where, of which model, and how to try it."""
    described = dynasor.machine.descriptions
    model = next(iter(described.values())).model
    engines = ", ".join(shown(engine.address) for engine in dynasor.machine.engines.values())
    shadow = "" if serving.shadow is None else f", shadow policy {serving.shadow}"
    return [
        f"dynasor: ready at {address}/v1, model {model} on {engines}{shadow}",
        f"try: {_curl(address, model, serving)}",
    ]


def _curl(address: str, model: str, serving: Serving) -> str:
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": QUESTION}],
        "dynasor": {"algorithm": "self-consistency"},
    }
    given = ["-H", "Content-Type: application/json"]
    if serving.keys is not None:
        given += ["-H", "Authorization: Bearer YOUR_KEY"]
    url = f"{address}/v1/chat/completions"
    return shlex.join(["curl", "-s", url, *given, "-d", json.dumps(body)])


def _address(host: str, port: int) -> str:
    host = EVERYWHERE.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
