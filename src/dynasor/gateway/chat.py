"""`/v1/chat/completions` and `/v1/completions`: which requests are scheduled as programs, and how.

A request whose object `dynasor` names an algorithm, or anything else about one, is a program; so
is every request where the server has an algorithm for those that name none. All others pass
through to an engine as they stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeVar
from uuid import uuid4

import msgspec
from msgspec import Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from dynasor.api import Handle
from dynasor.config import format_policy
from dynasor.core.errors import DynasorError, UserError
from dynasor.core.program import Program
from dynasor.core.types import PolicySpec
from dynasor.gateway.asked import CLIENT_LEFT, Asked, whole_answer
from dynasor.gateway.errors import BadRequest
from dynasor.gateway.relay import SESSIONS, relay, session_of
from dynasor.gateway.service import Service
from dynasor.gateway.streaming import AnswerStream, streams_thoughts
from dynasor.requests.body import ChatBody, Refused, read_body, read_extras
from dynasor.requests.program import make_program
from dynasor.runtime.clock import wall_clock

__all__ = ["chat_completions", "completions"]

T = TypeVar("T")

CHOOSING = frozenset({"algorithm", "cap", "params", "policy", "profile", "task"})
"""Keys of `dynasor` that ask for a program; the others may come with any request."""
LEGACY: Mapping[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "logprobs": (),
    "suffix": ("",),
}
"""Fields of the older endpoint only, with the values (beside null) that ask for nothing."""


async def chat_completions(request: Request) -> Response:
    """Serve a chat completion."""
    return await _serve(request, "/chat/completions")


async def completions(request: Request) -> Response:
    """Serve a completion of the older kind: its prompt is the question."""
    return await _serve(request, "/completions")


async def _serve(request: Request, path: str) -> Response:
    try:
        data = await request.body()
    except ClientDisconnect:
        return Response(status_code=CLIENT_LEFT)
    service: Service = request.app.state.service
    head = _read(data, _Head)
    named = None if head.dynasor is msgspec.UNSET else head.dynasor
    is_program = _chooses(named) or service.serving.algorithm is not None
    if not is_program:
        extras = read_extras(named)
        _check_id(service, extras.program_id, _tenant(request))
        return await relay(
            request,
            data if head.dynasor is msgspec.UNSET else _without_extras(data),
            path,
            service,
            model=head.model,
            program_id=extras.program_id,
            deadline_seconds=extras.deadline_seconds,
        )
    is_chat = path == "/chat/completions"
    fields: dict[str, Any] = _read(data, dict)
    question = _Question(request, service, fields if is_chat else _as_chat(fields), is_chat)
    return await question.answer()


def _without_extras(data: bytes) -> bytes:
    """Return a body without the object that is ours: some engines refuse what they do not know."""
    fields: dict[str, msgspec.Raw] = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    del fields["dynasor"]
    return msgspec.json.encode(fields)


class _Head(Struct):
    """What of a body says whether it is a program, and whose; the rest is not read."""

    dynasor: Any = msgspec.UNSET
    model: Any = None


def _read(data: bytes, kind: type[T]) -> T:
    """Return a body as an object of that kind; raises `BadRequest`."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as exc:
        raise BadRequest(None, f"the body is no JSON object: {exc}") from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise BadRequest(None, f"the body is not JSON: {exc}", code="invalid_json") from exc


def _chooses(extras: object) -> bool:
    """Say whether the object `dynasor` asks for a program; one that is no object is refused."""
    if extras is None:
        return False
    if not isinstance(extras, dict):
        kind = type(extras).__name__
        raise BadRequest("dynasor", f"dynasor is {kind}; expected an object")
    return any(extras.get(name) is not None for name in CHOOSING)


def _as_chat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a chat that asks the same; raises `BadRequest`."""
    rest = dict(fields)
    if isinstance(prompt := rest.pop("prompt", None), list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str) or not prompt.strip():
        raise BadRequest("prompt", "prompt: expected one text, the question")
    if "messages" in rest:
        raise BadRequest("messages", "messages belong to /v1/chat/completions; prompt is all here")
    for name, neutral in LEGACY.items():
        value = rest.pop(name, None)
        if value is not None and value not in neutral:
            raise BadRequest(name, f"{name} is not supported: leave it out")
    return {**rest, "messages": [{"role": "user", "content": prompt}]}


@dataclass(frozen=True, slots=True)
class _Question:
    """One request that is a program; `fields` are those of a chat."""

    request: Request
    service: Service
    fields: Mapping[str, Any]
    is_chat: bool

    @property
    def tenant(self) -> str:
        """The name of the API key that it came with, empty without keys."""
        return _tenant(self.request)

    async def answer(self) -> Response:
        """Run the program and return its answer; raises `UserError` for what cannot be run."""
        body = read_body(self.fields, place="")
        model = self.service.model(body.model)
        program = self._program(body)
        policy = self._policy(body, program)
        identity = self._identity(body)
        stream = self._stream(body, program, identity) if body.stream else None
        try:
            handle = self._submit(body, program, policy, identity)
        except DynasorError:
            self.service.streams.leave(identity)
            raise
        shown = format_policy(policy)
        asked = Asked(handle, program, shown, model, wall_clock(), self.is_chat)
        if stream is None:
            return await whole_answer(asked, self.request.receive)
        stream.begin(asked)
        return stream

    def _stream(self, body: ChatBody, program: Program, identity: str) -> AnswerStream:
        """Return the stream of an answer, before there is anything to miss."""
        options = body.stream_options
        stream = AnswerStream(has_usage=bool(options and options.include_usage))
        if streams_thoughts(program):
            self.service.streams.follow(identity, stream.hear)
        return stream

    def _program(self, body: ChatBody) -> Program:
        try:
            return make_program(
                body, self.service.settings, self.service.dynasor.machine.catalog, place=""
            )
        except Refused:
            raise
        except UserError as exc:
            param = "dynasor.params" if body.extras.params else "dynasor"
            raise BadRequest(param, str(exc)) from exc

    def _policy(self, body: ChatBody, program: Program) -> PolicySpec:
        try:
            return self.service.policy_for(program, body.extras.policy)
        except UserError as exc:
            raise BadRequest("dynasor.policy", str(exc)) from exc

    def _submit(
        self, body: ChatBody, program: Program, policy: PolicySpec, identity: str
    ) -> Handle:
        try:
            return self.service.submit(
                program,
                policy=policy,
                deadline_seconds=body.extras.deadline_seconds,
                workload=program.task,
                tenant=self.tenant,
                program_id=identity,
                affinity=self._session(body),
            )
        except UserError as exc:
            raise BadRequest("dynasor", str(exc)) from exc

    def _session(self, body: ChatBody) -> str:
        """Return what keeps requests together that share a prompt; empty: nothing does."""
        headers = self.request.headers
        named = (headers[name] for name in SESSIONS if headers.get(name))
        session = next(named, body.prompt_cache_key or "")
        return session and session_of(self.tenant, session)

    def _identity(self, body: ChatBody) -> str:
        """Return the program's id: its own, or one that the seed decides, or a new one.

        A program's id seeds all its sampling, so the same question with the same seed samples
        alike, unless its twin is still under way.
        """
        chosen = body.extras.program_id
        if chosen is not None:
            _check_id(self.service, chosen, self.tenant)
            return chosen
        if body.seed is not None:
            how = ("stream", "stream_options")
            asked = {name: value for name, value in self.fields.items() if name not in how}
            seeded = f"prog_{_digest([self.tenant, asked])}"
            if not self.service.is_taken(seeded, self.tenant):
                return seeded
        return f"prog_{uuid4().hex}"


def _tenant(request: Request) -> str:
    return str(getattr(request.state, "tenant", ""))


def _check_id(service: Service, program: str | None, tenant: str) -> None:
    if program is not None and service.is_taken(program, tenant):
        raise BadRequest(
            "dynasor.program_id",
            f"program {program!r} is not free; give each program its own id",
            code="program_id_in_use",
        )


def _digest(value: object) -> str:
    return blake2b(msgspec.json.encode(value, order="sorted"), digest_size=16).hexdigest()
