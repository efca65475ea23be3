"""An answer as server-sent events: progress as comments, then the answer in chunks.

    : dynasor {"program_id": ..., "knob": 4, ...}       after every settled unit
    data: {"choices": [{"delta": {"role": "assistant", ...}}], ...}
    data: {"choices": [{"delta": {"content": ...}}], ...}         as often as it takes
    data: {"choices": [{"delta": {}, "finish_reason": "stop"}], "dynasor": {...}, ...}
    data: {"choices": [], "usage": {...}, ...}          where it was asked for
    data: [DONE]

Every client skips comments. A vote has no text before its end; a chain of thought streams its
thoughts while they come, as `reasoning`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dynasor.api import Handle, Result
from dynasor.core.commands import Moved
from dynasor.core.errors import DynasorError
from dynasor.core.program import Program
from dynasor.gateway.asked import Asked, has_left, outcome
from dynasor.gateway.errors import JsonResponse, error_response, shaped
from dynasor.gateway.thoughts import Thoughts
from dynasor.programs import ChainOfThought
from dynasor.requests.completion import chat_chunk, encode_json, finish_reason, said, text_chunk
from dynasor.requests.completion import usage as bill

__all__ = ["AnswerStream", "streams_thoughts"]

GRACE_SECONDS = 2.0
"""So long a failure still gets a status of its own; then the stream begins."""
ALIVE_SECONDS = 15.0
"""Proxies cut connections that are silent; the usual limits are 30 seconds and more."""
PIECE_LETTERS = 64
"""The text of one chunk: a line of an answer, not a packet for each word."""
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # nginx would hold the stream back
}

News = Moved | str | None


def streams_thoughts(program: Program) -> bool:
    """Say whether a program's text can be shown as it comes: one chain of thought can."""
    return isinstance(program, ChainOfThought) and program.chains == 1


class AnswerStream(Response):
    """The response that streams a program's answer; a client that leaves takes the program along.

    Make it before the program arrives: `hear` takes its thoughts. `begin` says what was asked.
    """

    def __init__(self, *, has_usage: bool) -> None:
        super().__init__()
        self._has_usage = has_usage
        self._news: asyncio.Queue[News] = asyncio.Queue()
        self._asked: Asked
        self._thoughts = Thoughts("")
        self._has_role = False
        self._has_thoughts = False

    def hear(self, text: str) -> None:
        """Take in the next piece of a chain of thought."""
        self._news.put_nowait(text)

    def begin(self, asked: Asked) -> None:
        """Say which program it is, once it runs."""
        self._asked = asked
        self._thoughts = Thoughts(asked.think_end)
        asked.handle.on_progress(self._news.put_nowait)
        asked.handle.when_done(self._end)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the stream, until its end or until the client has gone."""
        writing = asyncio.ensure_future(self._write(scope, receive, send))
        leaving = asyncio.ensure_future(has_left(receive))
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
        finally:
            self._asked.handle.withdraw()  # no harm once it has ended
            writing.cancel()
            leaving.cancel()

    def _end(self, _: Handle) -> None:
        self._news.put_nowait(None)

    async def _write(self, scope: Scope, receive: Receive, send: Send) -> None:
        early = await self._early()
        if early[-1:] == [None] and (failure := await self._failure()) is not None:
            await failure(scope, receive, send)
            return
        headers = {**HEADERS, **self._asked.headers}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        await self._send(send, self._comment({"program_id": self._asked.handle.program}))
        for news in early:
            await self._send(send, b"".join(self._told(news)))
        while early[-1:] != [None] and (news := await self._next()) is not None:
            await self._send(send, b"".join(self._told(news)))
        await self._send(send, b"".join(await self._ending()), is_last=True)

    async def _early(self) -> list[News]:
        """Return the first news: up to a vote, a text or the end, or what there is after a while.

        A branch that was lost is no beginning: the program may be about to fail.
        """
        early: list[News] = []
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                while not early or (isinstance(early[-1], Moved) and not early[-1].votes):
                    early.append(await self._news.get())
        except TimeoutError:
            pass
        return early

    async def _failure(self) -> Response | None:
        """Return the response to a program that failed before the stream has begun."""
        try:
            result = await outcome(self._asked.handle)
        except DynasorError as exc:
            return error_response(exc, headers=self._asked.headers)
        if result.error is None:
            return None
        body = self._asked.failure(result.error, result)
        return JsonResponse(body, result.error.http_status, self._asked.headers)

    async def _next(self) -> News:
        """Return what comes next; an empty text where nothing has come for long."""
        try:
            async with asyncio.timeout(ALIVE_SECONDS):
                return await self._news.get()
        except TimeoutError:
            return ""

    def _told(self, news: News) -> Iterator[bytes]:
        """Yield what the client is told meanwhile."""
        if news is None:
            return
        if isinstance(news, Moved):
            seen = ("knob", "granted", "certaindex", "votes", "tokens")
            yield self._comment({name: getattr(news, name) for name in seen})
        elif not news:
            yield b": \n\n"
        elif self._asked.think_end:
            yield from self._thought(self._thoughts.pass_on(news))

    def _thought(self, text: str) -> Iterator[bytes]:
        if text:
            self._has_thoughts = True
            yield from self._role()
            yield self._chunk({"reasoning": text, "reasoning_content": text})

    async def _ending(self) -> list[bytes]:
        """Return the answer in chunks, or the error that came in its place."""
        try:
            result = await outcome(self._asked.handle)
            error = result.error
        except DynasorError as exc:
            return [_event(shaped(exc)), b"data: [DONE]\n\n"]
        if error is not None:
            return [_event(self._asked.failure(error, result)), b"data: [DONE]\n\n"]
        return [*self._answer(result), b"data: [DONE]\n\n"]

    def _answer(self, result: Result) -> Iterator[bytes]:
        asked = self._asked
        whole = said(result.text, asked.think_end)
        yield from self._thought(self._thoughts.rest())
        if not self._has_thoughts:
            yield from self._thought(whole.thoughts or "")
        yield from self._role()
        for piece in _pieces(whole.content or ""):
            yield self._chunk({"content": piece})
        yield self._chunk({}, finish_reason(result), dynasor=asked.story(result))
        if self._has_usage:
            chunk = chat_chunk(self._head(), {}) if asked.is_chat else text_chunk(self._head(), "")
            yield _event({**chunk, "choices": [], "usage": bill(result.spending)})

    def _role(self) -> Iterator[bytes]:
        """Yield the first chunk of a chat, once."""
        if not self._has_role and self._asked.is_chat:
            yield self._chunk({"role": "assistant", "content": ""})
        self._has_role = True

    def _chunk(self, delta: dict[str, Any], reason: str | None = None, **more: Any) -> bytes:
        if self._asked.is_chat:
            chunk = chat_chunk(self._head(), delta, reason)
        else:
            chunk = text_chunk(self._head(), delta.get("content", ""), reason)
        usage = {"usage": None} if self._has_usage else {}
        return _event({**chunk, **usage, **more})

    def _head(self) -> dict[str, Any]:
        asked = self._asked
        return {"id": asked.name, "created": asked.created, "model": asked.model}

    @staticmethod
    def _comment(value: dict[str, Any]) -> bytes:
        return b": dynasor " + encode_json(value) + b"\n\n"

    @staticmethod
    async def _send(send: Send, data: bytes, *, is_last: bool = False) -> None:
        if data or is_last:
            await send({"type": "http.response.body", "body": data, "more_body": not is_last})


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + encode_json(value) + b"\n\n"


def _pieces(text: str) -> Iterator[str]:
    for at in range(0, len(text), PIECE_LETTERS):
        yield text[at : at + PIECE_LETTERS]
