"""Searches for rates and scales, on attainments of known shape."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.core.errors import UserError
from dynasor.online.search import Within, rate_at, tightest

WITHIN = Within(1.0, 8.0)


def falls_at(limit):
    """All are in time up to a rate, and none beyond."""
    return lambda rate: 1.0 if rate <= limit else 0.0


def rises_at(limit):
    """All are in time from a scale on, and none below."""
    return lambda scale: 1.0 if scale >= limit else 0.0


@given(st.floats(0.07, 120), st.floats(0.001, 0.5))
def test_rate(limit, tolerance):
    """The rate found attains, and one larger by the tolerance does not, near the bracket or far."""
    found = rate_at(falls_at(limit), Within(1.0, 8.0, tolerance))
    assert found.verdict == "found"
    assert found.value <= limit <= found.value * (1 + tolerance) * (1 + 1e-9)


@given(st.floats(0.07, 120), st.floats(0.001, 0.5))
def test_scale(limit, tolerance):
    """The scale found attains, and one smaller by the tolerance does not."""
    found = tightest(rises_at(limit), Within(1.0, 8.0, tolerance))
    assert found.verdict == "found"
    assert found.value / (1 + tolerance) * (1 - 1e-9) <= limit <= found.value


@pytest.mark.parametrize(
    ("search", "attainment", "value", "words"),
    [
        (rate_at, falls_at(1e9), 128.0, "128 or beyond: all of 1 to 128 attain 90%"),
        (tightest, rises_at(1e-9), 0.0625, "0.0625 or beyond: all of 0.0625 to 8 attain 90%"),
        (rate_at, falls_at(1e-9), None, "none: all of 0.0625 to 1 attain less than 90%"),
        (tightest, rises_at(1e9), None, "none: all of 8 to 128 attain less than 90%"),
    ],
)
def test_answers_beyond(search, attainment, value, words):
    """Where no bracket holds the answer, the search ends and says on which side it lies."""
    found = search(attainment, WITHIN)
    assert found.verdict == ("none" if value is None else "all")
    assert found.value == value
    assert str(found) == words
    assert len(found.tried) <= 6


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50), st.floats(0.001, 1), st.booleans())
def test_any_attainment_ends(shares, tolerance, is_rate):
    """However the attainment jumps, runs are few, none is made twice, and a value attains."""
    search = rate_at if is_rate else tightest
    made = []

    def attainment_of(value):
        made.append(value)
        return shares[len(made) % len(shares)]

    found = search(attainment_of, Within(1.0, 8.0, tolerance))
    assert [trial.value for trial in found.tried] == made
    assert len(set(made)) == len(made) <= 6 + 12
    if found.value is not None:
        assert found.value in [one.value for one in found.tried if one.attainment >= 0.9]


def test_target():
    """The target is what must be attained, neither more nor less."""
    found = rate_at(lambda rate: 1 / rate, WITHIN, target=0.5)
    assert found.value == pytest.approx(2.0, rel=0.02)
    assert str(found) == f"{found.value:.4g}"


def test_no_widening():
    """Without widenings a search stays between the two ends."""
    found = rate_at(falls_at(100), Within(1.0, 8.0, widenings=0))
    assert [trial.value for trial in found.tried] == [1.0, 8.0]
    assert (found.verdict, found.value) == ("all", 8.0)


def test_wide_tolerance():
    """A bracket that is narrow enough at once is not halved."""
    found = rate_at(falls_at(2), Within(1.0, 8.0, tolerance=7.0))
    assert (found.value, len(found.tried)) == (1.0, 2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((0.0, 1.0), "two positive numbers"),
        ((2.0, 1.0), "the lower one first"),
        ((1.0, inf), "two positive numbers"),
        ((nan, 1.0), "two positive numbers"),
        ((1.0, 2.0, 0.0), "a share above 0"),
        ((1.0, 2.0, nan), "a share above 0"),
        ((1.0, 2.0, 0.1, -1), "give 0 or more"),
    ],
)
def test_no_bracket(given, words):
    """What is no bracket is refused before a run is made."""
    with pytest.raises(UserError, match=words):
        Within(*given)


@pytest.mark.parametrize("target", [0.0, 1.5, nan])
def test_no_target(target):
    """A target that is no share is refused."""
    with pytest.raises(UserError, match="above 0, at most 1"):
        rate_at(falls_at(2), WITHIN, target)


def test_no_attainment():
    """Runs without deadlines cannot be searched by attainment."""
    with pytest.raises(UserError, match="give the workload deadlines"):
        rate_at(lambda rate: nan, WITHIN)
