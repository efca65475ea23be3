"""Grouping by the cosine of embeddings; the vectors are scripted."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.core.errors import ConfigError
from dynasor.core.grouping import Grouping
from dynasor.tasks import OpenTask
from dynasor.tasks.meaning import ByMeaning
from dynasor.workers import similarity
from dynasor.workers.similarity import Similarity, unit

NAN, INFINITE = float("nan"), float("inf")


def at_degrees(angle):
    """The unit vector in that direction."""
    return [math.cos(math.radians(angle)), math.sin(math.radians(angle))]


class Script:
    """A source of vectors: a table, or an error in it that is raised; `asked` are the batches."""

    def __init__(self, table):
        self.table = table
        self.asked = []

    async def __call__(self, texts):
        self.asked.append(tuple(texts))
        found = [self.table[text] for text in texts]
        for one in found:
            if isinstance(one, Exception):
                raise one
        return found


def degrees(**angles):
    """A script of directions."""
    return Script({text: at_degrees(angle) for text, angle in angles.items()})


# 45 degrees apart is the limit in most of these tests.
HALF_SQUARE = math.cos(math.radians(45))


async def test_similar_texts_are_one_class():
    """A text joins a representative or an earlier new text that is similar enough."""
    source = degrees(a=0, b=90, c=10, d=200, e=210, f=95)
    compared = await Similarity(source, HALF_SQUARE).compare(
        "open", ("a", "b"), ("c", "d", "e", "f")
    )
    assert compared == ((0, 3, 3, 1), 0)


async def test_the_most_similar_founder_wins():
    """Of several classes within the limit the nearest one is joined, of equals the oldest."""
    source = degrees(a=0, b=60, nearer_b=40, nearer_a=20, between=30)
    source.table |= {"a": [1.0, 0.0], "b": [0.0, 1.0], "between": [1.0, 1.0]}
    compared = await Similarity(source, 0.5).compare(
        "open", ("a", "b"), ("between", "nearer_b", "nearer_a")
    )
    assert compared == ((0, 0, 0), 0)
    source.table["nearer_b"] = at_degrees(50)
    compared = await Similarity(source, 0.5).compare("open", ("a", "b"), ("nearer_b",))
    assert compared == ((1,), 0)


async def test_a_class_is_compared_by_its_founder():
    """A chain of neighbours does not grow a class: who is far from the founder founds another."""
    source = degrees(a=0, b=40, c=80)
    assert await Similarity(source, HALF_SQUARE).compare("open", ("a",), ("b", "c")) == ((0, 2), 0)


async def test_the_limit_belongs_to_the_class():
    """A cosine of exactly the limit is enough, whatever single precision makes of it."""
    source = Script({"a": [0.1, 0.3, 0.7], "b": [0.1 * 3, 0.3 * 3, 0.7 * 3]})
    assert await Similarity(source, 1.0).compare("open", ("a",), ("b",)) == ((0,), 0)


async def test_length_does_not_matter():
    """Vectors of any finite length, the largest and the smallest numbers included, are compared."""
    source = Script({"a": [1e300, 1e300], "b": [5e-324, 5e-324], "c": [-1, -1]})
    assert await Similarity(source, 0.9).compare("open", ("a",), ("b", "c")) == ((0, 2), 0)


async def test_vectors_are_remembered():
    """A text is embedded once, however often it is compared."""
    source = degrees(a=0, b=90, c=180)
    comparer = Similarity(source, 0.9)
    await comparer.compare("open", ("a",), ("b",))
    await comparer.compare("open", ("a", "b"), ("c",))
    assert source.asked == [("a", "b"), ("c",)]


async def test_what_was_used_longest_ago_is_forgotten(monkeypatch):
    """The memory is bounded, and a comparison larger than it is still right."""
    monkeypatch.setattr(similarity, "VECTORS_KEPT", 2)
    source = degrees(a=0, b=90, c=180)
    comparer = Similarity(source, 0.9)
    assert await comparer.compare("open", ("a",), ("b", "c")) == ((1, 2), 0)
    await comparer.compare("open", ("b",), ("a",))
    assert source.asked == [("a", "b", "c"), ("a",)]


async def test_texts_travel_in_batches():
    """Servers limit how many texts one request may hold."""
    texts = tuple(f"text {n}" for n in range(similarity.TEXTS_AT_ONCE + 1))
    source = Script({text: [1.0] for text in texts})
    assert await Similarity(source, 0.9).compare("open", texts[:1], texts[1:]) == (
        (0,) * (len(texts) - 1),
        0,
    )
    assert [len(batch) for batch in source.asked] == [similarity.TEXTS_AT_ONCE, 1]


# What a source may do wrong.


@pytest.mark.parametrize(
    "bad",
    [
        [0.0, 0.0],
        [NAN, 1.0],
        [INFINITE, 1.0],
        [],
        [1.0, 0.0, 0.0],
        [[1.0, 0.0]],
        ["north", "east"],
        "north",
        1.0,
        None,
        10**400,
        ValueError("too long"),
    ],
    ids=str,
)
async def test_a_bad_vector_costs_its_own_text_only(bad):
    """A text without a usable vector is a class of its own and one failure; others are sorted."""
    source = degrees(a=0, b=10)
    source.table["bad"] = bad
    compared = await Similarity(source, HALF_SQUARE).compare("open", ("a",), ("bad", "b"))
    assert compared == ((1, 0), 1)


async def test_a_representative_without_a_vector():
    """It is skipped, counted, and asked for again the next time."""
    source = degrees(b=0, c=0)
    source.table["a"] = OSError("down")
    comparer = Similarity(source, 0.9)
    assert await comparer.compare("open", ("a", "b"), ("c",)) == ((1,), 1)
    source.table["a"] = at_degrees(0)
    source.table["d"] = at_degrees(0)
    assert await comparer.compare("open", ("a", "b"), ("d",)) == ((0,), 0)


async def test_equal_texts_need_no_vector():
    """The same text is the same class, even where nothing can be embedded."""

    async def down(texts):
        raise OSError("down")

    compared = await Similarity(down, 0.9).compare("open", ("a",), ("b", "a", "b"))
    assert compared == ((1, 0, 1), 2)


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_wrong_number_of_vectors(count):
    """Which vector belongs to which text cannot be guessed: all of them are failures."""

    async def source(texts):
        return [[1.0]] * (count if len(texts) > 1 else 0)

    assert await Similarity(source, 0.9).compare("open", ("a",), ("b",)) == ((1,), 2)


async def test_no_list_of_vectors():
    """An answer that is no list at all is a failure of every text."""

    async def source(texts):
        return None

    assert await Similarity(source, 0.9).compare("open", ("a",), ("b",)) == ((1,), 2)


async def test_a_silent_source():
    """A source that never answers costs the time limit and is a failure of every text."""

    async def source(texts):
        await asyncio.Event().wait()

    comparer = Similarity(source, 0.9, seconds_limit=0.01)
    assert await comparer.compare("open", ("a",), ("b", "c")) == ((1, 2), 3)


async def test_cancelling_reaches_the_source():
    """Whoever stops waiting for a comparison stops its embedding too."""
    began, ended = asyncio.Event(), asyncio.Event()

    async def source(texts):
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    comparing = asyncio.ensure_future(Similarity(source, 0.9).compare("open", ("a",), ("b",)))
    await began.wait()
    comparing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await comparing
    assert ended.is_set()


@pytest.mark.parametrize(
    "texts",
    [("\ud800", "\ud800x"), ("\0", ""), ("a" * 1_000_000, "b")],
    ids=["surrogate", "nul", "long"],
)
async def test_any_text(texts):
    """Lone surrogates, NUL and megabytes are texts like any other."""
    source = Script({texts[0]: [1.0, 0.0], texts[1]: [0.0, 1.0]})
    assert await Similarity(source, 0.9).compare("open", texts[:1], texts[1:]) == ((1,), 0)


@pytest.mark.parametrize("at", [0, -0.5, 1.01, NAN])
def test_a_limit_out_of_range(at):
    """A limit that every pair or no pair reaches is refused."""
    with pytest.raises(ConfigError, match="similarity is .*: give a cosine above 0"):
        Similarity(degrees(), at)


@pytest.mark.parametrize("seconds", [0, -1, NAN])
def test_a_time_limit_out_of_range(seconds):
    """A time limit must be positive."""
    with pytest.raises(ConfigError, match="seconds_limit is .*: give a positive number"):
        Similarity(degrees(), 0.9, seconds_limit=seconds)


# Whatever the vectors.

NUMBERS = st.floats() | st.integers(-3, 3)
VECTORS = st.none() | st.lists(NUMBERS, max_size=3) | st.lists(NUMBERS, min_size=2, max_size=2)


@given(vector=VECTORS)
def test_a_unit_vector_is_one(vector):
    """What is returned has length 1 and only finite numbers."""
    made = unit(vector)
    assert made is None or math.isclose(float(made @ made), 1.0)


@given(vectors=st.lists(VECTORS, min_size=1, max_size=8), at=st.floats(0.01, 1.0), data=st.data())
def test_classes_are_a_possible_verdict(vectors, at, data):
    """Whatever the vectors, the scheduler can take the classes, and no text is lost or moved."""
    known = data.draw(st.integers(0, len(vectors) - 1))
    table = {str(number): vector for number, vector in enumerate(vectors)}
    texts = tuple(table)

    async def source(asked):
        return [table[text] for text in asked]

    comparer = Similarity(source, at)
    classes, failures = asyncio.run(comparer.compare("open", texts[:known], texts[known:]))
    assert len(classes) == len(texts) - known
    assert 0 <= failures <= len(texts)
    for own, home in enumerate(classes, known):
        assert 0 <= home <= own
        assert home < known or classes[home - known] == home, "a class is named by its founder"

    grouping = Grouping(ByMeaning(OpenTask()))
    for text in texts:
        if grouping.place(text) is None:
            grouping.wait(int(text), text)
    batch = grouping.next_batch()
    if batch:
        answer, _ = asyncio.run(comparer.compare("open", tuple(grouping.representatives), batch))
        grouping.check(answer)
        assert len(grouping.resolve(answer)) == len(batch)
