"""What became of programs."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
from toys.simulated import simulated

from dynasor.core.errors import UnknownName
from dynasor.online.outcome import Course

STATUS = ["answered", "deadline", "failed", "withdrawn", ""]


def test_ends():
    """A program has ended by itself, otherwise, or not."""
    sim = simulated([1, 5, 0, 2, inf], status=STATUS, deadline=5.0)
    assert sim.is_complete.tolist() == [True, False, False, False, False]
    assert sim.has_failed.tolist() == [False, False, True, True, False]
    assert sim.has_ended.tolist() == [True, True, True, True, False]
    assert sim.is_met.tolist() == [True, False, False, False, False]


def test_met():
    """A deadline is met up to its very end; who has none meets it by ending."""
    sim = simulated([5, 6, 7, inf], deadline=[5.0, 5.0, inf, inf])
    assert sim.is_met.tolist() == [True, False, True, False]


def test_where():
    """A choice of programs keeps every array in step, and the run's totals."""
    sim = simulated([1, 2, 3, 4], quality=[0.1, 0.2, 0.3, 0.4])
    some = sim.where(np.array([False, True, False, True]))
    assert len(some) == 2
    assert some.latency.tolist() == [2, 4]
    assert some.quality.tolist() == [0.2, 0.4]
    assert some.status.tolist() == ["answered"] * 2
    assert (some.totals, some.course) == (sim.totals, sim.course)


@pytest.mark.parametrize(("share", "left"), [(0.0, 10), (0.1, 9), (0.14, 9), (0.5, 5), (0.99, 0)])
def test_warm_up(share, left):
    """A share of the programs, the first to come, is left out."""
    found = simulated(range(10)).after(share)
    assert found.latency.tolist() == list(range(10))[10 - left :]


def test_parts():
    """A part's programs are found by its name; a name that is none is refused."""
    sim = simulated([1, 2, 3], parts=("math", "word"), part=[0, 1, 0])
    assert sim.of_part("math").latency.tolist() == [1, 3]
    assert sim.of_part("word").latency.tolist() == [2]
    with pytest.raises(UnknownName, match="did you mean 'word'"):
        sim.of_part("words")


def test_course():
    """Samples become one array a quantity; no sample, empty arrays."""
    found = Course.of([(0, 1, 2, 0.5, 10), (1, 3, 4, 0.25, 20)])
    assert found.live.tolist() == [1, 3]
    assert found.generated.tolist() == [10, 20]
    assert [len(getattr(Course.of([]), name)) for name in Course.__struct_fields__] == [0] * 5


def test_unended_latency():
    """The latency of a program that had not ended is not a number."""
    assert np.array_equal(simulated([1, inf]).latency, [1, nan], equal_nan=True)
