"""The scripted engine keeps to its script: outputs, faults, counts and what it remembers."""

import asyncio

import pytest

from dynasor.core.errors import EngineBusy, EngineRefused, EngineUnreachable
from dynasor.core.types import Embed, Generate, Message, Prompt, Sampling, Score, Usage
from dynasor.engines.protocol import Meter
from dynasor.engines.scripted import Drop, Fail, Hang, Lie, ScriptedEngine

pytestmark = pytest.mark.timeout(20)


def work(question="1+1?", report_every=0, **sampling):
    return Generate(Prompt((Message("user", question),)), Sampling(**sampling), report_every)


async def texts(engine, *works):
    return [(await engine.generate(each, Meter())).text for each in works]


async def test_table_in_order():
    """Without a seed a question's outputs come in order, again and again."""
    engine = ScriptedEngine({"1+1?": ["2", "3"]})
    assert await texts(engine, work(), work(), work()) == ["2", "3", "2"]


async def test_table_by_seed():
    """With a seed the seed alone chooses the output."""
    engine = ScriptedEngine({"1+1?": ["2", "3"]})
    assert await texts(engine, work(seed=1), work(seed=0), work(seed=3)) == ["3", "2", "3"]


async def test_function():
    """A function of the work answers every question."""
    engine = ScriptedEngine(lambda work: work.prompt.messages[0].content.upper())
    assert await texts(engine, work("why")) == ["WHY"]


async def test_not_in_the_script():
    """A question without outputs is refused by name."""
    with pytest.raises(EngineRefused, match="why"):
        await ScriptedEngine({}).generate(work("why"), Meter())


async def test_words_are_tokens():
    """Every word with the space before it is a token; max_tokens cuts, and no text is lost."""
    engine = ScriptedEngine(lambda _: "one two  three \n")
    whole = await engine.generate(work(), Meter())
    assert whole.text == "one two  three \n"
    cut = await engine.generate(work(max_tokens=2), Meter())
    assert (cut.text, cut.finish_reason, cut.usage.completion_tokens) == ("one two", "length", 2)


async def test_faults_by_call():
    """Each fault strikes the call it was written for, and no other."""
    engine = ScriptedEngine(lambda _: "a b c", faults={0: Fail(EngineBusy("e", "later"))})
    with pytest.raises(EngineBusy):
        await engine.generate(work(), Meter())
    assert await texts(engine, work()) == ["a b c"]


async def test_drop():
    """A dropped call fails after so many tokens, which the meter keeps."""
    engine = ScriptedEngine(lambda _: "a b c", faults={0: Drop(2), 1: Drop(0)})
    meter = Meter()
    with pytest.raises(EngineUnreachable, match="after 2 tokens"):
        await engine.generate(work(), meter)
    assert meter.completion_tokens == 2
    with pytest.raises(EngineUnreachable, match="after 0 tokens"):
        await engine.generate(work(), Meter())


@pytest.mark.parametrize("tokens", [0, 2])
async def test_hang(tokens):
    """A hanging call waits until it is cancelled."""
    engine = ScriptedEngine(lambda _: "a b c", faults={0: Hang(tokens)})
    meter = Meter()
    task = asyncio.create_task(engine.generate(work(), meter))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert meter.completion_tokens == tokens
    assert engine.running == 0


async def test_lie():
    """A lying call reports the usage of its script."""
    engine = ScriptedEngine(lambda _: "a b c", faults={0: Lie(Usage(0, 10**9))})
    assert (await engine.generate(work(), Meter())).usage == Usage(0, 10**9)


async def test_memory():
    """It remembers what it was asked and how many calls ran at once."""
    engine = ScriptedEngine(lambda _: "a")
    works = [work(seed=n) for n in range(5)]
    await asyncio.gather(*(engine.generate(each, Meter()) for each in works))
    assert engine.asked == works
    assert engine.peak == 5
    assert engine.running == 0


async def test_pace():
    """Time passes through the given sleep, once a token."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    engine = ScriptedEngine(lambda _: "a b c", token_seconds=0.5, sleep=sleep)
    await engine.generate(work(), Meter())
    assert slept == [0.5, 0.5, 0.5]


async def test_reports():
    """Reports carry the tokens since the last one."""
    reports = []
    engine = ScriptedEngine(lambda _: "a b c d e")
    await engine.generate(work(report_every=2), Meter(), lambda d, n: reports.append((d, n)))
    assert reports == [("a b", 2), (" c d", 2)]


async def test_score_and_embed():
    """Scores and vectors come from the script's functions, and are refused without them."""
    engine = ScriptedEngine(reward=lambda item: len(item.prefix) / 10, vector=lambda text: (1.0,))
    assert {"score", "embed"} <= (await engine.start()).supports
    assert (await engine.score(Score((Prompt((), "abc"),)), Meter())).rewards == (0.3,)
    assert (await engine.embed(Embed(("x", "y")), Meter())).vectors == ((1.0,), (1.0,))
    mute = ScriptedEngine()
    with pytest.raises(EngineRefused):
        await mute.score(Score(()), Meter())
    with pytest.raises(EngineRefused):
        await mute.embed(Embed(()), Meter())
