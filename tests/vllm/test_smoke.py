"""Dynasor's HTTP engine against a real vLLM server."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from dynasor.core.types import Generate, Message, Prompt, Sampling
from dynasor.engines.http import HttpEngine
from dynasor.engines.protocol import Meter

# The first test waits for the server, up to 300 s.
pytestmark = [pytest.mark.vllm, pytest.mark.timeout(360)]

QUESTION = "Tom has 12 apples. Tom buys 7 more apples. How many apples does Tom have now?"
PROMPT = Prompt((Message("user", QUESTION),))
# Its samples differ: the model is careless with numbers of three digits.
HARD = (
    "Tom has 6 bags with 84 stamps each. Sam has 288 fewer stamps than Tom. Sam trades them for "
    "four times as many. He buys 9 boxes of 37. How many stamps does Sam have now?"
)


def sample(seed: int) -> Generate:
    prompt = Prompt((Message("user", HARD),))
    return Generate(prompt, Sampling(max_tokens=120, seed=seed, has_logprobs=True))


@pytest.fixture
async def engine(server) -> AsyncIterator[HttpEngine]:
    engine = HttpEngine(server.url)
    yield engine
    await engine.close()


async def test_start_recognises_vllm(engine: HttpEngine):
    """The engine tells the server's dialect, its model and its context length by itself."""
    description = await engine.start()
    assert engine._dialect.name == "vllm"
    assert description.model == "tiny"
    assert description.context_tokens == 768
    assert {"generate", "logprobs"} <= description.supports


async def test_concurrent_completions(engine: HttpEngine):
    """Calls that run at once each bring their own text, counted tokens and log-probabilities."""
    await engine.start()
    meters = [Meter() for _ in range(8)]
    done = await asyncio.gather(
        *(engine.generate(sample(seed), meter) for seed, meter in enumerate(meters))
    )
    assert len({one.text for one in done}) > 1
    assert any("The answer is" in one.text for one in done)
    for one, meter in zip(done, meters, strict=True):
        assert one.usage == meter.usage()
        assert one.usage.is_counted
        assert one.usage.prompt_tokens > 10
        assert 0 < one.usage.completion_tokens <= 120
        assert one.finish_reason in {"stop", "length"}
        assert one.mean_logprob is not None
        assert -5 < one.mean_logprob < 0


async def test_prefix_is_continued(engine: HttpEngine):
    """A prompt's prefix is continued, and only the continuation comes back."""
    await engine.start()
    prompt = Prompt(PROMPT.messages, prefix="12+7=19.\nThe answer is")
    work = Generate(prompt, Sampling(max_tokens=20, temperature=0.0))
    done = await engine.generate(work, Meter())
    assert done.text.lstrip().startswith("\\boxed{")


async def test_reports_add_up(engine: HttpEngine):
    """The reports of a streaming call are its text, but for less than a report at its end."""
    await engine.start()
    reports: list[tuple[str, int]] = []
    work = Generate(PROMPT, Sampling(max_tokens=120, seed=1), report_every=8)
    done = await engine.generate(work, Meter(), lambda *report: reports.append(report))
    assert reports
    assert done.text.startswith("".join(delta for delta, _ in reports))
    told = sum(tokens for _, tokens in reports)
    assert 0 <= done.usage.completion_tokens - told <= work.report_every
    assert len(reports) > 1


async def test_aborted_call_ends_on_the_server(engine: HttpEngine, server):
    """Cancelling a call ends it on the server, which never finishes it, and keeps its count."""
    await engine.start()
    ended_before = server.metric("vllm:request_success_total")
    # At this temperature the model hardly ever ends its answer early.
    work = Generate(PROMPT, Sampling(max_tokens=400, temperature=2.0, seed=1), report_every=2)
    meter = Meter()
    # From the first report itself: on a busy machine, any later and the call may have ended.
    call = asyncio.create_task(engine.generate(work, meter, lambda *_: call.cancel()))
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(30):
            await call
    async with asyncio.timeout(10):
        while server.metric("vllm:num_requests_running"):
            await asyncio.sleep(0.05)
    assert server.metric("vllm:request_success_total") == ended_before
    assert 0 < meter.completion_tokens < 400
