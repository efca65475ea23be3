"""The gate: keys, limits, budgets, bodies."""

from __future__ import annotations

import asyncio
import socket
from hashlib import sha256

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from toys.asgi import Echo, ask

from dynasor.config import Serving
from dynasor.gateway.gate import Gate
from dynasor.gateway.keys import Key, Keys
from dynasor.gateway.metrics import Metrics

BEARER = {"Authorization": "Bearer s3cret"}


def key(name="app", secret="s3cret", **limits):
    return Key(name, sha256(secret.encode()).hexdigest(), **limits)


def gate(app, *keys, wall=lambda: 0, **serving):
    """A gate before an application; without keys everybody comes in."""
    return Gate(app, Serving(**serving), Keys(keys) if keys else None, Metrics(), wall)


def refused(answer, status, code):
    """A refusal in OpenAI's shape."""
    assert (answer.status, answer.error["code"]) == (status, code)
    assert answer.error["param"] is None
    assert "\n" not in answer.error["message"]
    if status == 429:
        assert int(answer.headers["retry-after"]) >= 1


def counted(one, why):
    """How many requests were turned away for this."""
    return one._metrics.registry.get_sample_value("dynasor_http_refusals_total", {"why": why})


# Keys.


async def test_everybody_comes_in_without_keys():
    """Where no keys are configured nobody needs one, and requests belong to nobody."""
    answer = await ask(gate(Echo()), b"{}")
    assert (answer.status, answer.body, answer.state["tenant"]) == (200, b"{}", "")


async def test_a_key_names_its_owner():
    """A request with a key that is known belongs to it, however `Bearer` is written."""
    one = gate(Echo(), key("a", "x"), key("b"))
    for word in ("Bearer", "bearer", "BEARER"):
        answer = await ask(one, b"{}", headers={"Authorization": f"{word} s3cret"})
        assert (answer.status, answer.state["tenant"]) == (200, "b")


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "s3cret"}, {"Authorization": "Basic s3cret"}, {"Authorization": ""}]
    + [{"Authorization": f"Bearer {secret}"} for secret in ("", " ", "s3cre", "s3cret2", "\xe9")],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT"])
async def test_no_key(headers, method):
    """Without a key that is known nothing is served, whatever is asked."""
    app = Echo()
    answer = await ask(gate(app, key()), b"{}", method=method, headers=headers)
    refused(answer, 401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert not app.asked
    assert "s3cre" not in answer.body.decode()


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
async def test_open_paths(path):
    """What load balancers and Prometheus ask needs no key, and is answered when all else waits."""
    one = gate(Echo(), key(), queue=1)
    one._live = 1
    assert (await ask(one, b"", method="GET", path=path)).status == 200


@pytest.mark.parametrize("path", ["/metrics/", "/health/x", "//health", "/metrics?x"])
async def test_paths_beside_the_open_ones(path):
    """What is only like an open path needs a key."""
    assert (await ask(gate(Echo(), key()), b"", method="GET", path=path)).status == 401


async def test_metrics_for_keys_only():
    """The metrics need a key where the settings say so."""
    one = gate(Echo(), key(), metrics="key")
    assert (await ask(one, b"", method="GET", path="/metrics")).status == 401
    assert (await ask(one, b"", method="GET", path="/metrics", headers=BEARER)).status == 200


async def test_no_websockets():
    """A websocket is closed at once, before any application sees it."""
    sent = []

    async def send(message):
        sent.append(message["type"])

    app = Echo()
    await gate(app, key())({"type": "websocket"}, None, send)
    assert sent == ["websocket.close"]
    assert not app.asked


# How many at once.


async def crowd(one, app, count, **request):
    """Have so many requests wait in the application."""
    tasks = [asyncio.create_task(ask(one, b"{}", **request)) for _ in range(count)]
    for _ in range(count):
        await app.entered.acquire()
    return tasks


async def test_queue():
    """Beyond the requests that fit, the next is told to come again, until there is room."""
    app = Echo(is_held=True)
    one = gate(app, queue=3)
    waiting = await crowd(one, app, 3)
    refused(await ask(one, b"{}"), 429, "queue_full")
    assert counted(one, "queue") == 1
    app.release.set()
    assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}
    assert (await ask(one, b"{}")).status == 200
    assert one.live == 0


async def test_concurrency_of_a_key():
    """A key at its limit waits for its own requests, not for others', and others not for it."""
    app = Echo(is_held=True)
    one = gate(app, key("a", "x", concurrency=2), key())
    waiting = await crowd(one, app, 2, headers={"Authorization": "Bearer x"})
    refused(
        await ask(one, b"{}", headers={"Authorization": "Bearer x"}), 429, "rate_limit_exceeded"
    )
    waiting += await crowd(one, app, 3, headers=BEARER)
    app.release.set()
    assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}
    assert (await ask(one, b"{}", headers={"Authorization": "Bearer x"})).status == 200


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_looking_and_cancelling_need_no_room(method):
    """Who is at a limit may still look and cancel."""
    app = Echo(is_held=True)
    one = gate(app, key(concurrency=1, tokens=1), queue=1)
    waiting = await crowd(one, app, 1, headers=BEARER)
    one.spent("app", 5)
    app.release.set()
    assert (await ask(one, b"", method=method, headers=BEARER)).status == 200
    await asyncio.gather(*waiting)


async def test_a_request_that_fails_gives_its_place_back():
    """Whatever ends a request, its place is free."""

    async def broken(scope, receive, send):
        raise RuntimeError("broken")

    one = gate(broken, key(concurrency=1), queue=1, max_body_bytes=3)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await ask(one, b"{}", headers=BEARER)
        assert (await ask(one, b"long", headers=BEARER)).status == 413
    assert one.live == 0


async def test_a_request_that_is_cancelled_gives_its_place_back():
    """A request whose task is cancelled leaves nothing behind."""
    app = Echo(is_held=True)
    one = gate(app, queue=1)
    (waiting,) = await crowd(one, app, 1)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert one.live == 0


# Tokens.


async def test_budget():
    """A key that has spent its tokens waits for the next period, which begins by the clock."""
    now = [3_600 * 10 + 100]
    one = gate(Echo(), key(tokens=100, period="hour"), wall=lambda: now[0])
    assert (await ask(one, b"{}", headers=BEARER)).status == 200
    one.spent("app", 99)
    assert (await ask(one, b"{}", headers=BEARER)).status == 200
    one.spent("app", 1)
    answer = await ask(one, b"{}", headers=BEARER)
    refused(answer, 429, "insufficient_quota")
    assert answer.headers["retry-after"] == "3500"
    assert "'app' has spent 100 of its 100 tokens per hour" in answer.error["message"]
    now[0] += 3_499
    assert (await ask(one, b"{}", headers=BEARER)).headers["retry-after"] == "1"
    now[0] += 1
    assert (await ask(one, b"{}", headers=BEARER)).status == 200


async def test_tokens_belong_to_the_period_in_which_they_are_billed():
    """A program that outlives its period is charged to the one that it ends in."""
    now = [0]
    one = gate(Echo(), key(tokens=10, period="minute"), wall=lambda: now[0])
    await ask(one, b"{}", headers=BEARER)
    now[0] = 90
    one.spent("app", 10)
    assert (await ask(one, b"{}", headers=BEARER)).status == 429
    now[0] = 120
    assert (await ask(one, b"{}", headers=BEARER)).status == 200


async def test_budgets_are_apart():
    """What one key spends is no other's."""
    one = gate(Echo(), key("a", "x", tokens=10), key(tokens=10))
    one.spent("a", 10)
    assert (await ask(one, b"{}", headers={"Authorization": "Bearer x"})).status == 429
    assert (await ask(one, b"{}", headers=BEARER)).status == 200


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 50)), max_size=20))
def test_no_period_spends_more_than_one_request_beyond(steps):
    """Whenever requests come, one is let in exactly while its period has tokens left."""
    clock, spent, period = [0], 0, 0
    one = gate(Echo(), key(tokens=100, period="minute"), wall=lambda: clock[0])
    for wait, tokens in steps:
        clock[0] += wait
        if clock[0] // 60 != period:
            period, spent = clock[0] // 60, 0
        status = asyncio.run(ask(one, b"{}", headers=BEARER)).status
        assert status == (429 if spent >= 100 else 200)
        if status == 200:
            one.spent("app", tokens)
            spent += tokens


# Bodies.


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=6))
def test_the_body_arrives_as_it_was_sent(pieces):
    """However a body is cut into pieces, the application receives it whole."""
    whole = b"".join(pieces)
    answer = asyncio.run(ask(gate(Echo()), *pieces))
    assert (answer.status, answer.body, answer.state["body"]) == (200, whole, whole)


@pytest.mark.parametrize("pieces", [[b"x" * 11], [b"x" * 6, b"x" * 5], [b"x" * 11, None]])
@pytest.mark.parametrize("says", [None, "11", "3", "nonsense", "9" * 40])
async def test_long_body(pieces, says):
    """A body beyond the limit is refused before all of it is read, whatever its header says."""
    app = Echo()
    headers = {} if says is None else {"Content-Length": says}
    one = gate(app, max_body_bytes=10, body_seconds=0.001)
    answer = await ask(one, *pieces, headers=headers)
    refused(answer, 413, "body_too_large")
    assert answer.headers["connection"] == "close"
    assert not app.asked


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_a_client_hears_why_its_body_is_refused(http):
    """Over a real connection the refusal is read by a client that sends all of its body first."""
    limit, length = 1_000, 20_000_000
    config = uvicorn.Config(
        gate(Echo(), max_body_bytes=limit), http=http, lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        serving = asyncio.create_task(server.serve([sock]))
        try:
            reader, writer = await asyncio.open_connection(*sock.getsockname())
            writer.write(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
            writer.write(b"x" * length)
            await writer.drain()
            text = await reader.read()  # to the end: the connection is closed
            writer.close()
        finally:
            server.should_exit = True
            await serving
    assert text.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_large" in text


async def test_longest_body():
    """A body of exactly the limit is served."""
    answer = await ask(gate(Echo(), max_body_bytes=10), b"x" * 10, headers={"Content-Length": "10"})
    assert answer.status == 200


@pytest.mark.parametrize("pieces", [[None], [b"{", None]])
async def test_slow_body(pieces):
    """A body that is not there in time is refused."""
    app = Echo()
    answer = await ask(gate(app, body_seconds=0.001), *pieces)
    refused(answer, 408, "body_timeout")
    assert answer.headers["connection"] == "close"
    assert not app.asked


async def test_a_client_that_leaves():
    """A client that leaves before its body is whole is answered nothing."""
    app = Echo()
    one = gate(app)
    answer = await ask(one, b"{", stays=False)
    assert (answer.status, app.asked, one.live) == (0, [], 0)


async def test_a_disconnect_is_passed_on():
    """After the body the application hears what else the client does."""
    heard = []

    async def app(scope, receive, send):
        heard.extend([(await receive())["type"], (await receive())["type"]])

    left = [{"type": "http.request", "body": b"{}"}, {"type": "http.disconnect"}]

    async def receive():
        return left.pop(0)

    scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": []}
    await gate(app)(scope, receive, None)
    assert heard == ["http.request", "http.disconnect"]


async def test_a_client_that_does_not_read():
    """Who reads nothing for as long as a request may take is given up, and its place is free."""
    one, scope = gate(Echo(), request_seconds=0.01), {"type": "http", "method": "POST"}
    scope |= {"path": "/v1/chat/completions", "headers": []}

    async def receive():
        return {"type": "http.request", "body": b"{}"}

    async def send(message):
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    await one(scope, receive, send)
    assert one.live == 0
    assert counted(one, "slow reader") == 1
