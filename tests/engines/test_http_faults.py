"""A server that misbehaves: each way is one class of error that names the engine, never a hang."""

import asyncio
import json
import math
import socket

import pytest
from aiohttp import web

from dynasor.core.errors import (
    ConfigError,
    EngineBusy,
    EngineDenied,
    EngineError,
    EngineGarbage,
    EngineRefused,
    EngineTimeout,
    EngineUnreachable,
)
from dynasor.core.types import Embed, Prompt, Score
from dynasor.engines.http import HttpEngine
from dynasor.engines.link import Link
from dynasor.engines.protocol import Meter

pytestmark = pytest.mark.timeout(20)

DONE = b"data: [DONE]\n\n"
HTML = "<!doctype html><html><body>It works!</body></html>"


def chunk(**fields):
    return {"choices": [{"index": 0, **fields}]}


def say(text, **fields):
    return chunk(delta={"content": text}, **fields)


def streaming(*parts):
    """A chat handler that streams parts (dicts are events) and then ends the answer."""

    async def chat(request, body):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in parts:
            data = part if isinstance(part, bytes) else f"data: {json.dumps(part)}\n\n".encode()
            await response.write(data)
        return response

    return chat


def answering(status, body, content_type="application/json", **headers):
    """A chat handler that answers at once."""

    async def chat(request, _):
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, content_type=content_type, headers=headers)

    return chat


async def silent(request, body):
    """A chat handler that streams one token and then nothing."""
    response = await streaming(say("a"))(request, body)
    await asyncio.sleep(30.0)
    return response


async def mute(request, body):
    """A chat handler that never answers at all."""
    await asyncio.sleep(30.0)
    return web.Response()


async def cutting(request, body):
    """A chat handler that breaks the connection after two tokens."""
    response = await streaming(say("a"), say("b"))(request, body)
    request.transport.abort()
    return response


async def failure(toy, ask, kind):
    """Return the one error of a call, checked for what every error must say."""
    meter = Meter()
    with pytest.raises(EngineError) as caught:
        await toy.generate(ask(), meter)
    assert type(caught.value) is kind
    assert caught.value.address == toy.address
    assert str(caught.value).count(toy.address) == 1
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    return caught.value, meter


STATUSES = [
    (400, EngineRefused),
    (401, EngineDenied),
    (404, EngineDenied),
    (408, EngineTimeout),
    (413, EngineRefused),
    (422, EngineRefused),
    (429, EngineBusy),
    (500, EngineError),
    (501, EngineRefused),
    (502, EngineError),
    (503, EngineBusy),
    (504, EngineTimeout),
]


@pytest.mark.parametrize(("status", "kind"), STATUSES)
async def test_status(server, toy, ask, status, kind):
    """Each HTTP status becomes one class, with the server's own words."""
    server.chat = answering(status, {"error": {"message": "too many\napples", "code": status}})
    error, _ = await failure(toy, ask, kind)
    assert f"HTTP {status}: too many apples" in str(error)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"detail": "no such model"}, "no such model"),
        ({"detail": [{"msg": "field required", "loc": ["body"]}]}, "field required"),
        ({"message": "flat"}, "flat"),
        ("plain text", "plain text"),
        ("", "(no message)"),
        ("[" * 100_000, "["),
        ({"error": {"message": "x" * 5000}}, "x" * 200 + "..."),
        (HTML, "an HTML page"),
    ],
)
async def test_refusal_shapes(server, toy, ask, body, words):
    """A refusal's message is found in every shape that servers give it, and cut short."""
    server.chat = answering(400, body)
    error, _ = await failure(toy, ask, EngineRefused)
    assert words in str(error)


async def test_refusals_are_final(server, toy, ask):
    """A refused call is not worth another attempt; a busy engine is."""
    server.chat = answering(400, {})
    assert not (await failure(toy, ask, EngineRefused))[0].is_retryable
    server.chat = answering(429, {})
    assert (await failure(toy, ask, EngineBusy))[0].is_retryable


async def test_redirect(server, toy, ask):
    """A redirect is not followed: it would turn a POST into a GET."""
    server.chat = answering(307, "", Location="http://elsewhere/v1")
    error, _ = await failure(toy, ask, EngineGarbage)
    assert "http://elsewhere/v1" in str(error)


async def test_nothing_listens(ask):
    """A refused connection is EngineUnreachable at the start."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        engine = HttpEngine(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(EngineUnreachable, match="is it running") as caught:
            await engine.start()
    assert caught.value.__cause__ is not None
    await engine.close()


async def test_unknown_host():
    """A host name that does not resolve is EngineUnreachable, and named."""
    engine = HttpEngine("http://no-such-host.invalid:8000")
    with pytest.raises(EngineUnreachable, match=r"no-such-host\.invalid"):
        await engine.start()


async def test_not_http():
    """A server that does not speak HTTP is EngineGarbage."""

    async def greet(reader, writer):
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    with pytest.raises(EngineGarbage, match="not HTTP"):
        await HttpEngine(f"http://127.0.0.1:{port}", seconds_limit=5.0).start()
    listener.close()
    await listener.wait_closed()


async def test_hangs_up():
    """A server that closes without a word is EngineUnreachable."""

    async def hang_up(reader, writer):
        await reader.read(10)
        writer.close()

    listener = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    with pytest.raises(EngineUnreachable):
        await HttpEngine(f"http://127.0.0.1:{port}", seconds_limit=5.0).start()
    listener.close()
    await listener.wait_closed()


async def test_chunk_that_cannot_be_read():
    """An answer whose chunks are broken in its middle is waited for no longer than silence is."""

    async def stutter(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\ndata: {}\n\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.write(b"zz\r\n")
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(stutter, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    link = Link(url, f"{url}/v1", 0.4, 1.0)
    await link.open()
    events = link.events("/any", {})
    assert await anext(events) == b"{}"
    with pytest.raises((EngineTimeout, EngineGarbage)):
        await anext(events)
    await link.close()
    listener.close()


async def test_broken_mid_stream(server, toy, ask):
    """A connection that breaks is EngineUnreachable, and the tokens until then are known."""
    server.chat = cutting
    _, meter = await failure(toy, ask, EngineUnreachable)
    assert meter.completion_tokens == 2
    assert not meter.is_counted


async def test_stream_that_just_ends(server, toy, ask):
    """A stream that ends without a finish reason and without [DONE] is broken."""
    server.chat = streaming(say("a"), say("b"))
    error, _ = await failure(toy, ask, EngineUnreachable)
    assert "after 2 tokens" in str(error)


async def test_finish_reason_without_done(server, toy, ask):
    """A finish reason alone makes a completion whole."""
    server.chat = streaming(say("a"), say("b", finish_reason="stop"))
    assert (await toy.generate(ask(), Meter())).text == "ab"


async def test_done_without_finish_reason(server, toy, ask):
    """[DONE] after some text makes a completion whole."""
    server.chat = streaming(say("a"), say("b"), DONE)
    assert (await toy.generate(ask(), Meter())).text == "ab"


async def test_done_without_anything(server, toy, ask):
    """[DONE] and nothing else is not a completion."""
    server.chat = streaming(DONE)
    await failure(toy, ask, EngineGarbage)


@pytest.mark.parametrize("handler", [silent, mute])
async def test_silence(server, toy, ask, handler):
    """Silence, before the answer or within it, is EngineTimeout."""
    server.chat = handler
    error, _ = await failure(toy, ask, EngineTimeout)
    assert "1 s" in str(error)


async def test_done_but_open(server, toy, ask):
    """A server that keeps the connection open after [DONE] delays nobody for long."""

    async def lingering(request, body):
        response = await streaming(say("a", finish_reason="stop"), DONE)(request, body)
        await asyncio.sleep(30.0)
        return response

    server.chat = lingering
    assert (await toy.generate(ask(), Meter())).text == "a"


@pytest.mark.parametrize(
    "parts",
    [
        [b"data: {nonsense\n\n"],
        [b"data: 42\n\n"],
        [b'data: {"choices": 7}\n\n'],
        [b'data: {"choices": [{"delta": {"content": 3}}]}\n\n'],
        [b"data: \xff\xfe\n\n"],
        [b"data: " + b"[" * 100_000 + b"\n\n"],
        [b"Hello, this is dog.\n"],
        [b"data: " + b"x" * 3_000_000],
    ],
)
async def test_not_the_protocol(server, toy, ask, parts):
    """What is not the protocol is EngineGarbage."""
    server.chat = streaming(*parts)
    await failure(toy, ask, EngineGarbage)


async def test_html_page(server, toy, ask):
    """A web page with status 200 is EngineGarbage that says so."""
    server.chat = answering(200, HTML, "text/html")
    error, _ = await failure(toy, ask, EngineGarbage)
    assert "HTML" in str(error)


async def test_runaway(server, toy, ask):
    """A stream that does not stop is stopped."""
    server.chat = streaming(*[say("a") for _ in range(2000)])
    await failure(toy, ask, EngineGarbage)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "out of memory", "code": 500}, EngineError),
        ({"message": "too long", "code": 400}, EngineRefused),
        ({"message": "later", "code": 503}, EngineBusy),
        ("just a string", EngineError),
    ],
)
async def test_error_in_stream(server, toy, ask, error, kind):
    """An error within a stream is an error, of the class that its code names."""
    server.chat = streaming(say("a"), {"error": error})
    await failure(toy, ask, kind)


@pytest.mark.parametrize("reason", ["abort", "error"])
async def test_server_gives_up(server, toy, ask, reason):
    """A completion that the server itself broke off is an error, not an answer."""
    server.chat = streaming(say("a", finish_reason=reason), DONE)
    await failure(toy, ask, EngineError)


LIES = [
    None,
    {},
    [],
    "many",
    {"prompt_tokens": -1, "completion_tokens": 3},
    {"prompt_tokens": 5, "completion_tokens": -3},
    {"prompt_tokens": 5, "completion_tokens": "3"},
    {"prompt_tokens": 5, "completion_tokens": 3.5},
    {"prompt_tokens": True, "completion_tokens": True},
    {"prompt_tokens": 5, "completion_tokens": 10**12},
    {"prompt_tokens": 5, "completion_tokens": 0},
    {"prompt_tokens": None, "completion_tokens": None},
]


@pytest.mark.parametrize("usage", LIES, ids=str)
async def test_usage_that_lies(server, toy, ask, usage):
    """Usage that is missing or cannot be true gives way to the count of what was streamed."""
    parts = [say(f"{n} ") for n in range(6)]
    server.chat = streaming(
        *parts, chunk(delta={}, finish_reason="stop"), {"choices": [], "usage": usage}, DONE
    )
    generated = await toy.generate(ask(), Meter())
    assert generated.usage.completion_tokens == 6
    assert not generated.usage.is_counted


async def test_usage_of_the_past(server, toy, ask):
    """Usage of an early chunk does not stand for the tokens after it."""
    first = {**say("a"), "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    server.chat = streaming(first, *[say("b") for _ in range(9)], DONE)
    generated = await toy.generate(ask(), Meter())
    assert generated.usage.completion_tokens == 10
    assert not generated.usage.is_counted


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "null"])
async def test_strange_logprobs(server, toy, ask, number):
    """Log-probabilities that are no numbers are left out of the mean."""
    listed = f'[{{"token": "a", "logprob": {number}}}]'
    delta = f'"delta": {{"content": "a"}}, "logprobs": {{"content": {listed}}}'
    server.chat = streaming(
        f'data: {{"choices": [{{{delta}}}]}}\n\n'.encode(),
        say("b", logprobs={"content": [{"token": "b", "logprob": -1.0}]}),
        DONE,
    )
    generated = await toy.generate(ask(has_logprobs=True), Meter())
    assert generated.text == "ab"
    assert generated.mean_logprob is not None
    assert math.isfinite(generated.mean_logprob)


async def test_only_nan(server, toy, ask):
    """A mean of no finite number is none."""
    listed = {"content": [{"token": "a", "logprob": math.nan}]}
    server.chat = streaming(say("a", logprobs=listed), DONE)
    assert (await toy.generate(ask(has_logprobs=True), Meter())).mean_logprob is None


async def test_abort_reaches_the_server(server, toy, ask):
    """Cancelling a call closes its connection; the meter keeps the tokens that had come."""
    seen = asyncio.Event()
    gone = asyncio.Event()

    async def endless(request, body):
        response = await streaming(say("a"), say("b"), say("c"))(request, body)
        seen.set()
        try:
            while True:
                await asyncio.sleep(0.005)
                await response.write(b": ping\n\n")
        except (ConnectionError, asyncio.CancelledError):
            gone.set()
            raise

    server.chat = endless
    meter = Meter()
    task = asyncio.create_task(toy.generate(ask(), meter))
    await seen.wait()
    while meter.completion_tokens < 3:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone.wait()
    assert meter.completion_tokens == 3


async def test_close_ends_what_runs(server, ask):
    """Closing the engine fails the calls that are under way at once."""
    server.chat = mute
    engine = HttpEngine(server.url)
    await engine.start()
    task = asyncio.create_task(engine.generate(ask(), Meter()))
    while not server.open_chats:
        await asyncio.sleep(0.001)
    await engine.close()
    await engine.close()
    with pytest.raises(EngineUnreachable, match="closed"):
        await task


async def test_nothing_is_retried(server, toy, ask):
    """A call that fails was sent once."""
    server.chat = answering(500, {})
    await failure(toy, ask, EngineError)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ftp://host",
        "http://",
        "http://host:port",
        "http://host:99999",
        "http://ho st",
        "http://host?x=1",
        "http://[::1",
    ],
)
def test_bad_url(url):
    """What is no URL of an engine is refused before anything is sent, with an example."""
    with pytest.raises(ConfigError, match="http://localhost:8000/v1"):
        HttpEngine(url)


@pytest.mark.parametrize(
    "options",
    [{"slots": 0}, {"seconds_limit": -1.0}, {"connect_seconds": math.nan}, {"dialect": "vlm"}],
)
def test_bad_option(options):
    """An option out of range is refused by name."""
    with pytest.raises(Exception, match=next(iter(options))):
        HttpEngine("http://localhost:1", **options)


@pytest.mark.parametrize(
    "body", [{"data": []}, {"data": [{"id": 3}]}, {"models": []}, [1, 2], "models"], ids=str
)
async def test_odd_model_lists(server, body):
    """A model list of another shape, or without a model, is EngineGarbage."""
    server.model_list = body
    with pytest.raises(EngineGarbage):
        await HttpEngine(server.url).start()


async def test_several_models(server):
    """A stranger that serves several models is not guessed at."""
    server.models = [{"id": "a", "owned_by": "x"}, {"id": "b", "owned_by": "x"}]
    with pytest.raises(ConfigError, match="a, b"):
        await HttpEngine(server.url).start()


async def test_no_model_list(server):
    """Without a model list the user's own word for the model is enough."""
    server.models = 404
    with pytest.raises(EngineRefused, match="name the model"):
        await HttpEngine(server.url).start()
    engine = HttpEngine(server.url, model="mine")
    assert (await engine.start()).model == "mine"
    await engine.close()


async def test_too_few_vectors(server, toy):
    """An embedding answer that lacks a vector is EngineGarbage."""
    server.vectors = 1
    with pytest.raises(EngineGarbage, match="1 vectors for 2 texts"):
        await toy.embed(Embed(("a", "b")), Meter())


async def test_wrong_key_at_the_start(server):
    """A model list that is refused fails the start, whether or not a model is named."""
    server.models = 401
    with pytest.raises(EngineRefused, match="API key"):
        await HttpEngine(server.url, model="mine").start()


async def test_vectors_that_are_none(server, toy):
    """An embedding answer of another shape is EngineGarbage."""
    server.vectors = "none"
    with pytest.raises(EngineGarbage, match="protocol"):
        await toy.embed(Embed(("a",)), Meter())


async def test_started_twice(server, ask):
    """A second start begins anew and leaves nothing open behind it."""
    engine = HttpEngine(server.url)
    await engine.start()
    await engine.start()
    assert (await engine.generate(ask(), Meter())).text
    await engine.close()


async def test_judge_fails(server, toy):
    """One judgement that fails fails the score, once, and stops the others."""
    server.chat = answering(500, {})
    with pytest.raises(EngineError):
        await toy.score(Score((Prompt((), "x"),) * 40), Meter())
    assert len(server.asked) < 40
