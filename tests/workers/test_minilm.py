"""The local embedding model, where it is installed."""

from __future__ import annotations

import asyncio
import sys
from importlib.util import find_spec

import pytest

from dynasor.core.errors import ConfigError
from dynasor.workers.minilm import PACKAGE, LocalVectors
from dynasor.workers.similarity import Similarity

needs_the_model = pytest.mark.skipif(
    find_spec(PACKAGE) is None, reason="the extra `semantic` is not installed"
)


async def test_how_to_install_it(monkeypatch):
    """Without the model the error says how to get it, in one line."""
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(ConfigError, match=r"pip install 'dynasor-serve\[semantic\]'") as caught:
        await LocalVectors()(("a",))
    assert "\n" not in str(caught.value)


@needs_the_model
@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of torch and transformers are not ours to mend
async def test_paraphrases_are_one_class(capfd):
    """The real model sorts paraphrases together and other statements apart, and prints nothing."""
    comparer = Similarity(LocalVectors(), 0.75)
    compared = await comparer.compare(
        "open",
        ("Paris is the capital of France.", "Bees sting when their hive is threatened."),
        (
            "The capital of France is Paris.",
            "The war ended in 1945.",
            "In 1945 the war came to an end.",
        ),
    )
    assert compared == ((0, 3, 3), 0)
    assert capfd.readouterr() == ("", "")


@needs_the_model
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
async def test_calls_at_once_load_one_model():
    """Calls that overlap wait for each other; the vectors are the same as one by one."""
    source = LocalVectors()
    together = await asyncio.gather(*(source((text,)) for text in ("a", "b", "a")))
    assert [len(vector) for (vector,) in together] == [384, 384, 384]
    assert list(together[0][0]) == list(together[2][0]) != list(together[1][0])


@needs_the_model
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
async def test_texts_that_it_cannot_read():
    """A lone surrogate is a failure of its own text, an empty text is none."""
    comparer = Similarity(LocalVectors(), 0.75)
    assert await comparer.compare("open", ("a cat",), ("\ud800", "", "one cat")) == ((1, 2, 0), 1)
