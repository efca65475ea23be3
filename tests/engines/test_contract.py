"""What every engine must do, whatever stands behind it."""

import asyncio
import contextlib

import pytest

from dynasor.core.errors import EngineRefused, EngineUnreachable
from dynasor.core.types import Embed, Generate, Message, Prompt, Score
from dynasor.engines.protocol import Meter

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def started(engine):
    await engine.start()
    return engine


async def test_description(engine):
    """A started engine says what it serves and how many calls it runs at once."""
    description = await engine.start()
    assert description.model
    assert description.slots > 0
    assert {"generate", "prefix", "logprobs"} <= description.supports


async def test_generate(started, ask):
    """A completion comes with its text, a finish reason and counted tokens, as in the meter."""
    meter = Meter()
    generated = await started.generate(ask(), meter)
    assert generated.text
    assert generated.finish_reason in {"stop", "length"}
    assert generated.usage == meter.usage()
    assert generated.usage.is_counted
    assert 0 < generated.usage.completion_tokens <= 64
    assert generated.usage.prompt_tokens > 0


async def test_max_tokens(started, ask):
    """No completion is longer than asked, and one that is cut says so."""
    generated = await started.generate(ask(max_tokens=3), Meter())
    assert generated.usage.completion_tokens == 3
    assert generated.finish_reason == "length"


async def test_seed(started, ask):
    """The same seed gives the same text."""
    first = await started.generate(ask(seed=7), Meter())
    second = await started.generate(ask(seed=7), Meter())
    assert first.text == second.text


async def test_reports(started, ask):
    """Reports come at least every so many tokens, and together begin the text."""
    reports: list[tuple[str, int]] = []
    generated = await started.generate(
        ask(report_every=2), Meter(), lambda delta, tokens: reports.append((delta, tokens))
    )
    assert generated.text.startswith("".join(delta for delta, _ in reports))
    assert all(tokens >= 2 for _, tokens in reports)
    assert sum(tokens for _, tokens in reports) >= generated.usage.completion_tokens // 2


async def test_no_reports_unless_asked(started, ask):
    """A call that asks for no reports gets none."""
    reports: list[int] = []
    await started.generate(ask(), Meter(), lambda _, tokens: reports.append(tokens))
    assert reports == []


async def test_stop(started, ask):
    """A stop string ends the text and is not part of it."""
    whole = await started.generate(ask(), Meter())
    stop = whole.text[len(whole.text) // 2 :][:2]
    cut = await started.generate(ask(stop=(stop,)), Meter())
    assert whole.text.startswith(cut.text)
    assert stop not in cut.text


async def test_prefix(started, ask):
    """A given beginning is continued: the continuation alone comes back."""
    generated = await started.generate(ask(prefix="First of all, Tom"), Meter())
    assert "First of all" not in generated.text


async def test_logprobs(started, ask):
    """The mean log-probability comes when it is asked for, and is none otherwise."""
    asked = await started.generate(ask(has_logprobs=True), Meter())
    assert asked.mean_logprob is not None
    assert asked.mean_logprob <= 0.0
    assert (await started.generate(ask(), Meter())).mean_logprob is None


async def test_abort(started, ask):
    """A cancelled call ends at once, its meter stands, and the engine serves the next call."""
    meter = Meter()
    task = asyncio.create_task(started.generate(ask(max_tokens=400), meter))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 0 <= meter.completion_tokens <= 400
    assert (await started.generate(ask(), Meter())).text


async def test_many_at_once(started, ask):
    """More calls than slots all finish."""
    works = [ask(seed=seed, max_tokens=8) for seed in range(100)]
    generated = await asyncio.gather(*(started.generate(work, Meter()) for work in works))
    assert len(generated) == 100
    assert all(1 <= g.usage.completion_tokens <= 8 for g in generated)


async def test_score(started):
    """Scoring gives one reward in [0, 1] an item, or is refused."""
    items = tuple(Prompt((Message("user", "1+1?"),), f"It is {n}.") for n in range(3))
    try:
        scored = await started.score(Score(items), Meter())
    except EngineRefused:
        return
    assert len(scored.rewards) == 3
    assert all(0.0 <= reward <= 1.0 for reward in scored.rewards)


async def test_embed(started):
    """Embedding gives one vector a text, in order, or is refused."""
    try:
        embedded = await started.embed(Embed(("a", "b")), Meter())
    except EngineRefused:
        return
    assert len(embedded.vectors) == 2


async def test_close(started, ask):
    """Closing twice is safe, and a call after it names the engine."""
    await started.close()
    await started.close()
    with pytest.raises(EngineUnreachable) as caught:
        await started.generate(ask(), Meter())
    assert caught.value.address == started.address


async def test_restart(started, ask):
    """A closed engine can be started again."""
    await started.close()
    await started.start()
    assert (await started.generate(ask(), Meter())).text


async def test_empty_question(started):
    """An empty question is answered or refused, never a hang."""
    work = Generate(Prompt((Message("user", ""),)))
    with contextlib.suppress(EngineRefused):
        assert (await started.generate(work, Meter())).usage.completion_tokens >= 0
