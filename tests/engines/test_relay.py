"""A client's own request through each engine: what comes back, and what it cost."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.sinks import Sink
from toys.upstream import answer, chunked, upstream

from dynasor.core.errors import EngineError, EngineUnreachable
from dynasor.core.types import Hints, Relay, Relayed, Usage
from dynasor.engines.http import HttpEngine
from dynasor.engines.protocol import Meter, Relays
from dynasor.engines.relaying import last_usage
from dynasor.engines.remembering import KeptRewards, RememberingEngine
from dynasor.engines.scripted import Drop, ScriptedEngine

pytestmark = pytest.mark.timeout(60)

PATH = "/chat/completions"
QUESTION = "Tom has 12 apples and buys 7 more. How many apples does Tom have now?"
MESSAGES = [{"role": "user", "content": QUESTION}]
USAGE = '"usage": {"prompt_tokens": 3, "completion_tokens": 5, "details": {"cached": 1}}'


def request(**fields):
    return Relay(PATH, json.dumps({"messages": MESSAGES, "max_tokens": 16, **fields}))


def test_count_behind_the_text():
    """The last count wins, whatever stands behind it and however often the text speaks of it."""
    text = json.dumps({"content": 'he said "usage": {"prompt_tokens": 1, "completion_tokens": 1}'})
    assert last_usage(text.encode()) is None
    tail = f'{text}, "usage": null, {USAGE}, "timings": {{"n": 1}}, "usage": null}}\n\n'
    assert last_usage(tail.encode()) == Usage(3, 5, is_counted=True)


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b'"usage"',
        b'"usage":',
        b'"usage": {',
        b'"usage": {"prompt_tokens": -1, "completion_tokens": 1}',
        b'"usage": {"prompt_tokens": "many"}',
        b'"usage": [1]',
        b'"usage": ' + b'{"a":' * 2000,
    ],
)
def test_no_count(tail):
    """What is no count, or cannot be true, is none."""
    assert last_usage(tail) is None


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_bytes(before, after):
    """No bytes around a count break its reading, unless they are a later count."""
    assert last_usage(before) is None
    found = last_usage(before + USAGE.encode() + after)
    assert found == Usage(3, 5, is_counted=True)


class Stuck(Sink):
    """A client that reads the first bytes and no more."""

    async def write(self, data):
        await super().write(data)
        await asyncio.Event().wait()


async def relayed(engine, work):
    """Relay once; return the sink, the meter and the output."""
    sink, meter = Sink(), Meter()
    output = await engine.relay(work, meter, sink)
    return sink, meter, output


async def test_whole(engine):
    """A whole answer comes with its status and its cost, as the meter says."""
    description = await engine.start()
    assert "relay" in description.supports
    assert isinstance(engine, Relays)
    sink, meter, output = await relayed(engine, request())
    assert (sink.status, output.status) == (200, 200)
    assert json.loads(sink.body)["choices"][0]["message"]["content"]
    assert output.usage == meter.usage()
    assert output.usage.is_counted
    assert output.usage.completion_tokens > 0


async def test_stream(engine):
    """A stream comes in events, and its cost with it where the client asked for that."""
    await engine.start()
    asked = request(stream=True, stream_options={"include_usage": True})
    sink, _, output = await relayed(engine, asked)
    assert sink.answer_headers["content-type"].startswith("text/event-stream")
    assert len(sink.parts) > 1
    assert sink.body.endswith(b"data: [DONE]\n\n")
    assert output.usage.is_counted
    assert output.usage.completion_tokens > 0


async def test_refused(engine):
    """What a server makes of a request that it cannot read is the client's to read."""
    await engine.start()
    if "127.0.0.1" in engine.address:
        pytest.skip("the toy server reads everything")
    sink, _, output = await relayed(engine, Relay(PATH, '{"messages": 7}'))
    assert 400 <= sink.status < 500
    assert output == Relayed(sink.status)
    assert json.loads(sink.body)["error"]["message"]


async def test_closed(engine):
    """A closed engine takes no request."""
    await engine.start()
    await engine.close()
    with pytest.raises(EngineUnreachable):
        await relayed(engine, request())


async def test_what_reaches_nobody_costs_nothing():
    """A request that no server has seen costs no tokens, however often it is tried."""
    meter = Meter()
    async with upstream() as server:
        engine = HttpEngine(server.url)
        await engine.start()
        engine._link.root = "http://127.0.0.1:1/v1"  # nobody listens there
        with pytest.raises(EngineUnreachable):
            await engine.relay(request(), meter, Sink())
        await engine.close()
    assert meter.usage().prompt_tokens == 0


async def test_abort(engine):
    """A stream that is cancelled midway leaves an engine that serves the next request."""
    await engine.start()
    sink = Stuck()
    task = asyncio.create_task(engine.relay(request(stream=True), Meter(), sink))
    while not sink.has_begun:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await relayed(engine, request()))[0].status == 200


async def through(*replies):
    """Relay one request through an HTTP engine whose server gives these replies."""
    async with upstream(*replies) as server:
        engine = HttpEngine(server.url)
        await engine.start()
        try:
            return await relayed(engine, request())
        finally:
            await engine.close()


async def test_estimate_of_a_whole_answer():
    """An answer without a count is estimated: four bytes a token."""
    _, meter, output = await through([answer(200, b"x" * 400)])
    assert output.usage.completion_tokens == 100
    assert not output.usage.is_counted
    assert meter.prompt_tokens == len(request().body) // 4


async def test_estimate_of_a_stream():
    """A stream without a count is estimated: a token an event."""
    events = [b"data: {}\n\n"] * 7
    _, _, output = await through([*chunked(*events), b"0\r\n\r\n"])
    assert output.usage.completion_tokens == 7
    assert not output.usage.is_counted


async def test_count_before_a_long_tail():
    """A count is found where the end of a long answer holds it."""
    body = b'{"content": "' + b"x" * 10**6 + b'", ' + USAGE.encode() + b"}"
    sink, _, output = await through([answer(200, body)])
    assert sink.body == body
    assert output.usage == Usage(3, 5, is_counted=True)


async def test_refusal_costs_nothing():
    """A request that the server refuses costs no tokens, and that is certain."""
    _, meter, output = await through([answer(422, b'{"detail": "no"}')])
    assert output == Relayed(422, Usage())
    assert (meter.prompt_tokens, meter.completion_tokens) == (0, 0)


@pytest.mark.parametrize(
    ("reply", "is_retryable"),
    [
        ([answer(500, b"")], True),
        ([answer(503, b"")], True),
        ([answer(302, b"", "location: /x")], True),
        ([answer(401, b"")], False),
        ([answer(407, b"")], False),
        ([answer(501, b"")], False),
        ([*chunked(b"data: {}\n\n"), "cut"], True),
    ],
)
async def test_failures(reply, is_retryable):
    """What is no answer to the client is an error that says whether to try again."""
    with pytest.raises(EngineError) as caught:
        await through(reply)
    assert caught.value.is_retryable is is_retryable


async def test_silence_is_no_failure():
    """A request that is not streamed may be silent for longer than a stream of ours may."""
    async with upstream([None, answer(200, b"{}")]) as server:
        engine = HttpEngine(server.url, seconds_limit=0.05)
        await engine.start()
        task = asyncio.create_task(relayed(engine, request()))
        later = asyncio.get_running_loop().call_later(0.2, server.go.set)
        assert (await task)[0].status == 200
        later.cancel()
        await engine.close()


async def test_close_ends_requests():
    """Closing an engine fails what still runs on it, and breaks its connection."""
    async with upstream([None]) as server:
        engine = HttpEngine(server.url)
        await engine.start()
        task = asyncio.create_task(relayed(engine, request()))
        await server.asked.wait()
        await engine.close()
        with pytest.raises(EngineUnreachable):
            await task
        await server.hung_up.wait()


@pytest.mark.parametrize(
    ("dialect", "session", "priority"),
    [
        ("vllm", "x-session-id", {"x-vllm-priority": "7"}),
        ("sglang", "x-smg-routing-key", {"x-override-priority": "-7"}),
        ("tensorrt-llm", None, {}),
        ("llama.cpp", None, {}),
        ("openai", None, {}),
    ],
)
@pytest.mark.parametrize("has_priority", [False, True])
async def test_hints_are_headers(dialect, session, priority, has_priority):
    """Hints go as headers where the dialect has them; the body is as it was."""
    hints = Hints("prog_1", "pass-through", 1.0, 50.0, 7)
    async with upstream() as server:
        engine = HttpEngine(server.url, dialect=dialect, has_priority=has_priority)
        await engine.start()
        work = Relay(PATH, '{"a":  1}', hints)
        await engine.relay(work, Meter(), Sink())
        await engine.close()
    (head,), (body,) = server.heads, server.bodies
    assert body == b'{"a":  1}'
    assert session is None or head[session] == "prog_1"
    for name, value in priority.items():
        assert head.get(name) == (value if has_priority else None)


async def test_session_of_the_client_wins():
    """A client that names its own session keeps it."""
    hints = Hints("prog_1", "pass-through", 1.0, 50.0, 7)
    async with upstream() as server:
        engine = HttpEngine(server.url, dialect="vllm")
        await engine.start()
        sink = Sink(headers={"x-session-id": "theirs", "traceparent": "t"})
        await engine.relay(Relay(PATH, "{}", hints), Meter(), sink)
        await engine.close()
    assert (server.heads[0]["x-session-id"], server.heads[0]["traceparent"]) == ("theirs", "t")


async def test_scripted_stream_breaks_off():
    """A scripted engine that drops its connection has handed on what it had said."""
    engine = ScriptedEngine(lambda work: "a b c d", faults={0: Drop(2)})
    await engine.start()
    sink, meter = Sink(), Meter()
    with pytest.raises(EngineUnreachable):
        await engine.relay(request(stream=True), meter, sink)
    assert b'" b"' in sink.body
    assert b"[DONE]" not in sink.body
    assert meter.completion_tokens == 2


async def test_rewards_kept_elsewhere():
    """An engine whose rewards are kept passes requests on as it would alone."""
    engine = RememberingEngine(ScriptedEngine(lambda work: "a b"), KeptRewards(1))
    await engine.start()
    assert (await relayed(engine, request()))[0].status == 200
