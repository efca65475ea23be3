"""Who answers in `dynasor chat`: engines in this process, or a gateway elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dynasor.api import Dynasor
from dynasor.config import Settings
from dynasor.core.errors import EngineError
from dynasor.core.types import Message
from dynasor.load import Client

__all__ = ["Here", "Reply", "Step", "Talker", "There"]

LOOK_SECONDS = 0.25
"""How often a gateway is asked how far it is: as often as people can read."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far a program is: `knob` units of at most `cap` settled, and what that has cost."""

    knob: int
    cap: int
    certaindex: Mapping[str, float]
    tokens: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a question; `text` None without an answer, `reason` says why it stopped."""

    text: str | None
    answer: str | None
    reason: str
    step: Step
    seconds: float


OnStep = Callable[[Step], None]


class Talker(Protocol):
    """Somebody who answers; `open` it first, and `close` it."""

    async def open(self) -> str:
        """Be ready to answer, and say who it is."""

    async def ask(self, messages: Sequence[Message], on_step: OnStep) -> Reply:
        """Answer the last message; cancelled, nothing of it goes on. Raises `DynasorError`."""

    async def close(self) -> None:
        """Let go of everything."""


class Here:
    """Programs in this process."""

    def __init__(self, settings: Settings) -> None:
        """Check the settings; raises `UserError`."""
        self._dynasor = Dynasor(settings=settings)
        self._dynasor.policy_for(self._dynasor.make_program("?"))

    async def open(self) -> str:
        """Start the engines."""
        await self._dynasor.__aenter__()
        machine = self._dynasor.machine
        model = next(iter(machine.descriptions.values())).model
        return f"{model} on {', '.join(engine.address for engine in machine.engines.values())}"

    async def ask(self, messages: Sequence[Message], on_step: OnStep) -> Reply:
        """Run one program."""
        earlier = {"messages": tuple(messages)} if len(messages) > 1 else {}
        program = self._dynasor.make_program(messages[-1].content, **earlier)
        handle = self._dynasor.submit(program)
        try:
            async for moved in handle.progress():
                on_step(Step(moved.knob, program.cap, moved.certaindex, moved.tokens))
            result = await handle
        except asyncio.CancelledError:
            handle.withdraw()
            await handle  # until its calls have ended: the next question wants their slots
            raise
        result.raise_for_status()
        spent = result.spending.completion_tokens
        step = Step(result.knob, result.cap, result.certaindex, spent)
        return Reply(result.text, result.answer, result.reason, step, result.seconds)

    async def close(self) -> None:
        """Stop the engines."""
        await self._dynasor.__aexit__(None, None, None)


class There:
    """Programs that a gateway runs; `keys` are those of the object `dynasor`."""

    def __init__(self, client: Client, model: str | None, keys: Mapping[str, Any]) -> None:
        self._client = client
        self._model = model
        self._keys = keys
        self._session = secrets.token_hex(4)
        self._count = 0

    async def open(self) -> str:
        """Learn the model."""
        await self._client.open()
        self._model = self._model or await self._client.model()
        return f"{self._model} at {self._client.url}"

    async def ask(self, messages: Sequence[Message], on_step: OnStep) -> Reply:
        """Send one request, and look now and then how far its program is."""
        self._count += 1
        program = f"chat-{self._session}-{self._count}"
        body = {
            "model": self._model,
            "messages": [{"role": one.role, "content": one.content} for one in messages],
            "dynasor": {**self._keys, "program_id": program},
            "stream": True,  # a gateway keeps such a connection alive, however long it takes
            "stream_options": {"include_usage": True},
        }
        began = asyncio.get_running_loop().time()
        asked = asyncio.ensure_future(self._client.ask(body))
        try:
            while not (await asyncio.wait({asked}, timeout=LOOK_SECONDS))[0]:
                with contextlib.suppress(EngineError):  # the answer itself will say what is wrong
                    _show(await self._client.program(program), on_step)
            reply = asked.result()
        finally:
            asked.cancel()
        story = {"reason": "", "answer": None, "certaindex": {}, **reply.story}
        step = Step(
            story.get("knob", 0),
            story.get("cap", 0),
            story["certaindex"],
            reply.bill().completion_tokens,
        )
        seconds = asyncio.get_running_loop().time() - began
        return Reply(reply.text or None, story["answer"], story["reason"], step, seconds)

    async def close(self) -> None:
        """Drop the connections."""
        await self._client.close()


def _show(known: Mapping[str, Any] | None, on_step: OnStep) -> None:
    if known is not None and known.get("certaindex"):
        on_step(Step(known["knob"], known["cap"], known["certaindex"], known.get("tokens", 0)))
