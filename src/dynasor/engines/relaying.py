"""A client's own request on its way through: the bytes of its answer, and what they cost.

The bytes are handed on as they come; nothing is parsed on the way. What an answer cost stands in
its last `"usage"`, which is looked for once it has ended. Where none is, each event of a stream
counts as a token, and of a whole answer every fourth byte.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from dynasor.core.errors import EngineDenied, EngineError
from dynasor.core.types import Relayed, Usage
from dynasor.engines.faults import DENIED, of_status
from dynasor.engines.link import LARGEST_ERROR, Link
from dynasor.engines.protocol import Meter, Sink
from dynasor.engines.wire import read_usage

__all__ = ["Passed", "last_usage", "pass_on"]

# Behind `usage` servers write timings and the like, or the last events of a stream.
TAIL_BYTES = 32 * 2**10
# The count itself, its details included.
USAGE_BYTES = 4 * 2**10
BYTES_A_TOKEN = 4
MOST_TOKENS = 1 << 31

# Who may ask is between the gateway and its engine: the client has no other key to try.
OUR_OWN = DENIED - {404}
MENDABLE = frozenset({408, 429})

_USAGE = b'"usage"'
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Passed:
    """A request as it goes out: `path` below the root, `data` its JSON text."""

    path: str
    data: bytes
    headers: Mapping[str, str]


async def pass_on(link: Link, request: Passed, meter: Meter, sink: Sink) -> Relayed:
    """Send a request and hand its answer on; the meter is right to the byte at every moment.

    Raises `EngineError` for what is no answer to the client, before anything was handed on, and
    where the connection breaks.
    """
    meter.prompt_tokens = len(request.data) // BYTES_A_TOKEN
    has_begun = False
    try:
        async with link.answer(request.path, request.data, request.headers) as response:
            status = response.status
            is_refused = status >= 400
            if not _is_for_the_client(response):
                raise await _failure(link.address, response)
            sink.begin(status, response.raw_headers)
            has_begun = True
            tail = await _hand_over(response, meter, sink)
    except EngineError:
        if not has_begun:  # nobody is charged for what no engine has taken
            meter.prompt_tokens = 0
        raise
    if is_refused:
        meter.prompt_tokens = meter.completion_tokens = 0
        return Relayed(status, Usage())
    usage = last_usage(tail)
    if usage is not None:
        meter.prompt_tokens, meter.completion_tokens = usage.prompt_tokens, usage.completion_tokens
        meter.is_counted = True
    return Relayed(status, meter.usage())


async def _hand_over(response: aiohttp.ClientResponse, meter: Meter, sink: Sink) -> bytes:
    """Hand all bytes on, and return the last ones."""
    is_stream = response.headers.get("Content-Type", "").startswith("text/event-stream")
    read, write = response.content.readany, sink.write
    tail: deque[bytes] = deque()
    kept = seen = 0
    while data := await read():
        if is_stream:
            meter.completion_tokens += data.count(b"data:")
        else:
            seen += len(data)
            meter.completion_tokens = seen // BYTES_A_TOKEN
        tail.append(data)
        kept += len(data)
        while kept - len(tail[0]) >= TAIL_BYTES:
            kept -= len(tail.popleft())
        await write(data)
    return b"".join(tail)[-TAIL_BYTES:]


def last_usage(tail: bytes) -> Usage | None:
    """Return the last counts that stand in the end of an answer, None where none do.

    A text that talks of usage is no match: there the quotes are escaped.
    """
    at = tail.rfind(_USAGE)
    while at >= 0:
        usage = read_usage(_object_after(tail, at + len(_USAGE)), 0, MOST_TOKENS)
        if usage is not None:
            return usage
        at = tail.rfind(_USAGE, 0, at)
    return None


def _object_after(tail: bytes, at: int) -> Any:
    text = tail[at : at + USAGE_BYTES].lstrip()
    value = text[1:].lstrip()
    if text[:1] != b":" or value[:1] != b"{":
        return None
    try:
        return _DECODER.raw_decode(value.decode("utf-8", "replace"))[0]
    except (ValueError, RecursionError):
        return None


def _is_for_the_client(response: aiohttp.ClientResponse) -> bool:
    status = response.status
    if status < 400:
        is_an_answer = 200 <= status < 300
    else:
        is_an_answer = status < 500 and status not in MENDABLE and status not in OUR_OWN
    return is_an_answer and not response.headers.get("Content-Type", "").startswith("text/html")


async def _failure(address: str, response: aiohttp.ClientResponse) -> EngineError:
    status = response.status
    if status in OUR_OWN:  # what it says may name a part of our key
        return EngineDenied(address, f"HTTP {status}: it does not take the gateway's own key")
    body = await response.content.read(LARGEST_ERROR)
    return of_status(address, status, body, response.headers)
