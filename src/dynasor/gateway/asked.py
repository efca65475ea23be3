"""One question on its way, and how its end reads in each of the two endpoints."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import Receive

from dynasor.api import Handle, Result
from dynasor.core.errors import DynasorError
from dynasor.core.program import Program
from dynasor.gateway.errors import Closing, JsonResponse, error_response, shaped
from dynasor.programs import ChainOfThought
from dynasor.requests.completion import chat_completion, story, text_completion, usage

__all__ = ["PROGRAM_HEADER", "Asked", "has_left", "outcome", "whole_answer"]

PROGRAM_HEADER = "X-Dynasor-Program"
CLIENT_LEFT = 499
"""nginx's status for who does not wait for an answer; nobody reads it but the log."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A program that runs for a client; `policy` as a user writes it, `created` a Unix time."""

    handle: Handle
    program: Program
    policy: str
    model: str
    created: int
    is_chat: bool

    @property
    def name(self) -> str:
        """The id of its completion."""
        return f"{'chatcmpl' if self.is_chat else 'cmpl'}-{self.handle.program}"

    @property
    def headers(self) -> dict[str, str]:
        """What every response about it carries."""
        return {PROGRAM_HEADER: self.handle.program}

    @property
    def think_end(self) -> str:
        """The tag after its thoughts, empty where it does not think or cannot part them."""
        program = self.program
        return program.think_end if self.is_chat and isinstance(program, ChainOfThought) else ""

    def story(self, result: Result) -> dict[str, Any]:
        """Return the object `dynasor`."""
        whole = story(self.program, self.policy, result)
        return {"program_id": self.handle.program, **whole}

    def completion(self, result: Result) -> dict[str, Any]:
        """Return the whole completion."""
        if self.is_chat:
            body = chat_completion(self.name, self.created, self.model, result, self.think_end)
        else:
            body = text_completion(self.name, self.created, self.model, result)
        return {**body, "usage": usage(result.spending), "dynasor": self.story(result)}

    def failure(self, error: DynasorError, result: Result) -> dict[str, Any]:
        """Return the error that ended it, with what it cost all the same."""
        told = {"usage": usage(result.spending), "dynasor": self.story(result)}
        return {**shaped(error), **told}


async def outcome(handle: Handle) -> Result:
    """Return a program's result; raises `Closing` where the server stopped under it."""
    try:
        result: Result = await handle
    except DynasorError as exc:
        raise Closing(f"the server was stopped before program {handle.program} had ended") from exc
    return result


async def whole_answer(asked: Asked, receive: Receive) -> Response:
    """Wait for a program's end; a client that leaves before takes the program with it."""
    ending = asyncio.ensure_future(outcome(asked.handle))
    leaving = asyncio.ensure_future(has_left(receive))
    try:
        await asyncio.wait({ending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not ending.done():
            return Response(status_code=CLIENT_LEFT, headers=asked.headers)
        result = ending.result()
    except DynasorError as exc:
        return error_response(exc, headers=asked.headers)
    except asyncio.CancelledError:  # the server ends at once, and cancels what runs
        stopped = Closing(f"the server was stopped before program {asked.handle.program} had ended")
        return error_response(stopped, headers=asked.headers)
    finally:
        asked.handle.withdraw()  # no harm once it has ended
        ending.cancel()
        leaving.cancel()
    if result.error is not None:
        body = asked.failure(result.error, result)
        return JsonResponse(body, result.error.http_status, asked.headers)
    return JsonResponse(asked.completion(result), headers=asked.headers)


async def has_left(receive: Receive) -> None:
    """Return when the client has gone; call it once the request's body has been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
