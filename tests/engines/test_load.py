"""How an engine is: what its metrics say, and whether it would serve a request."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from dynasor.engines.dialects import dialect_named
from dynasor.engines.http import HttpEngine
from dynasor.engines.llamacpp import LlamaCppEngine
from dynasor.engines.load import load_of
from dynasor.engines.protocol import Load, Watched
from dynasor.engines.remembering import KeptRewards, RememberingEngine
from dynasor.engines.scripted import ScriptedEngine

pytestmark = pytest.mark.timeout(60)

VLLM = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="toy"} 3.0
vllm:num_requests_running{engine="1",model_name="toy"} 4.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="toy"} 0.0
vllm:num_requests_waiting{engine="1",model_name="toy"} 5.0
vllm:num_requests_waiting_by_reason{engine="1",reason="capacity"} 99.0
vllm:generation_tokens_total{engine="0"} 1e+06
"""
SERIES = dialect_named("vllm").load


def test_sum_over_engines():
    """The requests of all engines of a server are counted, those of other series are not."""
    assert load_of(VLLM.encode(), SERIES) == Load(7, 5)


@pytest.mark.parametrize(
    ("page", "name", "load"),
    [
        ('sglang:num_running_reqs{tp="0"} 2.0\nsglang:num_queue_reqs{tp="0"} 1', "sglang", (2, 1)),
        ("llamacpp:requests_processing 2\nllamacpp:requests_deferred 0\n", "llama.cpp", (2, 0)),
    ],
)
def test_dialects(page, name, load):
    """Each dialect has its own two series."""
    assert load_of(page.encode(), dialect_named(name).load) == Load(*load)


@pytest.mark.parametrize(
    "page",
    [
        "",
        "vllm:num_requests_running 3",
        "vllm:num_requests_running x\nvllm:num_requests_waiting 1",
        "vllm:num_requests_running NaN\nvllm:num_requests_waiting 1",
        "vllm:num_requests_running -1\nvllm:num_requests_waiting 1",
        'vllm:num_requests_running{engine="0\nvllm:num_requests_waiting 1',
    ],
)
def test_no_load(page):
    """What is no count of both is none."""
    assert load_of(page.encode(), SERIES) is None


@given(st.binary(max_size=60))
def test_any_page(noise):
    """Whatever stands on a page, reading it raises nothing."""
    load_of(noise, SERIES)
    load_of(b"vllm:num_requests_running" + noise + b"\nvllm:num_requests_waiting 1", SERIES)


@asynccontextmanager
async def beside(pages):
    """Serve a model list, and pages by path: a status and a text each."""
    app = web.Application()
    models = {"data": [{"id": "toy", "owned_by": "somebody"}]}

    async def show(request):
        if request.path == "/v1/models":
            return web.json_response(models)
        status, text = pages.get(request.path, (404, ""))
        return web.Response(status=status, text=text)

    app.router.add_get("/{path:.*}", show)
    runner = web.AppRunner(app, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "is_well"), [(200, True), (404, True), (401, True), (503, False), (500, False)]
)
async def test_health(status, is_well):
    """A server is well when it says so, or has no such page; one that is loading is not."""
    async with beside({"/health": (status, "")}) as url:
        engine = HttpEngine(url)
        await engine.start()
        assert await engine.healthy() is is_well
        await engine.close()
        assert not await engine.healthy()


async def test_metrics():
    """A server's load is read from its metrics; without them, or for a stranger, it is unknown."""
    async with beside({"/metrics": (200, VLLM)}) as url:
        for dialect, load in (("vllm", Load(7, 5)), ("sglang", None), ("openai", None)):
            engine = HttpEngine(url, dialect=dialect)
            await engine.start()
            assert await engine.observe() == load
            await engine.close()
            assert await engine.observe() is None
    for pages in ({}, {"/metrics": (501, "")}):
        async with beside(pages) as url:
            engine = HttpEngine(url, dialect="vllm")
            await engine.start()
            assert await engine.observe() is None
            await engine.close()


async def test_engines_that_cannot_be_asked():
    """An engine that nobody can ask is well, and does not say how busy it is."""
    engine = RememberingEngine(ScriptedEngine(), KeptRewards(1))
    assert isinstance(engine, Watched)
    assert await engine.healthy()
    assert await engine.observe() is None
    assert not engine.holds("p")
    await engine.release("p")


@pytest.mark.engine
async def test_embedded_engine():
    """The embedded engine says how busy it is, from its start to its end."""
    engine = LlamaCppEngine(slots=2, threads=1)
    assert not await engine.healthy()
    assert await engine.observe() is None
    await engine.start()
    assert await engine.healthy()
    assert await engine.observe() == Load(0, 0)
    await engine.close()
    assert not await engine.healthy()
