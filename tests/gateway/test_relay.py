"""Requests that name no algorithm: untouched both ways, and given up when their client leaves."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from openai import APIError, BadRequestError
from toys.serving import serving, sums
from toys.upstream import answer, chunked, upstream

from dynasor.core.events import Failed
from dynasor.engines.http import HttpEngine
from dynasor.engines.scripted import Fail, Hang, ScriptedEngine

pytestmark = pytest.mark.timeout(30)

PATH = "/v1/chat/completions"
# Written as no encoder would write it: it must come through to the byte.
BODY = b'{ "messages" :[{"role":"user", "content":"1+1\\u003f \xc3\xa9"} ],\n "x-own": 1.50 }'
WHOLE = b'{"choices": [{"message": {"content": "2"}}], "usage": {"prompt_tokens": 9, '
WHOLE += b'"completion_tokens": 4}}\n'
EVENTS = [b'data: {"choices": []}\n\n', b": still here\n\n", b"data: [DONE]\n\n"]
LAST_CHUNK = b"0\r\n\r\n"
CHAT = {"model": "scripted", "messages": [{"role": "user", "content": "1+1?"}]}


@asynccontextmanager
async def relaying(*replies, slots=None, **settings):
    """A gateway before an engine that gives these replies."""
    async with upstream(*replies) as engine:
        before = serving(HttpEngine(engine.url, slots=slots), **settings)
        async with before as served:
            yield engine, served


async def closed(served):
    """Wait until no program runs."""
    while served.service.dynasor._handles:
        await asyncio.sleep(0)


async def wait_for(reader, wanted):
    """Read until something has come."""
    seen = b""
    while wanted not in seen:
        data = await reader.read(1000)
        assert data, seen
        seen += data
    return seen


async def test_bytes_are_untouched():
    """The engine gets the client's bytes, the client the engine's, status and headers as well."""
    reply = answer(200, WHOLE, "content-type: application/json", "x-engine: yes", "Date: never")
    async with relaying([reply]) as (engine, served):
        got = await served.ask("POST", PATH, BODY, content_type="application/json")
        assert engine.bodies == [BODY]
        assert engine.paths == [PATH]
        assert (got.status, got.body) == (200, WHOLE)
        assert got.headers["content-type"] == "application/json"
        assert got.headers["x-engine"] == "yes"
        assert got.headers["content-length"] == str(len(WHOLE))
        assert got.headers["date"] != "never"
        assert got.headers["x-dynasor-program"].startswith("prog_")


async def test_stream_is_untouched():
    """A stream comes event by event, while the engine still writes."""
    pieces = chunked(*EVENTS)
    async with relaying([*pieces[:2], None, *pieces[2:], LAST_CHUNK]) as (engine, served):
        reader, writer = await served.connect("POST", PATH, BODY)
        first = await wait_for(reader, EVENTS[0])
        assert b"text/event-stream" in first
        assert EVENTS[1] not in first
        engine.go.set()
        rest = await reader.read()
        assert EVENTS[1] in rest
        assert rest.endswith(LAST_CHUNK)
        writer.close()


async def test_compressed_answer_is_untouched():
    """An answer that the engine compressed all the same is not unpacked on the way."""
    packed = b"\x1f\x8b not really gzip"
    async with relaying([answer(200, packed, "content-encoding: gzip")]) as (_, served):
        got = await served.ask("POST", PATH, BODY)
        assert (got.body, got.headers["content-encoding"]) == (packed, "gzip")


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_refusals_are_handed_on(status):
    """What the engine says of a request that it refuses is for the client, word for word."""
    said = b'{"detail": "no"}'
    async with relaying([answer(status, said)]) as (engine, served):
        got = await served.ask("POST", PATH, BODY)
        assert (got.status, got.body) == (status, said)
        assert len(engine.paths) == 1


async def test_a_model_that_the_engine_lacks():
    """An engine's 404 of a model that is not listed becomes one that says which there are."""
    said = b'{"error": {"message": "The model does not exist."}}'
    asked = {"model": "gpt-9", "messages": []}
    async with relaying([answer(404, said)]) as (engine, served):
        got = await served.ask("POST", PATH, json.dumps(asked).encode())
        (model,) = served.service.models
        assert (got.status, got.error["code"], got.error["param"]) == (
            404,
            "model_not_found",
            "model",
        )
        assert got.error["message"] == f"no engine here has the model 'gpt-9'; there is {model}"
        assert got.headers["x-dynasor-program"].startswith("prog_")
        assert len(engine.paths) == 1


async def test_a_model_that_is_not_listed():
    """An engine may have it all the same: it is asked, and its answer is the client's."""
    asked = {"model": "an adapter", "messages": []}
    async with relaying([answer(200, WHOLE)]) as (_, served):
        got = await served.ask("POST", PATH, json.dumps(asked).encode())
        assert (got.status, got.body) == (200, WHOLE)


async def test_other_things_that_are_not_found():
    """An engine's 404 of a model that it has is about something else, and the client's."""
    async with relaying([answer(404, b"no such adapter")]) as (_, served):
        (model,) = served.service.models
        got = await served.ask("POST", PATH, json.dumps({"model": model}).encode())
        assert (got.status, got.body) == (404, b"no such adapter")


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_failures_are_tried_again(status):
    """What another attempt may mend is tried again before the client has seen anything."""
    replies = [answer(status, b"{}")], [answer(200, WHOLE)]
    async with relaying(*replies) as (engine, served):
        got = await served.ask("POST", PATH, BODY)
        assert (got.status, got.body) == (200, WHOLE)
        assert len(engine.paths) == 2


async def test_connection_lost_before_the_first_byte():
    """An engine that breaks off after its headers has said nothing yet: another attempt is made."""
    replies = [*chunked(), "cut"], [answer(200, WHOLE)]
    async with relaying(*replies) as (engine, served):
        assert (await served.ask("POST", PATH, BODY)).body == WHOLE
        assert len(engine.paths) == 2


@pytest.mark.parametrize(
    ("reply", "status", "words"),
    [
        (
            answer(401, b'{"error": "who?"}'),
            502,
            "HTTP 401: it does not take the gateway's own key",
        ),
        (answer(501, b""), 400, "HTTP 501"),
        (answer(200, b"<html>", "content-type: text/html"), 502, "an HTML page"),
    ],
)
async def test_failures_that_stay(monkeypatch, reply, status, words):
    """What no attempt mends is an error in OpenAI's shape that names the engine."""
    async with relaying([reply]) as (engine, served):
        got = await served.ask("POST", PATH, BODY)
        assert got.status == status
        assert words in got.error["message"]
        assert engine.url in got.error["message"]
        assert got.headers["x-dynasor-program"].startswith("prog_")


async def test_stream_that_breaks():
    """A stream that the engine breaks off ends with an event that says so, and is not repeated."""
    async with relaying([*chunked(EVENTS[0]), "cut"]) as (engine, served):
        async with served.client() as client:
            stream = await client.chat.completions.create(**CHAT, stream=True)
            with pytest.raises(APIError, match="broke"):
                async for _ in stream:
                    pass
        assert len(engine.paths) == 1


async def test_whole_answer_that_breaks():
    """An answer that the engine breaks off is not passed for a whole one."""
    cut = answer(200, WHOLE)[:-20]
    async with relaying([cut, "cut"]) as (engine, served):
        reader, writer = await served.connect("POST", PATH, BODY)
        got = await reader.read()
        assert not got.endswith(WHOLE)
        assert len(engine.paths) == 1
        writer.close()


@pytest.mark.parametrize(
    "replies",
    [
        pytest.param([None], id="before the first byte"),
        pytest.param([*chunked(EVENTS[0]), None], id="within a stream"),
        pytest.param([answer(200, WHOLE)[:-20], None], id="within a whole answer"),
    ],
)
async def test_client_leaves(replies):
    """A client that leaves has its request's connection to the engine closed at once."""
    async with relaying(replies) as (engine, served):
        reader, writer = await served.connect("POST", PATH, BODY)
        await engine.asked.wait()
        if replies[0] is not None:
            await reader.read(10)
        writer.transport.abort()
        await engine.hung_up.wait()
        await closed(served)
        assert len(engine.paths) == 1


async def test_client_leaves_the_queue():
    """A client that leaves while it waits for a slot never reaches the engine."""
    async with relaying([None], slots=1) as (engine, served):
        first = [await served.connect("POST", PATH, BODY) for _ in range(2)]  # a slot, and slack
        while len(engine.paths) < 2:
            await asyncio.sleep(0)
        _, waiting = await served.connect("POST", PATH, BODY)
        while served.service.dynasor.machine.driver.scheduler.waiting < 1:
            await asyncio.sleep(0)
        waiting.transport.abort()
        while served.service.dynasor.machine.driver.scheduler.waiting:
            await asyncio.sleep(0)
        assert len(engine.paths) == 2
        for _, writer in first:
            writer.transport.abort()
        await closed(served)


async def test_slow_client_holds_the_engine_back():
    """An engine is read no faster than its client reads: nothing piles up between them."""
    size = 64 * 2**20
    part = b"x" * 2**20
    pieces = [answer(200, part * (size // len(part)))[:-size], *[part] * (size // len(part))]
    async with relaying(pieces) as (engine, served):
        reader, writer = await served.connect("POST", PATH, BODY)
        await reader.read(1)
        before = -1
        while engine.sent != before:  # until nothing moves any more
            before = engine.sent
            for _ in range(200):
                await asyncio.sleep(0)
        assert engine.sent < size // 2
        got = 1
        while data := await reader.read(2**20):
            got += len(data)
        assert got > size
        writer.close()


async def test_deadline():
    """A request that takes longer than it may is 504, and its engine hears of it."""
    async with relaying([None], serve={"request_seconds": 0.2}) as (engine, served):
        got = await served.ask("POST", PATH, BODY)
        assert got.status == 504
        assert "deadline" in got.error["message"]
        await engine.hung_up.wait()


async def test_own_deadline_and_name():
    """A request that passes through may bring its own deadline and id."""
    async with relaying([None]) as (_, served):
        asked = {**CHAT, "dynasor": {"deadline_seconds": 0.2, "program_id": "mine"}}
        got = await served.ask("POST", PATH, asked)
        assert (got.status, got.headers["x-dynasor-program"]) == (504, "mine")


@pytest.mark.parametrize("given", [None, {}])
async def test_our_empty_object_stays_here(given):
    """An object of ours that says nothing is taken out as well."""
    async with relaying() as (engine, served):
        await served.ask("POST", PATH, {**CHAT, "dynasor": given})
        assert json.loads(engine.bodies[0]) == CHAT


async def test_our_object_stays_here():
    """What is ours in a body does not reach the engine; the rest of it does, as it was."""
    async with relaying() as (engine, served):
        await served.ask("POST", PATH, {**CHAT, "dynasor": {"program_id": "mine"}, "top_k": 1.50})
        (sent,) = engine.bodies
        assert json.loads(sent) == {**CHAT, "top_k": 1.5}


async def test_cancelled_by_name():
    """A request that is deleted while it waits is 499, and its engine hears of it."""
    async with relaying([None]) as (engine, served):
        asked = asyncio.create_task(
            served.ask("POST", PATH, {**CHAT, "dynasor": {"program_id": "mine"}})
        )
        await engine.asked.wait()
        assert (await served.ask("DELETE", "/v1/programs/mine")).status == 200
        assert (await asked).status == 499
        await engine.hung_up.wait()


async def test_headers_that_engines_see():
    """An engine sees who traces and whose session it is; keys, ranks and the rest stay here."""
    theirs = {"traceparent": "00-a-b-01", "x_request_id": "r1", "x_session_id": "s1"}
    ours = {"authorization": "Bearer secret", "x_vllm_priority": "-9", "cookie": "a=b"}
    async with relaying() as (engine, served):
        await served.ask("POST", PATH, BODY, **theirs, **ours)
        (head,) = engine.heads
        assert (head["traceparent"], head["x-request-id"]) == ("00-a-b-01", "r1")
        assert head["x-session-id"] == "s1"
        assert head["content-type"] == "application/json"
        assert head["accept-encoding"] == "identity"
        assert not {"authorization", "x-vllm-priority", "cookie"} & head.keys()


async def test_session_stays_on_one_engine():
    """Requests of one session go to the engine that has their prompts."""
    async with upstream() as first, upstream() as second:
        engines = [HttpEngine(first.url), HttpEngine(second.url)]
        async with serving(engines) as served:
            for _ in range(6):
                await served.ask("POST", PATH, BODY, x_session_id="one")
            assert sorted([len(first.paths), len(second.paths)]) == [0, 6]


async def test_dead_engine_is_passed_over():
    """A request whose engine has died is answered by another one."""
    async with upstream() as alive, upstream(["cut"]) as dead:
        engines = [HttpEngine(dead.url), HttpEngine(alive.url)]
        async with serving(engines) as served:
            for _ in range(4):
                assert (await served.ask("POST", PATH, BODY)).status == 200
            assert dead.paths


@pytest.mark.parametrize("is_stream", [False, True])
async def test_tokens_are_counted(is_stream):
    """The engine's own count is billed, in whole answers and at the end of a stream."""
    counted = b'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}\n\n'
    streamed = [*chunked(EVENTS[0], counted, EVENTS[2]), LAST_CHUNK]
    async with relaying(streamed if is_stream else [answer(200, WHOLE)]) as (_, served):
        name = (await served.ask("POST", PATH, BODY)).headers["x-dynasor-program"]
        shown = (await served.get(f"/v1/programs/{name}")).json
        (attempt,) = shown["calls"][0]["attempts"]
        assert (attempt["prompt_tokens"], attempt["completion_tokens"]) == (9, 4)


async def test_official_client():
    """The official client streams, completes and is refused as by the engine itself."""
    async with serving(sums()) as served, served.client() as client:
        whole = await client.chat.completions.create(**CHAT)
        assert whole.choices[0].message.content.endswith("{2}")
        assert whole.usage.completion_tokens == 5
        options = {"include_usage": True}
        stream = await client.chat.completions.create(**CHAT, stream=True, stream_options=options)
        chunks = [chunk async for chunk in stream]
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert text == whole.choices[0].message.content
        assert chunks[-1].usage == whole.usage
        text = await client.completions.create(model="scripted", prompt="2+1?")
        assert text.choices[0].text.endswith("{3}")
        with pytest.raises(BadRequestError):
            await client.chat.completions.create(model="x", messages="no")


async def test_many_at_once():
    """A thousand requests side by side each get their own answer, and nothing is left behind."""
    async with serving(sums(slots=50)) as served:

        async def ask(n):
            got = await served.chat(f"{n}+1?")
            return got.json["choices"][0]["message"]["content"]

        for first in range(0, 1000, 200):
            got = await asyncio.gather(*(ask(n) for n in range(first, first + 200)))
            assert [text[-20:] for text in got] == [
                f"the answer is \\boxed{{{n + 1}}}"[-20:] for n in range(first, first + 200)
            ]
        driver = served.service.dynasor.machine.driver
        await closed(served)
        assert not driver._sinks
        assert not driver._watchers


async def test_scripted_faults():
    """A scripted engine's faults show as a server's would."""
    from dynasor.core.errors import EngineRefused

    engine = ScriptedEngine(lambda work: "a b", faults={0: Fail(EngineRefused("e", "never"))})
    async with serving(engine) as served:
        got = await served.ask("POST", PATH, CHAT)
        assert got.status == 400
        assert "never" in got.error["message"]


async def test_server_is_stopped():
    """A server that is being stopped sends its clients, those that still wait too, elsewhere."""
    engine = ScriptedEngine(lambda work: "a b", faults={0: Hang(0)})
    async with serving(engine) as served:
        asked = asyncio.create_task(served.ask("POST", PATH, CHAT))
        while not engine.running:
            await asyncio.sleep(0)
        await served.service.drain(0.0)
        for got in (await asked, await served.ask("POST", PATH, CHAT)):
            assert (got.status, got.headers["retry-after"]) == (503, "5")


async def test_not_a_text():
    """A body that is no UTF-8 is refused before anything is sent."""
    async with serving(sums()) as served:
        got = await served.ask("POST", PATH, b'{"messages": "\xff"}')
        assert got.status == 400
        assert json.loads(got.body)["error"]["type"] == "invalid_request_error"


async def test_failed_attempts_are_events():
    """Each attempt is an event of the scheduler's, with its error and whether to try again."""
    events = []

    class Listener:
        def record(self, now, event, commands):
            events.append(event)

    async with relaying([answer(500, b"{}")], [answer(200, WHOLE)]) as (_, served):
        served.service.dynasor.machine.driver.record_in(Listener())
        await served.ask("POST", PATH, BODY)
        (failed,) = [event for event in events if isinstance(event, Failed)]
        assert (failed.kind, failed.is_retryable) == ("EngineError", True)
