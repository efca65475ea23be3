"""The published description, tried by schemathesis against a server that runs."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi import checks
from toys.serving import boxed, serving

from dynasor.engines.scripted import ScriptedEngine
from dynasor.gateway.app import make_app
from dynasor.gateway.openapi import document


def no_fault_of_ours(ctx, response, case):
    """A 5xx is only what was asked for: a deadline that nobody can meet."""
    if response.status_code >= 500:
        assert response.json()["error"]["code"] == "DeadlineExceeded", response.text


CHECKS = (
    no_fault_of_ours,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.unsupported_method,
    checks.missing_required_header,
)


@contextmanager
def in_a_thread(**options):
    """A server on an event loop of its own, for clients without one."""
    started, stop = threading.Event(), asyncio.Event()
    found = []

    async def run(loop):
        async with serving(ScriptedEngine(lambda work: boxed(1)), **options) as served:
            found.extend((served, loop))
            started.set()
            await stop.wait()

    def main():
        with asyncio.Runner() as runner:
            runner.run(run(runner.get_loop()))

    thread = threading.Thread(target=main)
    thread.start()
    assert started.wait(30)
    served, loop = found
    try:
        yield served
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


@pytest.fixture(scope="module")
def served():
    """A server whose every question is a program of two branches."""
    with in_a_thread(cap=2, serve={"algorithm": "self-consistency"}) as running:
        yield running


schema = schemathesis.openapi.from_dict(document())
# An engine that is taken out is sent nothing: every later request would wait (test_replicas.py).
tried = schema.exclude(operation_id="takeOut")


@tried.parametrize()
@settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_conformance(case, served):
    """Whatever is sent, the answer is one that the description allows, and no fault of ours."""
    case.call_and_validate(base_url=f"http://127.0.0.1:{served.port}", checks=CHECKS)


def test_every_route_is_described():
    """Each route stands in the description, with its methods, and nothing else does."""
    from dynasor.config import Serving, Settings

    app = make_app(Settings(serve=Serving(log="none")), engine=ScriptedEngine({}))
    served = {
        (route.path.replace(":path", ""), method.lower())
        for route in app.routes
        for method in route.methods - {"HEAD"}
    }
    described = {(path, method) for path, item in document()["paths"].items() for method in item}
    assert served - {("/openapi.json", "get")} == described


async def test_published():
    """What is published is that description."""
    async with serving() as served:
        published = (await served.get("/openapi.json")).json
        assert published == msgspec.to_builtins(document())


def test_references():
    """Every reference of the description leads somewhere, and it is plain JSON."""
    text = msgspec.json.encode(document()).decode()
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(document()["components"]["schemas"])
