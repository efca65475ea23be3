"""The body of a chat completion request: OpenAI's fields and the one object that is ours.

Fields that would change the meaning and cannot be honoured are refused, those that change
nothing are ignored, and those that nobody knows are refused as OpenAI refuses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from dynasor.config import MOST_BRANCHES, SAID_ELSEWHERE
from dynasor.core.errors import UnknownName, UserError
from dynasor.core.types import Message

__all__ = ["ChatBody", "Extras", "Refused", "read_body"]

EFFORTS = {"low": 0.25, "medium": 0.5, "high": 1.0}
"""What each `reasoning_effort` may spend, as a fraction of the configured cap."""
IGNORED = frozenset(
    "metadata parallel_tool_calls prediction prompt_cache_key prompt_cache_retention "
    "safety_identifier service_tier store stream_options user".split()
)
"""Fields that do not change what is answered."""
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "n": (1,),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "stop": ([],),
    "stream": (False,),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "verbosity": ("medium",),
    "web_search_options": (),
}
"""Fields that are not supported, with the values (beside null) that ask for nothing."""
REASONS = {
    "n": "one question has one answer; how many branches vote on it is dynasor.cap",
    "stream": "a batch is written when it is answered",
}

Tokens = Annotated[int, Meta(ge=1)]


class Refused(UserError):
    """A body that cannot be run; `param` names the field."""

    def __init__(self, param: str, message: str) -> None:
        self.param = param
        super().__init__(message)


class Part(Struct, frozen=True):
    """One part of a message's content; only text can be asked."""

    type: str
    text: str = ""


class ChatMessage(Struct, frozen=True):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]


class Extras(Struct, frozen=True, forbid_unknown_fields=True):
    """The object `dynasor` of a body: how the question is to be answered; all optional.

    `params` are the algorithm's own.
    """

    algorithm: str | None = None
    params: dict[str, Any] = {}
    cap: Annotated[int, Meta(ge=1, le=MOST_BRANCHES)] | None = None
    policy: str | None = None
    task: str | None = None
    deadline_seconds: Annotated[float, Meta(gt=0)] | None = None


class ChatBody(Struct, frozen=True):
    """What is read of a body; None stands for "not given".

    `seed` is read and not used: OpenAI promises no more than an effort, and the seed of a run is
    a setting.
    """

    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    model: str | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    seed: int | None = None
    reasoning_effort: Literal["low", "medium", "high"] | None = None
    dynasor: Extras | None = None

    @property
    def extras(self) -> Extras:
        """The object `dynasor`, or its defaults."""
        return self.dynasor or Extras()

    @property
    def branch_tokens(self) -> int | None:
        """The longest branch in tokens; OpenAI's newer name goes first."""
        return self.max_completion_tokens or self.max_tokens

    def cap(self, configured: int) -> int:
        """Return the cap: the one given, or the effort's share of the configured one."""
        if self.extras.cap is not None:
            return self.extras.cap
        return ceil(configured * EFFORTS[self.reasoning_effort or "high"])

    def conversation(self) -> tuple[Message, ...]:
        """Return the messages as an engine takes them; raises `Refused` for one without text."""
        return tuple(_message(place, said) for place, said in enumerate(self.messages))

    def question(self) -> str:
        """Return what the user asked last; raises `Refused` where no user asked anything."""
        for message in reversed(self.conversation()):
            if message.role == "user":
                if message.content.strip():
                    return message.content
                break
        raise Refused("body.messages", "body.messages: expected a question in the role 'user'")


def read_body(raw: object) -> ChatBody:
    """Read a body from JSON values; raises `Refused` or `msgspec.ValidationError`."""
    if not isinstance(raw, dict):
        raise Refused("body", f"body is {_kind(raw)}; expected an object")
    for name, value in raw.items():
        _check_field(name, value)
    extras = raw.get("dynasor")
    if isinstance(extras, dict):
        for name in extras:
            if name not in Extras.__struct_fields__:
                unknown = UnknownName("key in body.dynasor:", name, Extras.__struct_fields__)
                raise Refused(f"body.dynasor.{name}", str(unknown))
    body = msgspec.convert(raw, ChatBody)
    for name in body.extras.params:
        if name in SAID_ELSEWHERE:
            place = "body.dynasor" if name in Extras.__struct_fields__ else "body.messages"
            raise Refused(
                f"body.dynasor.params.{name}",
                f"body.dynasor.params has {name!r}; that is what {place} says",
            )
    body.question()
    return body


def _check_field(name: str, value: object) -> None:
    known = ChatBody.__struct_fields__
    if name in known or name in IGNORED:
        return
    if name not in NEUTRAL:
        raise Refused(f"body.{name}", str(UnknownName("key in body:", name, known)))
    if value is not None and value not in NEUTRAL[name]:
        reason = REASONS.get(name, "leave it out")
        raise Refused(f"body.{name}", f"body.{name} is not supported: {reason}")


def _message(place: int, said: ChatMessage) -> Message:
    role = "system" if said.role == "developer" else said.role
    if isinstance(said.content, str):
        return Message(role, said.content)
    for part in said.content:
        if part.type != "text":
            raise Refused(
                f"body.messages[{place}].content",
                f"body.messages[{place}].content has a part of type {part.type!r}; expected 'text'",
            )
    return Message(role, "".join(part.text for part in said.content))


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__
