"""A client's request read, and its answer written, as a server of OpenAI's protocol would.

For engines without a server: chat and text completions, whole or streamed, one choice each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct, field

from dynasor.core.types import Generate, Message, Prompt, Relay, Sampling, Usage

__all__ = ["JSON", "STREAM", "Asked", "Said", "asked_of", "refusal"]

JSON = (b"content-type", b"application/json")
STREAM = (b"content-type", b"text/event-stream; charset=utf-8")
CHAT = "/chat/completions"
DONE = b"data: [DONE]\n\n"
MOST_TOKENS = 1 << 31


class _StreamOptions(Struct):
    include_usage: bool = False


class Asked(Struct):
    """What such an engine reads of a request; OpenAI's names."""

    model: str = ""
    messages: list[Message] = field(default_factory=list)
    prompt: str = ""
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float = 1.0
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool = False
    stream_options: _StreamOptions | None = None

    def work(self) -> Generate:
        """Return the same as a generation."""
        messages = tuple(self.messages) or (Message("user", self.prompt),)
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        limit = self.max_completion_tokens or self.max_tokens or MOST_TOKENS
        return Generate(Prompt(messages), Sampling(limit, self.temperature, 1.0, stop, self.seed))


def asked_of(work: Relay) -> Asked:
    """Read a request; raises `ValueError` for one that cannot be."""
    try:
        return msgspec.json.decode(work.body.encode(), type=Asked)
    except msgspec.DecodeError as exc:
        raise ValueError(str(exc)) from exc


def refusal(message: str) -> bytes:
    """Write a refusal of a client's request."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return msgspec.json.encode({"error": error})


class Said(Struct):
    """An answer: its tokens, why it ended and what it cost."""

    asked: Asked
    is_chat: bool
    tokens: Sequence[str]
    finish_reason: str
    usage: Usage

    def whole(self) -> bytes:
        """Write it as one document."""
        text = "".join(self.tokens)
        said = (
            {"message": {"role": "assistant", "content": text}} if self.is_chat else {"text": text}
        )
        kind = "chat.completion" if self.is_chat else "text_completion"
        return msgspec.json.encode(self._document(kind, [self._choice(said, self.finish_reason)]))

    def events(self) -> Iterator[bytes]:
        """Write it as events, one a token, `[DONE]` included."""
        if self.is_chat:
            yield self._event([self._choice({"delta": {"role": "assistant", "content": ""}})])
        for token in self.tokens:
            said = {"delta": {"content": token}} if self.is_chat else {"text": token}
            yield self._event([self._choice(said)])
        last: dict[str, Any] = {"delta": {}} if self.is_chat else {"text": ""}
        yield self._event([self._choice(last, self.finish_reason)])
        options = self.asked.stream_options
        if options is not None and options.include_usage:
            yield self._event([], has_usage=True)
        yield DONE

    def _event(self, choices: list[dict[str, Any]], *, has_usage: bool = False) -> bytes:
        kind = "chat.completion.chunk" if self.is_chat else "text_completion"
        document = self._document(kind, choices, has_usage=has_usage)
        return b"data: " + msgspec.json.encode(document) + b"\n\n"

    def _choice(self, said: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {"index": 0, **said, "finish_reason": reason, "logprobs": None}

    def _document(
        self, kind: str, choices: list[dict[str, Any]], *, has_usage: bool = True
    ) -> dict[str, Any]:
        prefix = "chatcmpl" if self.is_chat else "cmpl"
        document: dict[str, Any] = {
            "id": f"{prefix}-scripted",
            "object": kind,
            "created": 0,
            "model": self.asked.model,
            "choices": choices,
        }
        if has_usage:
            usage = self.usage
            document["usage"] = {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            }
        return document
