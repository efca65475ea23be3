"""Which source of embeddings is taken, and what it costs its engine."""

from __future__ import annotations

import asyncio
import sys

import pytest
from rigs import turns

from dynasor.core.errors import ConfigError, EngineBusy
from dynasor.core.types import Embed
from dynasor.engines.scripted import Fail, Hang, ScriptedEngine
from dynasor.runtime import embedding
from dynasor.runtime.embedding import EngineVectors, by_meaning, first_that_embeds
from dynasor.workers.minilm import PACKAGE


@pytest.fixture(autouse=True)
def _no_local_model(monkeypatch):
    """The machine has no local model, whatever is installed."""
    monkeypatch.setitem(sys.modules, PACKAGE, None)


def engine(vector=lambda text: (1.0, float(len(text))), **options):
    """An engine that embeds."""
    return ScriptedEngine(vector=vector, **options)


async def test_an_engine_embeds():
    """Texts travel in one call, and their vectors come back in order."""
    one = engine()
    assert await EngineVectors(one)(["a", "bcd"]) == ((1.0, 1.0), (1.0, 3.0))
    assert one.asked == [Embed(("a", "bcd"))]


async def test_few_calls_at_once():
    """However many programs compare at once, few of the engine's slots are taken."""
    held = embedding.CALLS_AT_ONCE
    one = engine(faults=dict.fromkeys(range(held), Hang()))
    source = EngineVectors(one)
    calls = [asyncio.ensure_future(source((f"text {n}",))) for n in range(held + 2)]
    await turns()
    assert one.peak == len(one.asked) == held
    for call in calls[:held]:
        call.cancel()
    assert await asyncio.gather(*calls[held:]) == [((1.0, 6.0),)] * 2
    assert one.peak == held


async def test_the_first_that_embeds_is_taken():
    """Sources that fail, or embed into nothing, are passed over."""
    refuses, is_busy = engine(None), engine(faults={0: Fail(EngineBusy("b", "later"))})
    has_zeros, works, never_asked = engine(lambda text: (0.0, 0.0)), engine(), engine()
    sources = [EngineVectors(one) for one in (refuses, is_busy, has_zeros, works, never_asked)]
    assert await first_that_embeds(sources) is sources[3]
    assert never_asked.asked == []


async def test_no_source():
    """Where nothing embeds, the error says of each source why, and what to set."""
    with pytest.raises(ConfigError) as caught:
        await by_meaning(
            [engine(None, name="one"), engine(lambda text: ())],
            0.75,
            seconds_limit=1.0,
            or_local=True,
        )
    assert str(caught.value) == (
        "grouping 'meaning' finds no embeddings (engine one: its script has no vector function; "
        "its vector for 'A word.' has no direction; the local embedding model is not installed: "
        "pip install 'dynasor-serve[semantic]'): set embedding_engine to the URL of a server with "
        "/v1/embeddings, or to 'local'"
    )


async def test_no_local_model_unless_allowed():
    """Where an engine was named, the local model does not stand in for it."""
    with pytest.raises(ConfigError, match=r"\(engine one: its script .* function\)"):
        await by_meaning([engine(None, name="one")], 0.75, seconds_limit=1.0, or_local=False)


async def test_sorts_with_the_engine():
    """The comparer that is made asks the engine for what it does not remember."""
    one = engine(lambda text: (1.0, 0.0) if "yes" in text else (0.0, 1.0))
    comparer = await by_meaning([one], 0.75, seconds_limit=1.0, or_local=False)
    assert await comparer.compare("open", ("yes",), ("oh yes", "no")) == ((0, 2), 0)
    assert one.asked[1:] == [Embed(("yes", "oh yes", "no"))]
