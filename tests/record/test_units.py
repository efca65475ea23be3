"""Which unit of the knob a step of a search belongs to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dynasor.programs.searching import Step
from dynasor.record.units import exact_knobs, ranked


def step(unit, parent=None, is_finished=False):
    """A step of a search that began with that unit."""
    return Step("s\n", 1, unit, parent, 0.5, is_finished, None, 0, False)


def units(steps, cap):
    return [one.unit for one in ranked(steps, cap)]


def test_ranks():
    """A step belongs to the first finished path that needs it; what none needs comes last."""
    steps = [step(1), step(1), step(1, 0), step(1, 1, True), step(1, 0, True), step(1, 2)]
    assert units(steps, 4) == [2, 1, 4, 1, 2, 4]


def test_two_searches():
    """Ranks go on from one search to the next, and the ends of searches are exact."""
    steps = [step(1, None, True), step(1), step(3, None, True), step(3, None, True), step(3)]
    assert units(steps, 5) == [1, 2, 3, 4, 5]
    assert exact_knobs(steps, 5) == [2, 5]


@st.composite
def searches(draw):
    """The steps of some searches with their cap, as Rebase leaves them."""
    steps, first = [], 1
    for width in draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)):
        own, finished = [], 0
        for _ in range(draw(st.integers(1, 8))):
            open_ones = [at for at in own if not steps[at].is_finished]
            parent = draw(st.none() | st.sampled_from(open_ones)) if open_ones else None
            is_finished = finished < width and draw(st.booleans())
            finished += is_finished
            own.append(len(steps))
            steps.append(step(first, parent, is_finished))
        first += width
    return steps, first - 1


@given(searches())
def test_any_search(given):
    """Units lie within their search, a parent's is not larger, and finished paths are ranked."""
    steps, cap = given
    ends = exact_knobs(steps, cap)
    for before, after in zip(steps, ranked(steps, cap), strict=True):
        assert before.unit <= after.unit <= min(end for end in ends if end >= before.unit)
    numbers = units(steps, cap)
    for number, one in zip(numbers, steps, strict=True):
        assert one.parent is None or numbers[one.parent] <= number
    assert ends[-1] == cap
