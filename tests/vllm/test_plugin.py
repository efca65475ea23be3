"""The scheduler inside vLLM: as vLLM's own classes run it, and in a real server."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dynasor.core.types import Generate, Message, Prompt, Sampling
from dynasor.datasets import heldout
from dynasor.engines.http import HttpEngine
from dynasor.engines.protocol import Meter

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(360)]

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("planned.py")
SCHEDULER = "dynasor.plugins.vllm.ProgramScheduler"


@pytest.fixture(scope="module")
def planned(model, python) -> dict[str, Any]:
    """What vLLM's scheduler and ours make of the same requests, without a model."""
    quiet = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    ran = subprocess.run(
        [python, SCRIPT, model],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | quiet | {"PYTHONPATH": str(ROOT / "src")},
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def test_programs_in_order_of_remaining_work(planned):
    """Programs start by remaining work, where vLLM starts them as they came."""
    assert [one.split()[0] for one in planned["order"]["plain"]] == (
        ["early"] * 2 + ["large"] * 6 + ["small"] * 2 + ["medium"] * 4
    )
    assert [one.split()[0] for one in planned["order"]["ours"]] == (
        ["early"] * 2 + ["small"] * 2 + ["medium"] * 4 + ["large"] * 6
    )


def test_plain_requests_first_come(planned):
    """Requests without a program start in the order of vLLM's own scheduler."""
    assert planned["first_come"]["ours"] == planned["first_come"]["plain"]


def test_shared_prompt_is_computed_once(planned):
    """A prompt that takes one step or four is computed once for all siblings, beside others."""
    found = {name: computed for name, (computed, _) in planned["shared_prompt"].items()}
    assert found["ours 1"] == found["ours 4"] == found["plain 1"] < found["plain 4"]
    assert planned["shared_prompt"]["ours 4"][1] == 2  # the first sibling and the other program


def test_victims_are_the_worst_programs(planned):
    """Short of memory, it takes slots from the program with the most work left."""
    found = planned["victims"]
    assert {one.split()[0] for one in found["plain"]["preempted"]} == {"short"}
    assert {one.split()[0] for one in found["ours"]["preempted"]} == {"long"}
    assert found["ours"]["ends"]["short"] < found["plain"]["ends"]["short"]


def test_blocks_of_finished_programs_go_first(planned):
    """Short of memory, programs that go on find more in the cache; with enough, just as much."""
    assert planned["cache"]["ours 250"] < 0.95 * planned["cache"]["plain 250"]
    assert planned["cache"]["ours 4000"] == planned["cache"]["plain 4000"]


def test_aborted_requests_leave_nothing(planned):
    """Requests taken back while they run, wait or are held leave no block and no record."""
    found = planned["aborted"]
    assert found["waiting"] > 0
    assert found["ended"] == ["last"]
    assert found["left"] == [0, 0, 0, 0, 0]
    assert found["blocks"] == 0


def test_refusals(planned):
    """What cannot be used is refused at the start, in one line that says what to do."""
    found = planned["refused"]
    assert "leave that option out" in found["policy"]
    assert "did you mean 'sjf'" in found["ordering"]
    assert "unknown field `order`" in found["key"]
    assert "aging_factor" in found["range"]
    assert not any("\n" in message for message in found.values())


@pytest.fixture(scope="module")
def plugin(serving, python) -> Iterator[Any]:
    """A server of two slots with the scheduler inside."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "src"))
        with serving("--max-num-seqs", "2", "--scheduler-cls", SCHEDULER) as server:
            yield server


@pytest.fixture
async def client(plugin) -> AsyncIterator[aiohttp.ClientSession]:
    # A connection kept open may be closed by the server just when it is used again.
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(plugin.url, connector=connector) as client:
        yield client


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.05)


async def ask(
    client: aiohttp.ClientSession, tokens: int, session: str | None = None, **hints: float
) -> None:
    """Run one completion of so many tokens."""
    body = {
        "model": "tiny",
        "prompt": "<|solve|>",
        "max_tokens": tokens,
        "ignore_eos": True,
        "vllm_xargs": {f"dynasor_{key}": value for key, value in hints.items()},
    }
    headers = {} if session is None else {"X-Session-ID": session}
    async with client.post("/v1/completions", json=body, headers=headers) as response:
        assert response.status == 200, await response.text()
        done = await response.json()
    assert done["usage"]["completion_tokens"] == tokens


async def test_live_order(plugin, client):
    """In a running server programs end by remaining work, and plain requests as they came."""
    ended: list[str] = []

    async def run(name: str, tokens: int, session: str | None, **hints: float) -> None:
        await ask(client, tokens, session, **hints)
        ended.append(name)

    async with asyncio.TaskGroup() as group:
        for _ in range(2):  # they hold both slots until all others have come
            group.create_task(run("early", 700, None))
        await until(lambda: plugin.metric("vllm:num_requests_running") == 2)
        waiting = 0
        for name, calls, tokens in (("large", 4, 60), ("small", 2, 10), ("medium", 2, 60)):
            for _ in range(calls):
                hints = {"knob_left": calls, "tokens_per_knob": tokens}
                group.create_task(run(name, tokens, name, **hints))
            waiting += calls
            await until(lambda: plugin.metric("vllm:num_requests_waiting") == waiting)  # noqa: B023
        assert not ended
    assert ended == ["early"] * 2 + ["small"] * 2 + ["medium"] * 2 + ["large"] * 4

    ended.clear()
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(run("early", 700, None))
        await until(lambda: plugin.metric("vllm:num_requests_running") == 2)
        for number in range(4):
            group.create_task(run(f"{number // 2}", 20, None))
            await until(lambda: plugin.metric("vllm:num_requests_waiting") == number + 1)  # noqa: B023
        assert not ended
    assert ended == ["early"] * 2 + ["0"] * 2 + ["1"] * 2


async def test_live_aborts(plugin, client):
    """Clients that leave take their requests with them, whether they ran or waited."""
    asked = [asyncio.create_task(ask(client, 700, "left", knob_left=5)) for _ in range(5)]
    await until(lambda: plugin.metric("vllm:num_requests_waiting") == 3)
    for one in asked:
        one.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    await until(
        lambda: (
            not plugin.metric("vllm:num_requests_running")
            and not plugin.metric("vllm:num_requests_waiting")
        )
    )
    await ask(client, 5)
    assert plugin.metric("vllm:kv_cache_usage_perc") == 0


async def test_flawed_hints_do_not_stop_the_engine(plugin, client):
    """A request whose hints cannot be read runs without them, and the log says so."""
    await ask(client, 5, "flawed", knob_left=-1)
    await ask(client, 5)
    log = plugin.log.read_text()
    assert "Dynasor orders requests by program" in log
    assert "requests without their hints so far: 1" in log


async def test_live_texts(plugin, server):
    """Greedy texts are those of a plain server, letter by letter."""
    engines = [HttpEngine(one.url) for one in (server, plugin)]
    texts: list[list[str]] = []
    for engine in engines:
        await engine.start()
        texts.append([])
        for problem in heldout(4):
            prompt = Prompt((Message("system", "<|solve|>"), Message("user", problem.question)))
            done = await engine.generate(Generate(prompt, Sampling(100, temperature=0)), Meter())
            texts[-1].append(done.text)
        await engine.close()
    assert texts[0] == texts[1]
    assert len(set(texts[0])) == 4
