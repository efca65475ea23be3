"""`dynasor serve` before a real vLLM, asked by the official client."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from fractions import Fraction
from itertools import count
from typing import Any

import pytest
from openai import AsyncOpenAI
from toys.serving import Served, serving

from dynasor.config import Settings
from dynasor.datasets import Problem, heldout
from dynasor.engines.llamacpp import SHIPPED_JUDGE
from dynasor.wiring import make_engines

# The first test waits for the server, up to 300 s.
pytestmark = [pytest.mark.vllm, pytest.mark.timeout(360)]

QUESTION = "Tom has 12 apples. Tom buys 7 more apples. How many apples does Tom have now?"
ASKED: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": QUESTION}]}
# In one step vLLM reads 2048 tokens of prompts. It cannot draw from a seed on a CPU where it has
# read a prompt in part (docs/model.md), so no more prompts than that come at once.
SLOTS = 16
# vLLM refuses a call that may be longer, with its prompt, than the 768 that the model reads.
LONGEST = 400
LEFT_SECONDS = 2.0
ENDLESS: dict[str, Any] = {"max_tokens": 600, "extra_body": {"ignore_eos": True}}

VOTE = {"algorithm": "self-consistency", "cap": 4}
LONG = heldout(8)[7].question

Start = Callable[[AsyncOpenAI], Awaitable[Any]]


def chain_of_thought(share: float) -> dict[str, Any]:
    """Think; ask for the answer meanwhile, for that share of the thoughts' tokens."""
    params = {"mode": "<|think|>", "every": 8, "share": share}
    return {"algorithm": "chain-of-thought", "cap": 200, "params": params}


def program(extras: dict[str, Any], **options: Any) -> Start:
    """Ask what the model thinks about for hundreds of tokens, in every branch.

    It hardly ever comes to an end at this temperature.
    """
    thinking = [{"role": "system", "content": "<|think|>"}, {"role": "user", "content": LONG}]
    return lambda client: client.chat.completions.create(
        model="tiny",
        messages=thinking,
        temperature=2.0,
        **options,
        extra_body={"dynasor": extras},
    )


def passing(**options: Any) -> Start:
    """Ask for what goes on and on, without an algorithm."""
    return lambda client: client.chat.completions.create(**ASKED, **ENDLESS, **options)


def gateway(engine: str = "embedded") -> AbstractAsyncContextManager[Served]:
    """Serve one engine as `dynasor serve` does; all that is granted is run."""
    judge = {"judge_instruction": SHIPPED_JUDGE.instruction, "judge_mark": SHIPPED_JUDGE.mark}
    engines = make_engines(Settings(engine=[engine], slots=SLOTS, threads=1, **judge))
    return serving(engines, policy="even", cap=8, max_tokens=LONGEST)


@pytest.fixture
async def client(server) -> AsyncIterator[AsyncOpenAI]:
    await quiet(server)  # what a test before has broken off
    async with gateway(server.url) as served, served.client() as client:
        yield client


async def metric(server, name: str) -> float:
    """Ask vLLM for a metric; meanwhile the gateway and the client, on the same loop, go on."""
    return await asyncio.to_thread(server.metric, name)


@asynccontextmanager
async def counted(server) -> AsyncIterator[dict[str, int]]:
    """Count the tokens that vLLM reads and writes, by its own metrics."""
    names = {"prompt": "vllm:prompt_tokens_total", "completion": "vllm:generation_tokens_total"}
    before = {kind: await metric(server, name) for kind, name in names.items()}
    found: dict[str, int] = {}
    yield found
    found |= {kind: int(await metric(server, name) - before[kind]) for kind, name in names.items()}


@pytest.mark.parametrize(("algorithm", "kinds"), [("self-consistency", 1), ("rebase", 2)])
async def test_programs(server, client, algorithm, kinds):
    """A vote, and a search with the judge: the answer, and every token that vLLM counts."""
    async with counted(server) as tokens:
        extra = {"dynasor": {"algorithm": algorithm, "cap": 6}}
        completion = await client.chat.completions.create(**ASKED, seed=1, extra_body=extra)
    story = completion.model_extra["dynasor"]
    assert (story["status"], story["answer"], story["knob"]) == ("answered", "19", 6)
    assert "19" in completion.choices[0].message.content
    usage = completion.usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (
        tokens["prompt"],
        tokens["completion"],
    )
    shown = await client.get(f"/programs/{story['program_id']}", cast_to=dict)
    assert len({call["kind"] for call in shown["calls"]}) == kinds
    if shown["tree"] is not None:
        rewards = [node["reward"] for node in shown["tree"] if node["reward"] is not None]
        assert rewards
        assert all(0 < reward < 1 for reward in rewards)


async def test_streaming_chain_of_thought(server, client):
    """Thoughts come while they are thought, probes run beside them, and the bill has both."""
    async with counted(server) as tokens:
        stream = await client.chat.completions.create(
            **ASKED,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"dynasor": {**chain_of_thought(1.0), "policy": "stepwise:every=1,at=1.0"}},
        )
        chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    thoughts = [text for one in deltas if (text := getattr(one, "reasoning", None))]
    assert len(thoughts) > 1
    assert "19" in "".join(one.content or "" for one in deltas)
    (story,) = [chunk.model_extra["dynasor"] for chunk in chunks if "dynasor" in chunk.model_extra]
    assert (story["status"], story["answer"]) == ("answered", "19")
    assert story["calls"] > 1  # probes
    usage = chunks[-1].usage
    assert 0 < usage.completion_tokens <= tokens["completion"]


async def test_pass_through(server, client):
    """What names no algorithm is answered as by vLLM itself, streamed or not."""
    asked = {**ASKED, "max_tokens": 100, "temperature": 0.0}
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as direct:
        wanted = await direct.chat.completions.create(**asked)
    async with counted(server) as tokens:
        plain = await client.chat.completions.create(**asked)
        stream = await client.chat.completions.create(**asked, stream=True)
        streamed = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert plain.choices[0].message.content == streamed == wanted.choices[0].message.content
    assert plain.usage == wanted.usage
    assert tokens["completion"] == 2 * plain.usage.completion_tokens


async def votes(engine: str, problems: list[Problem]) -> list[tuple[Fraction, Fraction]]:
    """Return each problem's share of right votes, and its tokens a branch."""
    async with gateway(engine) as served, served.client() as client:

        async def one(problem: Problem) -> tuple[Fraction, Fraction]:
            completion = await client.chat.completions.create(
                model="tiny",
                messages=[{"role": "user", "content": problem.question}],
                seed=7,
                extra_body={"dynasor": {"algorithm": "self-consistency", "cap": 8}},
            )
            story = completion.model_extra["dynasor"]
            right = story["votes"].get(str(problem.answer), 0.0)
            tokens = completion.usage.completion_tokens
            return Fraction(right) / story["knob"], Fraction(tokens, story["knob"])

        return list(await asyncio.gather(*map(one, problems)))


async def test_accuracy_is_that_of_llama_cpp(server):
    """Problems are solved as often, and in as many tokens, as by llama.cpp.

    The bounds are five standard deviations of such a difference, for 12 problems of 8 samples.
    """
    problems = heldout(12)
    theirs = await votes(server.url, problems)
    ours = await votes("embedded", problems)
    right, tokens = (
        [float(sum(one[place] for one in found) / len(problems)) for found in (theirs, ours)]
        for place in (0, 1)
    )
    assert 0.3 < right[1] < 0.9
    assert right[0] == pytest.approx(right[1], abs=0.25)
    assert tokens[0] == pytest.approx(tokens[1], rel=0.1)


async def quiet(server) -> None:
    """Wait until nothing runs or waits in vLLM, as long as that may take."""
    async with asyncio.timeout(LEFT_SECONDS):
        while await metric(server, "vllm:num_requests_running") or await metric(
            server, "vllm:num_requests_waiting"
        ):
            await asyncio.sleep(0.05)


async def until_metric(server, name: str) -> None:
    async with asyncio.timeout(60):
        while not await metric(server, f"vllm:num_requests_{name}"):
            await asyncio.sleep(0.01)


_serials = count(100)


def _long_prompt() -> dict[str, Any]:
    """Ask what nobody has asked before, in some 600 tokens."""
    numbers = " ".join(str(next(_serials)) for _ in range(150))
    return {"model": "tiny", "messages": [{"role": "user", "content": numbers}]}


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(program(VOTE, stream=True), id="program, before the first byte"),
        pytest.param(program(VOTE), id="program, not streaming"),
        pytest.param(passing(), id="pass-through, not streaming"),
    ],
)
async def test_leaving_before_anything_came(server, client, start):
    """A client that leaves before it has heard anything leaves nothing running in vLLM."""
    ended = await metric(server, "vllm:request_success_total")
    asked = [asyncio.ensure_future(start(client)) for _ in range(3)]
    await until_metric(server, "running")
    assert not any(one.done() for one in asked)
    for one in asked:
        one.cancel()
    await quiet(server)
    assert await metric(server, "vllm:request_success_total") == ended
    await asyncio.gather(*asked, return_exceptions=True)


async def test_leaving_while_prompts_are_read(server, client):
    """Clients of streams that leave before the first byte leave nothing waiting in vLLM."""
    ended = await metric(server, "vllm:request_success_total")
    create = client.chat.completions.create
    asked = [
        asyncio.ensure_future(create(**_long_prompt(), max_tokens=100, stream=True))
        for _ in range(SLOTS)
    ]
    await until_metric(server, "waiting")
    assert not all(one.done() for one in asked)
    for one in asked:
        one.cancel()
    for one in await asyncio.gather(*asked, return_exceptions=True):
        if not isinstance(one, BaseException):
            await one.close()
    await quiet(server)
    assert await metric(server, "vllm:request_success_total") - ended < SLOTS


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(program(chain_of_thought(0.0), stream=True), id="program"),
        pytest.param(passing(stream=True), id="pass-through"),
    ],
)
async def test_leaving_mid_stream(server, client, start):
    """A client that leaves in the middle of a stream leaves nothing running in vLLM."""
    ended = await metric(server, "vllm:request_success_total")
    streams = [await start(client) for _ in range(3)]
    for stream in streams:
        for _ in range(2):
            await anext(stream)
    await until_metric(server, "running")
    for stream in streams:
        await stream.close()
    await quiet(server)
    assert await metric(server, "vllm:request_success_total") == ended


async def test_nothing_is_left_in_the_gateway(server):
    """What clients left behind is withdrawn, and the next client is served."""
    await quiet(server)
    async with gateway(server.url) as served, served.client() as client:
        asked = asyncio.ensure_future(program(VOTE)(client))
        await until_metric(server, "running")
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        await quiet(server)
        (left,) = json.loads((await served.get("/v1/programs")).body)["data"]
        assert left["status"] == "withdrawn"
        done = await client.chat.completions.create(**ASKED, max_tokens=5)
        assert done.usage.completion_tokens == 5
