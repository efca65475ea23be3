"""The body of a chat completion request: OpenAI's fields and the one object that is ours.

Fields that would change the meaning and cannot be honoured are refused, those that change
nothing are ignored, and those that nobody knows are refused as OpenAI refuses them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import ceil
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from dynasor.config import MOST_BRANCHES, SAID_ELSEWHERE
from dynasor.core.errors import UnknownName, UserError
from dynasor.core.types import Message, Temperature, Tokens, TopP

__all__ = ["ChatBody", "Extras", "Refused", "StreamOptions", "read_body", "read_extras"]

EFFORTS = {"none": 0.0, "minimal": 0.125, "low": 0.25, "medium": 0.5, "high": 1.0, "xhigh": 1.0}
"""What each `reasoning_effort` may spend, as a fraction of the configured cap; at least 1 unit."""
IGNORED = frozenset(
    "metadata parallel_tool_calls prediction prompt_cache_retention safety_identifier "
    "service_tier store user".split()
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
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "verbosity": ("medium",),
    "web_search_options": (),
}
"""Fields that are not supported, with the values (beside null) that ask for nothing."""
REASONS = {"n": "one question has one answer; how many branches vote on it is dynasor.cap"}
MOST_PROGRAM_ID = 128
PROGRAM_ID = rf"^[A-Za-z0-9][A-Za-z0-9._:\-]{{0,{MOST_PROGRAM_ID - 1}}}$(?!\n)"
"""What may stand in a header and in an address as it is, and how long it may be."""
MOST_LETTERS = 1_024
"""The longest text that chooses something: reading a policy takes the square of its quotes."""

_PLACE = re.compile(r" - at `\$\.?(.*)`$")

T = TypeVar("T")
Stop = Annotated[str, Meta(min_length=1)]
Choice = Annotated[str, Meta(max_length=MOST_LETTERS)]


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


class StreamOptions(Struct, frozen=True):
    """`include_usage` asks for one more chunk, with the bill; the other options change nothing."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Extras(Struct, frozen=True, forbid_unknown_fields=True):
    """The object `dynasor` of a body: how the question is to be answered; all optional.

    `params` are the algorithm's own.
    """

    algorithm: Choice | None = None
    params: dict[str, Any] = {}
    cap: Annotated[int, Meta(ge=1, le=MOST_BRANCHES)] | None = None
    policy: Choice | None = None
    profile: Choice | None = None
    task: Choice | None = None
    deadline_seconds: Annotated[float, Meta(gt=0)] | None = None
    program_id: Annotated[str, Meta(pattern=PROGRAM_ID)] | None = None


class ChatBody(Struct, frozen=True):
    """What is read of a body; None stands for "not given".

    Who serves it says what `seed`, `stream` and `prompt_cache_key` mean: a batch has nothing to
    stream and a seed of its own.
    """

    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    model: str | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    stop: Stop | Annotated[list[Stop], Meta(max_length=4)] | None = None
    seed: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    prompt_cache_key: str | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    dynasor: Extras | None = None

    @property
    def extras(self) -> Extras:
        """The object `dynasor`, or its defaults."""
        return self.dynasor or Extras()

    @property
    def branch_tokens(self) -> int | None:
        """The longest branch in tokens; OpenAI's newer name goes first."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end a branch."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    def cap(self, configured: int) -> int:
        """Return the cap: the one given, or the effort's share of the configured one."""
        if self.extras.cap is not None:
            return self.extras.cap
        return max(1, ceil(configured * EFFORTS[self.reasoning_effort or "high"]))

    def conversation(self) -> tuple[Message, ...]:
        """Return the messages as an engine takes them."""
        return tuple(map(_message, self.messages))

    def question(self) -> str:
        """Return what the user asked last, empty where no user asked anything."""
        users = (message for message in reversed(self.conversation()) if message.role == "user")
        return next((message.content for message in users), "")


def read_body(raw: object, place: str = "body") -> ChatBody:
    """Read a body from JSON values; raises `Refused`, whose messages say where in `place`.

    `place` is what the body is called by who sends it, empty where the body is all that he sends.
    """
    if not isinstance(raw, dict):
        raise Refused(place, f"{place or 'the body'} is {_kind(raw)}; expected an object")
    for name, value in raw.items():
        _check_field(place, name, value)
    extras = raw.get("dynasor")
    if isinstance(extras, dict):
        _check_extras(_at(place, "dynasor"), extras)
    body = _convert(raw, ChatBody, place)
    for name in body.extras.params:
        if name in SAID_ELSEWHERE:
            own = _at(place, "dynasor")
            elsewhere = own if name in Extras.__struct_fields__ else _at(place, "messages")
            raise Refused(
                f"{own}.params.{name}", f"{own}.params has {name!r}; that is what {elsewhere} says"
            )
    _check_messages(_at(place, "messages"), body)
    return body


def _at(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def read_extras(raw: object, place: str = "dynasor") -> Extras:
    """Read the object `dynasor` alone, null for one that says nothing; raises `Refused`."""
    if isinstance(raw, dict):
        _check_extras(place, raw)
    return _convert({} if raw is None else raw, Extras, place)


def _convert(raw: object, kind: type[T], place: str) -> T:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as exc:
        param, reason = _place_of(exc, place)
        raise Refused(param, f"{param or 'the body'}: {reason}") from exc


def _place_of(error: msgspec.ValidationError, place: str) -> tuple[str, str]:
    """Return the field that a value of the wrong kind stands in, and what is wrong with it."""
    found = _PLACE.search(str(error))
    inside = "" if found is None else found[1]
    param = _at(place, inside).removesuffix(".") if inside else place
    return param, _PLACE.sub("", str(error))


def _check_field(place: str, name: str, value: object) -> None:
    known = ChatBody.__struct_fields__
    if name in known or name in IGNORED:
        return
    if name not in NEUTRAL:
        unknown = UnknownName(f"key in {place or 'the body'}:", name, known)
        raise Refused(_at(place, name), str(unknown))
    if value is not None and value not in NEUTRAL[name]:
        reason = REASONS.get(name, "leave it out")
        raise Refused(_at(place, name), f"{_at(place, name)} is not supported: {reason}")


def _check_extras(place: str, extras: Mapping[str, object]) -> None:
    for name in extras:
        if name not in Extras.__struct_fields__:
            unknown = UnknownName(f"key in {place}:", name, Extras.__struct_fields__)
            raise Refused(_at(place, name), str(unknown))


def _check_messages(place: str, body: ChatBody) -> None:
    """Refuse a conversation that has more than text, or in which no user asks anything."""
    for number, said in enumerate(body.messages):
        for part in said.content if isinstance(said.content, list) else ():
            if part.type != "text":
                at = f"{place}[{number}].content"
                raise Refused(at, f"{at} has a part of type {part.type!r}; expected 'text'")
    if not body.question().strip():
        raise Refused(place, f"{place}: expected a question in the role 'user'")


def _message(said: ChatMessage) -> Message:
    role = "system" if said.role == "developer" else said.role
    if isinstance(said.content, str):
        return Message(role, said.content)
    return Message(role, "".join(part.text for part in said.content))


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__
