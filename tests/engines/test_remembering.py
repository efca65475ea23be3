"""What was scored once is not asked again."""

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.core.errors import ConfigError, EngineGarbage, EngineRefused, EngineUnreachable
from dynasor.core.types import Embed, Generate, Message, Prompt, Score, Scored, Usage
from dynasor.engines.kept import Kept
from dynasor.engines.protocol import Meter
from dynasor.engines.remembering import KeptRewards, RememberingEngine
from dynasor.engines.scripted import Fail, Hang, ScriptedEngine


def items(texts, question="q"):
    return tuple(Prompt((Message("user", question),), text) for text in texts)


def remembering(reward=lambda item: len(item.prefix) / 10, kept=None):
    engine = ScriptedEngine({"q": ["a"]}, reward=reward, vector=lambda text: (1.0,))
    return RememberingEngine(engine, kept or KeptRewards(100)), engine


def texts_asked(engine):
    return [[item.prefix for item in work.items] for work in engine.asked]


@given(st.lists(st.lists(st.text(alphabet="ab", max_size=3), max_size=5), max_size=6))
def test_same_rewards_and_each_text_once(batches):
    """Rewards are those of the engine, in order, and no text is sent twice."""
    engine, scripted = remembering()

    async def run():
        await engine.start()
        for texts in batches:
            scored = await engine.score(Score(items(texts)), Meter())
            assert scored.rewards == tuple(len(text) / 10 for text in texts)

    asyncio.run(run())
    sent = [text for texts in texts_asked(scripted) for text in texts]
    assert len(sent) == len(set(sent))
    assert set(sent) == {text for texts in batches for text in texts}


async def test_what_is_known_costs_nothing():
    """A text that is known has no usage, and the meter says that this is no guess."""
    engine, _ = remembering()
    await engine.start()
    await engine.score(Score(items("ab")), Meter())
    meter = Meter()
    assert (await engine.score(Score(items("ba")), meter)).usage == Usage()
    assert meter.usage() == Usage(0, 0, is_counted=True)


async def test_asked_at_once():
    """A text that is being asked for is waited for, in whatever order the answers come."""
    engine, scripted = remembering()
    await engine.start()
    scores = (Score(items(texts)) for texts in ("ab", "bc", "ca", "a"))
    done = await asyncio.gather(*(engine.score(score, Meter()) for score in scores))
    assert [len(one.rewards) for one in done] == [2, 2, 2, 1]
    assert texts_asked(scripted) == [["a", "b"], ["c"]]


async def test_waiting_for_one_that_fails():
    """Who waits for a text that another asked for shares its failure, and nobody is left over."""
    gone = Fail(EngineUnreachable("scripted", "gone"))
    engine = ScriptedEngine({}, reward=lambda item: 0.5, faults={0: gone})
    remembers = RememberingEngine(engine, KeptRewards(9))
    asking = (remembers.score(Score(items("a")), Meter()) for _ in range(5))
    failed = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(one) for one in failed] == [EngineUnreachable] * 5
    assert len(engine.asked) == 1
    assert (await remembers.score(Score(items("a")), Meter())).rewards == (0.5,)


async def test_waiting_for_one_that_is_aborted():
    """Who waits for a text whose asker was aborted asks for it again."""
    engine = ScriptedEngine({}, reward=lambda item: 0.5, faults={0: Hang(0)})
    first, second = (
        asyncio.ensure_future(one.score(Score(items("a")), Meter()))
        for one in [RememberingEngine(engine, KeptRewards(9))] * 2
    )
    while not engine.asked:
        await asyncio.sleep(0)
    first.cancel()
    assert (await second).rewards == (0.5,)
    with pytest.raises(asyncio.CancelledError):
        await first
    assert len(engine.asked) == 2


async def test_conversations_differ():
    """The same text in another conversation is another text."""
    engine, scripted = remembering()
    await engine.start()
    await engine.score(Score((*items("a"), *items("a", "another"))), Meter())
    assert len(scripted.asked[0].items) == 2


async def test_replicas_share():
    """Replicas of one model share what they know."""
    kept = KeptRewards(10)
    (first, _), (second, scripted) = remembering(kept=kept), remembering(kept=kept)
    await first.start()
    await second.start()
    await first.score(Score(items("a")), Meter())
    await second.score(Score(items("ab")), Meter())
    assert texts_asked(scripted) == [["b"]]


@pytest.mark.parametrize("bad", [math.nan, 1.5, -0.1, None])
async def test_bad_rewards_are_not_kept(bad):
    """A reward that is none is passed on and asked for again."""
    engine, scripted = remembering(lambda item: bad)
    await engine.start()
    for _ in range(2):
        (reward,) = (await engine.score(Score(items("a")), Meter())).rewards
        assert reward is bad or reward == bad
    assert len(scripted.asked) == 2


async def test_wrong_count():
    """An engine that gives another number of rewards is named."""

    class Short(ScriptedEngine):
        async def score(self, work, meter):
            return Scored((0.5,))

    engine = RememberingEngine(Short({}), KeptRewards(10))
    with pytest.raises(EngineGarbage, match="engine scripted: 1 rewards for 2 texts"):
        await engine.score(Score(items("ab")), Meter())


async def test_everything_else_is_the_engine():
    """Description, generation, embedding and address are the engine's; a refusal too."""
    engine, scripted = remembering()
    assert engine.address == scripted.address
    assert await engine.start() == await scripted.start()
    generated = await engine.generate(Generate(Prompt((Message("user", "q"),))), Meter())
    assert generated.text == "a"
    assert (await engine.embed(Embed(("x",)), Meter())).vectors == ((1.0,),)
    await engine.close()
    deaf = RememberingEngine(ScriptedEngine({}), KeptRewards(1))
    await deaf.start()
    with pytest.raises(EngineRefused):
        await deaf.score(Score(items("a")), Meter())


def test_the_oldest_is_forgotten():
    """Beyond the limit the value not asked for the longest goes."""
    kept: Kept[str, int] = Kept(2)
    kept.put("a", 1)
    kept.put("b", 2)
    assert kept.get("a") == 1
    kept.put("c", 3)
    assert [kept.get(key) for key in "abc"] == [1, None, 3]
    kept.put("c", 4)
    assert kept.get("c") == 4


def test_no_limit():
    """A limit that keeps nothing is refused."""
    with pytest.raises(ConfigError, match="limit of 0"):
        Kept(0)
