"""How one OpenAI-compatible server differs from the next: a few fields and what it can do.

The differences were read from the servers' sources (vLLM 0.32, SGLang 0.5.23, TensorRT-LLM of
2026, llama.cpp as of xllamacpp 2026.10); a server that nobody knows is taken at OpenAI's word.

What a server can be told of a program that has ended: TensorRT-LLM cuts a conversation out of its
cache on request. SGLang's radix cache keeps each node at the highest priority it ever had, so
nothing can lower it, and its plain order gives up idle programs first anyway. llama.cpp reuses
the slot that was idle longest; erasing one takes a switch at its start, and nothing says whose
prompt a slot holds: the next call of a sibling would pay. In vLLM that is the plug-in's work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from dynasor.core.errors import UnknownName
from dynasor.core.types import Generate, Message, Sampling

__all__ = [
    "DIALECTS",
    "OPENAI",
    "Dialect",
    "chat_body",
    "dialect_named",
    "dialect_of_owner",
    "text_body",
    "within",
    "written",
]

Priority = Literal["lower first", "higher first", "one to zero"]
"""How a server reads `priority`: integers of either sign, or a number in (0, 1], higher first."""

# Seeds are 31 bits on the wire: llama.cpp reads 32 and takes the largest for "draw one".
SEED_MASK = 0x7FFF_FFFF


@dataclass(frozen=True, slots=True)
class Dialect:
    """One kind of server.

    `owner`: its `owned_by` in `/v1/models`; `always`: fields of every generation; `prefix`:
    fields that make it continue a last assistant message, None where it cannot; `logprobs`:
    fields that ask for the log-probability of each token; `stream_options`: what makes a stream
    carry usage; `headers`: of every request; `renders`: where it shows messages as text, empty
    where it need not: its own continuation puts the prefix behind the template's (SGLang), or it
    cannot; `plain`: fields of a generation from text; `fills`: without a bound it writes until its
    context is full, and it refuses a bound that does not fit into that.

    Of a call's program: `session`, the header that names it; `hints`, the field of flat hints;
    `priority`, the sign or scale of the engine's own (see `engines.hints`), and
    `priority_header`; `truncate`, where a conversation is cut out of its cache. `load`: the series
    of its metrics that count running and waiting requests.
    """

    name: str
    owner: str
    supports: frozenset[str]
    always: Mapping[str, Any] = field(default_factory=dict)
    prefix: Mapping[str, Any] | None = None
    logprobs: Mapping[str, Any] = field(default_factory=lambda: {"logprobs": True})
    stream_options: Mapping[str, Any] = field(default_factory=lambda: {"include_usage": True})
    headers: Mapping[str, str] = field(default_factory=dict)
    renders: str = ""
    plain: Mapping[str, Any] = field(default_factory=dict)
    fills: bool = False
    session: str = ""
    hints: str = ""
    priority: Priority | None = None
    priority_header: str = ""
    truncate: str = ""
    load: tuple[str, str] | None = None


_CONTINUE = {"add_generation_prompt": False, "continue_final_message": True}
_EACH_CHUNK = {"include_usage": True, "continuous_usage_stats": True}
# What a generating server can do: whether it embeds too depends on the model, and mostly it does
# not, so that is for the user to say.
_GENERATES = frozenset({"generate", "score", "logprobs", "prefix", "relay"})

OPENAI = Dialect("openai", "", frozenset({"generate", "embed", "logprobs", "relay"}))

DIALECTS = (
    Dialect(
        "vllm",
        "vllm",
        _GENERATES | {"sharing"},
        prefix=_CONTINUE,
        stream_options=_EACH_CHUNK,
        renders="/../tokenize",
        plain={"add_special_tokens": False},  # the template wrote them
        fills=True,
        session="x-session-id",
        hints="vllm_xargs",
        priority="lower first",
        priority_header="x-vllm-priority",
        load=("vllm:num_requests_running", "vllm:num_requests_waiting"),
    ),
    Dialect(
        "sglang",
        "sglang",
        _GENERATES,
        prefix={"continue_final_message": True},
        stream_options=_EACH_CHUNK,
        session="x-smg-routing-key",
        priority="higher first",
        priority_header="x-override-priority",
        load=("sglang:num_running_reqs", "sglang:num_queue_reqs"),
    ),
    # Its requests forbid unknown fields, and it has none that continues a message.
    Dialect(
        "tensorrt-llm",
        "tensorrt_llm",
        frozenset({"generate", "logprobs", "relay"}),
        stream_options=_EACH_CHUNK,
        priority="one to zero",
        truncate="/../_control/kv_cache/truncate",
    ),
    # Its own defaults (top_k 40, min_p 0.05) are not what OpenAI's fields mean. `logprobs` alone
    # would list twenty candidates a token. A connection that it has kept open may close under the
    # next request; a new one costs less than a tenth of a millisecond on loopback.
    Dialect(
        "llama.cpp",
        "llamacpp",
        _GENERATES,
        always={"top_k": 0, "min_p": 0.0, "cache_prompt": True},
        prefix={},
        logprobs={"logprobs": True, "top_logprobs": 1},
        headers={"Connection": "close"},
        renders="/../apply-template",
        load=("llamacpp:requests_processing", "llamacpp:requests_deferred"),
    ),
    OPENAI,
)


def dialect_named(name: str) -> Dialect:
    """Return the dialect a user named; raise `UnknownName` with the known ones."""
    for dialect in DIALECTS:
        if dialect.name == name:
            return dialect
    raise UnknownName("dialect", name, (dialect.name for dialect in DIALECTS))


def dialect_of_owner(owner: str) -> Dialect | None:
    """Return the dialect whose servers name themselves `owner`, None for a stranger."""
    return next((dialect for dialect in DIALECTS if owner and dialect.owner == owner), None)


def chat_body(dialect: Dialect, model: str, work: Generate) -> dict[str, Any]:
    """Build the body of one chat completion, streaming not yet decided.

    The dialect must be able to continue a message if the prompt has a prefix.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": written(work.prompt.messages, work.prompt.prefix),
        **_sampling(work.sampling),
        **dialect.always,
    }
    if work.sampling.has_logprobs:
        body.update(dialect.logprobs)
    if work.prompt.prefix:
        body.update(dialect.prefix or {})
    return body


def text_body(dialect: Dialect, model: str, text: str, work: Generate) -> dict[str, Any]:
    """Build the body of one completion of `text`, the rendered prompt with its prefix."""
    body: dict[str, Any] = {
        "model": model,
        "prompt": text,
        **_sampling(work.sampling),
        **dialect.always,
        **dialect.plain,
    }
    if work.sampling.has_logprobs:
        body["logprobs"] = 1  # here it counts candidates
    return body


def within(dialect: Dialect, body: dict[str, Any], context_tokens: int | None) -> dict[str, Any]:
    """Leave out a bound that no answer can reach, where the server would refuse it."""
    is_beyond = context_tokens is not None and body["max_tokens"] >= context_tokens
    if dialect.fills and is_beyond:
        return {name: value for name, value in body.items() if name != "max_tokens"}
    return body


def written(messages: Sequence[Message], begun: str = "") -> list[dict[str, str]]:
    """Return messages as the protocol writes them, with an answer that was begun."""
    said = [{"role": each.role, "content": each.content} for each in messages]
    return [*said, {"role": "assistant", "content": begun}] if begun else said


def _sampling(sampling: Sampling) -> dict[str, Any]:
    body: dict[str, Any] = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.seed is not None:
        body["seed"] = sampling.seed & SEED_MASK
    return body
