"""The application: its routes, its errors, its start and its end."""

from __future__ import annotations

import asyncio
import json

import pytest
from openai import NotFoundError
from toys.serving import Gated, events_of, serving, sums

from dynasor.config import Serving, Settings
from dynasor.core.errors import EngineUnreachable, UserError
from dynasor.engines.scripted import ScriptedEngine
from dynasor.gateway.app import make_app

ALGORITHM = {"algorithm": "self-consistency"}


async def test_models():
    """The models are those of the engines, one by one and in a list, to the official client."""
    async with serving() as served, served.client() as client:
        listed = [model async for model in client.models.list()]
        assert [model.id for model in listed] == ["scripted"]
        assert (await client.models.retrieve("scripted")).owned_by == "dynasor"
        with pytest.raises(NotFoundError, match="there is scripted"):
            await client.models.retrieve("org/other")


async def test_health_and_ready():
    """A server that can be asked is healthy and ready, and names its replicas."""
    async with serving() as served:
        assert (await served.get("/health")).json == {"status": "ok"}
        ready = await served.get("/ready")
        assert (ready.status, ready.json["replicas"]) == (200, {"0@scripted": True})


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "unknown_url"),
        ("POST", "/v1/embeddings", 404, "unknown_url"),
        ("GET", "/v1/models/", 404, "model_not_found"),
        ("GET", "/v1/chat/completions", 405, "method_not_supported"),
        ("DELETE", "/v1/models", 405, "method_not_supported"),
        ("PUT", "/v1/programs/x", 405, "method_not_supported"),
    ],
)
async def test_unknown_places(method, path, status, code):
    """Paths and methods that are not there are refused in OpenAI's shape."""
    async with serving() as served:
        answer = await served.ask(method, path)
        assert (answer.status, answer.error["code"]) == (status, code)
        assert answer.error["type"] == "invalid_request_error"
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{oops",
        b"[1]",
        b'"text"',
        b"null",
        b"\xff\xfe",
        b'{"messages": "\xff"}',
        b'{"messages": "\\ud800"}',
        b'{"a":' + b"[" * 100_000,
        b'{"dynasor": 1}',
        b'{"dynasor": []}',
        b'{"dynasor": {"deadline_seconds": "soon"}}',
        b'{"dynasor": {"nonsense": 1}}',
        b'{"dynasor": {"program_id": "a b"}}',
        b'{"dynasor": {"program_id": "ab\\n"}}',
    ],
)
async def test_bodies_that_are_none(path, body):
    """A body that is no JSON object, or whose `dynasor` is none, is a 400 and never a 500."""
    async with serving() as served:
        answer = await served.ask("POST", path, body)
        assert answer.status == 400
        assert set(answer.error) == {"message", "type", "param", "code"}
        if b"dynasor" in body:
            assert answer.error["param"].startswith("dynasor")


async def test_metrics():
    """A program that ran is counted; the series can be switched off."""
    async with serving() as served:
        await served.chat(dynasor=ALGORITHM)
        text = (await served.get("/metrics")).body.decode()
        assert 'dynasor_programs_total{algorithm="self-consistency",status="answered"} 1.0' in text
    async with serving(serve={"metrics": "none"}) as served:
        assert (await served.get("/metrics")).status == 404


async def test_keys(tmp_path):
    """With a keys file only its keys come in, and a key sees its own programs only."""
    from dynasor.gateway.keys import new_key

    path = tmp_path / "keys.jsonl"
    secrets = {name: new_key(path, name) for name in ("one", "two")}
    async with serving(serve={"keys": path}) as served:
        assert (await served.chat(dynasor=ALGORITHM)).status == 401
        body = {"messages": [{"role": "user", "content": "1+1?"}], "dynasor": ALGORITHM}
        heads = {name: f"Bearer {secret}" for name, secret in secrets.items()}
        answer = await served.ask("POST", "/v1/chat/completions", body, Authorization=heads["one"])
        program = answer.headers["x-dynasor-program"]
        for name, seen, status in (("one", 1, 200), ("two", 0, 404)):
            head = {"Authorization": heads[name]}
            listed = await served.ask("GET", "/v1/programs", **head)
            assert len(listed.json["data"]) == seen
            shown = await served.ask("GET", f"/v1/programs/{program}", **head)
            assert shown.status == status
        taken = await served.ask(
            "POST",
            "/v1/chat/completions",
            {**body, "dynasor": {**ALGORITHM, "program_id": program}},
            Authorization=heads["two"],
        )
        assert taken.error["param"] == "dynasor.program_id"
        account = served.service.gate._accounts["one"]
        assert account.spent == answer.json["usage"]["total_tokens"]


async def test_drain():
    """A server that stops takes nothing new, and answers what does not end in time."""
    engine = Gated(free=1)
    async with serving(engine) as served:
        waiting = asyncio.create_task(served.chat(dynasor=ALGORITHM))
        await engine.begun.wait()
        await served.service.drain(0.0)
        answer = await waiting
        story = answer.json["dynasor"]
        assert (story["status"], story["reason"], story["answer"]) == ("deadline", "hurried", "1")
        assert engine.running == 0
        refused = await served.chat(dynasor=ALGORITHM)
        assert (refused.status, refused.error["code"]) == (503, "Closing")
        assert refused.headers["retry-after"].isdecimal()
        assert (await served.get("/ready")).json["status"] == "draining"
        assert (await served.get("/health")).status == 200


async def test_shadow():
    """With a shadow policy every unit is run, and what it would have done is shown and counted."""
    async with serving(cap=9, serve={"shadow": "beta:confidence=0.9"}) as served:
        answer = await served.chat(dynasor={**ALGORITHM, "program_id": "mine"})
        assert (answer.json["dynasor"]["policy"][:6], answer.json["dynasor"]["knob"]) == (
            "shadow",
            9,
        )
        shadow = (await served.get("/v1/programs/mine")).json["shadow"]
        assert (shadow["is_same"], shadow["answer"]) == (True, "2")
        assert shadow["tokens_after"] == (9 - shadow["knob"]) * 5 > 0
        text = (await served.get("/metrics")).body.decode()
        assert f'dynasor_saved_tokens_total{{by="shadow"}} {shadow["tokens_after"]}.0' in text
        own = await served.chat(dynasor={**ALGORITHM, "policy": "even"})
        assert own.json["dynasor"]["policy"] == "even"


async def test_recording(tmp_path):
    """What is served is recorded as a trace."""
    async with serving(serve={"record": tmp_path / "traces"}) as served:
        await served.chat(dynasor=ALGORITHM)
    (path,) = (tmp_path / "traces").rglob("*.jsonl")
    assert len(path.read_text().splitlines()) == 2


async def test_drain_without_anything_to_wait_for():
    """Draining an idle server takes no time."""
    async with serving() as served:
        await served.chat(dynasor=ALGORITHM)
        await served.service.drain(100.0)
        assert not served.service.is_ready


async def test_a_fault_of_ours(monkeypatch):
    """A fault in an endpoint is a 500 in OpenAI's shape that does not tell its insides."""
    app = make_app(Settings(serve=Serving(log="none")), engine=sums())
    monkeypatch.setattr(type(app.state.service), "models", property(lambda _: 1 / 0))
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        raise AssertionError("nothing is read")

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/models",
        "headers": [],
        "query_string": b"",
    }
    with pytest.raises(ZeroDivisionError):
        await app(scope, receive, send)
    error = json.loads(sent[1]["body"])["error"]
    assert (sent[0]["status"], error["type"]) == (500, "server_error")
    assert "ZeroDivisionError" in error["message"]


def test_settings_that_cannot_be_used(tmp_path):
    """Settings are checked before anything starts."""
    for settings in (
        Settings(policy="betta"),
        Settings(engine=["nowhere"]),
        Settings(serve=Serving(keys=tmp_path / "none")),
        Settings(serve=Serving(shadow="betta")),
    ):
        with pytest.raises(UserError):
            make_app(settings)


async def test_an_engine_that_is_down():
    """An engine that cannot be reached ends the start with its own error."""

    class Down(ScriptedEngine):
        async def start(self):
            raise EngineUnreachable(self.name, "it is down")

    app = make_app(Settings(serve=Serving(log="none")), engine=Down())
    with pytest.raises(EngineUnreachable, match="it is down"):
        async with app.router.lifespan_context(app):
            pass


async def test_default_algorithm():
    """With an algorithm for all traffic, a request that names none is a program; others win."""
    engine = sums()
    async with serving(engine, serve={"algorithm": "self-consistency:top_p=0.5"}) as served:
        plain = await served.chat()
        assert plain.json["dynasor"]["algorithm"] == "self-consistency"
        assert engine.asked[0].sampling.top_p == 0.5
        named = await served.chat(dynasor={"algorithm": "best-of-n", "params": BEST})
        assert named.json["dynasor"]["algorithm"] == "best-of-n"


async def test_passing_through():
    """A request that names no algorithm passes through, streaming included, as a program."""
    async with serving() as served, served.client() as client:
        answer = await client.chat.completions.create(
            model="scripted",
            messages=[{"role": "user", "content": "1+1?"}],
            extra_body={"dynasor": {"program_id": "mine", "deadline_seconds": 30}},
        )
        assert answer.choices[0].message.content.endswith("{2}")
        shown = (await served.get("/v1/programs/mine")).json
        assert (shown["algorithm"], shown["calls"][0]["kind"]) == ("pass-through", "relay")
        streamed = await served.chat(stream=True)
        assert events_of(streamed.body)[-1] == "[DONE]"


BEST = {"rewards": "confidence"}
