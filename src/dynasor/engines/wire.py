"""The answers of an OpenAI-compatible server as typed values, and what to believe of them.

Decoding is typed and drops every field that nobody reads, since a stream is one JSON document a
token. Servers written in Python may write `NaN`, which JSON does not have: such a document is
read a second time by a parser that takes it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec import Struct, field

from dynasor.core.types import Usage

__all__ = [
    "Choice",
    "Completion",
    "Delta",
    "Embedding",
    "Embeddings",
    "ModelList",
    "NotTheProtocol",
    "Props",
    "TokenLogprob",
    "Tokens",
    "beginning",
    "decode",
    "estimated_tokens",
    "in_order",
    "mean_logprob",
    "read_usage",
]


# No vocabulary and no temperature in use make a token this unlikely; vLLM stops at -9999.
BEYOND = 1e6


class NotTheProtocol(ValueError):
    """What came is no JSON, or JSON of another shape; the message shows how it begins."""


class Candidate(Struct):
    """One of the likeliest tokens at a position."""

    token: str = ""
    logprob: float | None = None


class TokenLogprob(Struct):
    """One token of a completion with its natural log-probability, and the likeliest others."""

    token: str = ""
    logprob: float | None = None
    top_logprobs: list[Candidate] | None = None


class Logprobs(Struct):
    """Log-probabilities of a chunk's tokens, in one of the two forms that servers write."""

    content: list[TokenLogprob] | None = None
    token_logprobs: list[float | None] | None = None

    @property
    def listed(self) -> list[TokenLogprob]:
        """The tokens, whichever form they came in."""
        if self.content is not None:
            return self.content
        return [TokenLogprob(logprob=value) for value in self.token_logprobs or ()]


class Delta(Struct):
    """What a model said; vLLM calls its thoughts `reasoning`, the others `reasoning_content`."""

    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None

    @property
    def thoughts(self) -> str:
        """The reasoning part, which servers with a reasoning parser split off."""
        return self.reasoning or self.reasoning_content or ""


class Choice(Struct):
    """One completion, or one chunk of it; `text` is what the endpoint for plain text says."""

    delta: Delta | None = None
    message: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: Logprobs | None = None

    @property
    def said(self) -> Delta | None:
        """What came; a server that ignores `stream` sends one message."""
        return self.delta or self.message or (Delta(self.text) if self.text else None)


class Completion(Struct):
    """A whole answer or one chunk of a stream; `usage` and `error` are read with distrust."""

    choices: list[Choice] = field(default_factory=list)
    usage: Any = None
    error: Any = None


class Model(Struct):
    """One served model."""

    id: str
    owned_by: str | None = None
    max_model_len: int | None = None


class ModelList(Struct):
    """The answer of `/v1/models`."""

    data: list[Model]


class Embedding(Struct):
    """One text's vector; `index` is the text's place in the request."""

    embedding: list[float]
    index: int | None = None


class _Defaults(Struct):
    n_ctx: int | None = None


class Props(Struct):
    """What llama.cpp says at `/props`; only it has `total_slots`."""

    total_slots: int
    default_generation_settings: _Defaults = field(default_factory=_Defaults)


class Tokens(Struct):
    """The answer of vLLM's `/tokenize`."""

    tokens: list[int]


class Embeddings(Struct):
    """The answer of `/v1/embeddings`."""

    data: list[Embedding]
    usage: Any = None


T = TypeVar("T")


class Indexed(Protocol):
    """What says at which place of its list it belongs."""

    index: int | None


Entry = TypeVar("Entry", bound=Indexed)


def decode(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Read one JSON document; raise `NotTheProtocol` if it is something else."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as exc:
        raise NotTheProtocol(f"{exc}: {beginning(data)}") from exc
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _decode_leniently(data, decoder.type)


def _decode_leniently(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.convert(json.loads(data), kind)
    except (ValueError, RecursionError) as exc:
        raise NotTheProtocol(f"expected JSON, got {beginning(data)}") from exc


def beginning(data: bytes) -> str:
    """Show the first 80 characters of an answer on one line."""
    text = " ".join(data[:400].decode("utf-8", "replace").split())
    return repr(text[:80] + ("..." if len(text) > 80 else ""))


def mean_logprob(tokens: list[TokenLogprob]) -> float | None:
    """Average the log-probabilities that can be some; None where none can.

    Not a number, infinite, or beyond any (llama.cpp says -3.4e38 of the impossible) are left out.
    """
    known = [t.logprob for t in tokens if t.logprob is not None and abs(t.logprob) < BEYOND]
    return math.fsum(known) / len(known) if known else None


def estimated_tokens(text: str) -> int:
    """Guess a text's tokens: four characters each, OpenAI's rule of thumb for English."""
    return -(-len(text) // 4)


def read_usage(raw: object, seen: int, max_tokens: int) -> Usage | None:
    """Return the server's counts, or None where they are missing or cannot be true.

    `seen` is how many pieces of text have arrived. Servers may send several tokens a piece, never
    many pieces a token, and none may exceed `max_tokens` (by more than a few: draft tokens of
    speculative decoding).
    """
    if not isinstance(raw, dict):
        return None
    prompt = _count(raw.get("prompt_tokens"))
    completion = _count(raw.get("completion_tokens", 0))
    if prompt is None or completion is None:
        return None
    if not seen // 2 <= completion <= max_tokens + 16:
        return None
    return Usage(prompt, completion, is_counted=True)


def in_order(entries: Sequence[Entry]) -> list[Entry]:
    """Return a list's entries by the `index` that they give, which they need not."""
    placed = [at if one.index is None else one.index for at, one in enumerate(entries)]
    return [one for _, one in sorted(zip(placed, entries, strict=True), key=itemgetter(0))]


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < 1 << 31 else None
