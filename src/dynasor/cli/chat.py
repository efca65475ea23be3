"""`dynasor chat`: questions and answers in the terminal, with how certain they are.

The questions of one session are one conversation. Where standard input is no terminal, each of its
lines is a question.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Coroutine, Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.status import Status
from rich.text import Text

from dynasor.cli.chat_talk import Here, Reply, Step, Talker, There
from dynasor.cli.errors import one_line
from dynasor.cli.options import (
    CapOption,
    ConfigOption,
    EngineOption,
    ModelOption,
    PolicyOption,
    ProfileOption,
    ProgramOption,
    SeedOption,
    SlotsOption,
    TaskOption,
    settings_from,
)
from dynasor.config import Settings
from dynasor.core.errors import ConfigError, DynasorError
from dynasor.core.types import Message
from dynasor.load import Client

__all__ = ["chat"]

PROMPT = "> "
BAR = 16
"""Width of the certaindex bar, in characters."""
HELP = """\
Type a question; what was said before is sent along.
  /new   forget what was said before
  /help  show this
  /quit  leave (or Ctrl-D); Ctrl-C breaks off a question"""


def chat(
    url: Annotated[
        str | None,
        typer.Option("--url", "-u", help="A gateway (`dynasor serve`); in this process if unset."),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option("--api-key", envvar="DYNASOR_API_KEY", help="The key for that gateway."),
    ] = None,
    engine: EngineOption = None,
    model: ModelOption = None,
    slots: SlotsOption = None,
    program: ProgramOption = None,
    policy: PolicyOption = None,
    profile: ProfileOption = None,
    cap: CapOption = None,
    task: TaskOption = None,
    seed: SeedOption = None,
    config: ConfigOption = None,
) -> None:
    """Ask questions one after the other, and see how certain the answers are."""
    settings = settings_from(
        config,
        engine=engine,
        model=model,
        slots=slots,
        program=program,
        policy=policy,
        profile=profile,
        cap=cap,
        task=task,
        seed=seed,
    )
    if url is not None and engine:
        raise ConfigError("--url and --engine are both given; a gateway has its own engines")
    talker: Talker = (
        Here(settings)
        if url is None
        else There(Client(url, api_key=api_key), settings.model, _keys(settings))
    )
    _talk(talker)


def _keys(settings: Settings) -> dict[str, Any]:
    """Return what of the settings a gateway is told; what nobody chose is the gateway's choice."""
    spec = settings.program_spec()
    keys: dict[str, Any] = {"algorithm": spec.name}
    if spec.params:
        keys["params"] = spec.params
    chosen = settings.model_fields_set
    return keys | {n: getattr(settings, n) for n in ("cap", "policy", "task") if n in chosen}


def _talk(talker: Talker) -> None:
    is_terminal = sys.stdin is not None and sys.stdin.isatty()
    console = Console(highlight=False)
    with asyncio.Runner() as runner:
        try:
            who = runner.run(talker.open())
            if is_terminal:
                console.print(Text(f"{who}; /help says what else there is", style="dim"))
            session = _Session(talker, console, runner)
            for line in _typed() if is_terminal else _piped():
                if line == "/quit":
                    break
                if not session.hear(line):
                    if not is_terminal:
                        raise KeyboardInterrupt
                    console.print(Text("broken off", style="dim"))
        finally:
            runner.run(talker.close())
    if session.failed and not is_terminal:
        raise DynasorError(f"{session.failed} of {session.asked} questions have no answer")


class _Session:
    """One conversation; `failed` of the `asked` questions ended in an error."""

    def __init__(self, talker: Talker, console: Console, runner: asyncio.Runner) -> None:
        self.asked = 0
        self.failed = 0
        self._said: list[Message] = []
        self._talker = talker
        self._console = console
        self._runner = runner

    def hear(self, line: str) -> bool:
        """Answer one line; whether Ctrl-C let it end.

        An error is told, and the conversation is as it was before.
        """
        if line == "/new":
            self._said = []
        elif line.startswith("/"):
            known = "" if line == "/help" else f"unknown command {line}\n"
            self._console.print(Text(known + HELP, style="dim"))
        else:
            return self._ask(Message("user", line))
        return True

    def _ask(self, question: Message) -> bool:
        self.asked += 1
        try:
            reply = self._answer([*self._said, question])
        except DynasorError as exc:
            self.failed += 1
            hint = "; /new forgets what was said before" if self._said else ""
            typer.echo(one_line(exc) + hint, err=True)
            return True
        if reply is None:
            return False
        self._print(reply)
        if reply.text is not None:
            self._said += [question, Message("assistant", reply.text)]
        return True

    def _answer(self, messages: list[Message]) -> Reply | None:
        if not self._console.is_terminal:
            return self._runner.run(_unless_interrupted(self._talker.ask(messages, lambda _: None)))
        with Status("thinking", console=self._console) as status:
            asking = self._talker.ask(messages, lambda step: status.update(_progress(step)))
            return self._runner.run(_unless_interrupted(asking))

    def _print(self, reply: Reply) -> None:
        text = "no answer was found" if reply.text is None else reply.text.strip()
        self._console.print(Text(text))
        self._console.print(Text(_story(reply), style="dim"), soft_wrap=True)


async def _unless_interrupted(asking: Coroutine[Any, Any, Reply]) -> Reply | None:
    """Return the reply; None where Ctrl-C came first.

    The event loop hears the signal at once; Python's own handler may wait for the next event.
    """
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(asking)
    loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        await asyncio.wait({task})
        return None if task.cancelled() else task.result()
    finally:
        task.cancel()
        loop.remove_signal_handler(signal.SIGINT)


def _typed() -> Iterator[str]:
    """Yield lines that somebody types, until the end of input."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401, PLC0415 - gives `input` its editing and history

    while True:
        try:
            line = input(PROMPT)
        except KeyboardInterrupt:  # what was typed so far is dropped
            sys.stdout.write("\n")
            continue
        except EOFError:
            sys.stdout.write("\n")
            return
        if line.strip():
            yield line.strip()


def _piped() -> Iterator[str]:
    """Yield the lines of standard input that are not blank, UTF-8 whatever the locale."""
    if sys.stdin is None:
        raise ConfigError("questions are read from standard input, and that is closed")
    for line in sys.stdin.buffer:
        try:
            text = line.decode().strip()
        except UnicodeDecodeError as exc:
            raise ConfigError("a question on standard input is not UTF-8") from exc
        if text:
            yield text


def _progress(step: Step) -> Text:
    line = Text(f"{step.knob} of {step.cap}  ")
    for name, value in step.certaindex.items():
        filled = round(min(max(value, 0.0), 1.0) * BAR)
        line.append("━" * filled, style="green")
        line.append("━" * (BAR - filled), style="dim")
        line.append(f" {name} {value:.2f}  ")
    return line.append(f"{step.tokens:,} tokens")


def _story(reply: Reply) -> str:
    """Say in one line what was answered, how certain it is and what it cost."""
    step = reply.step
    parts = [] if reply.answer is None else [f"answer {' '.join(reply.answer.split())}"]
    parts += [f"{name} {value:.2f}" for name, value in step.certaindex.items()]
    if step.cap:
        parts.append(f"{step.knob} of {step.cap}")
    parts += [f"{step.tokens:,} tokens", f"{reply.seconds:.2f} s"]
    return " · ".join([*parts, *([reply.reason] if reply.reason else [])])
