"""Recorded questions for the tests of replays: by classes, by hand or drawn by hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from dynasor.evaluate.recorded import Recorded
from dynasor.traces import Header, Sample, SamplingLine, write_trace

__all__ = ["header", "in_order", "line", "recorded", "recordings", "write"]


def recorded(classes, right=(0,), tokens=10, name="q", **rest):
    """A question; `classes` is a text, one character a sample, '-' for no answer.

    The class named by the k-th new character has number k; `right` are the numbers worth 1.
    """
    names = {}
    numbers = [None if c == "-" else names.setdefault(c, len(names)) for c in classes]
    lengths = [tokens] * len(classes) if isinstance(tokens, int) else tokens
    quality = tuple(float(group in right) for group in range(len(names)))
    return Recorded(name, f"{name}?", tuple(numbers), tuple(lengths), quality, **rest)


def in_order(*args, **rest):
    """As `recorded`, but every shuffle leaves the samples as they stand."""
    return recorded(*args, is_ordered=True, **rest)


@st.composite
def recordings(draw, least=1, most=12, name="q"):
    """Any question with that many samples: answers, nulls, lengths (0 too), a right class."""
    answers = draw(st.text(alphabet="abc-", min_size=least, max_size=most))
    tokens = draw(st.lists(st.integers(0, 50), min_size=len(answers), max_size=len(answers)))
    right = draw(st.sets(st.integers(0, 2)))
    return recorded(answers, right, tokens, name)


def line(name, answers, reference="1", tokens=10, **rest):
    """A trace's line; `answers` has a sample each, None for no answer."""
    samples = tuple(
        Sample(f"so {answer}" if answer else "hm", tokens, answer, **rest) for answer in answers
    )
    return SamplingLine(name, f"{name}?", samples, reference)


def header(**rest):
    """The header of a sampling trace."""
    return Header(**{"dynasor_trace": 1, "kind": "sampling", "workload": "w", "model": "m", **rest})


def write(path, *lines, **rest):
    """Write a trace; return its path."""
    write_trace(path, header(**rest), lines)
    return path
