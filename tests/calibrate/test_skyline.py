"""Fitted skylines, against looking at every question."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from toys.recorded import in_order, recorded, recordings

from dynasor.calibrate.skyline import BINS, fit_skyline
from dynasor.core.allocation import make_policy, policies
from dynasor.core.types import PolicySpec
from dynasor.evaluate.recorded import trajectory
from dynasor.evaluate.replay import Job, replay


def named(drawn):
    return [replace(one, id=f"q{n}") for n, one in enumerate(drawn)]


def sets(count):
    return st.lists(recordings(least=count, most=count), min_size=1, max_size=6).map(named)


@given(sets(8), st.sampled_from([None, 2]))
def test_brute_force(questions, every):
    """A curve says how far the slowest solvable question of at least that certaindex had to go."""
    spec = fit_skyline(questions, 8, range(2), every)
    make_policy(spec, policies())
    paths = [trajectory(one, 8, seed) for one in questions for seed in range(2)]
    solvable = [path for path in paths if path.needed is not None]
    knobs = [5] if every is None else [5, 7]
    assert len(spec.params["curves"]) == len(knobs)
    for knob, curve in zip(knobs, spec.params["curves"], strict=True):
        bins = [int(path.certaindex[knob - 1] * BINS) for path in solvable]
        assert len(curve) == len(set(bins))
        for (edge, units), own in zip(curve, sorted(set(bins)), strict=True):
            reached = [
                path.settled for path, bin_ in zip(solvable, bins, strict=True) if bin_ >= own
            ]
            assert units == max(reached)
            assert edge == pytest.approx(min(1.0, (own + 1) / BINS), abs=1e-5)


@given(sets(8))
@settings(max_examples=15)
def test_nothing_lost(questions):
    """With all covered, one branch after the other, no question of the fit loses its answer."""
    spec = fit_skyline(questions, 8, range(2))
    for seed in range(2):
        fitted = replay(
            questions, Job(replace(spec, params={**spec.params, "in_flight": 1}), 8), seed
        )
        even = replay(questions, Job(PolicySpec("even", has_lock=False), 8), seed)
        assert (fitted.quality >= even.quality).all()
        assert (fitted.tokens <= even.tokens).all()


def test_covered():
    """A share of the questions covered asks for no more units than all of them."""
    slow = in_order("bbbbbaaaaaa", (1,), name="slow")
    questions = [slow, *(in_order("bbbbbaaaaaa"[::-1], name=f"q{n}") for n in range(10))]
    most, some = (
        max(
            units
            for curve in fit_skyline(questions, 11, [0], None, covered).params["curves"]
            for _, units in curve
        )
        for covered in (1.0, 0.9)
    )
    assert most == 11
    assert some == 1


def test_nobody_solvable():
    """Where no question is ever right nothing is worth a second look."""
    questions = [recorded("ab" * 4, right=(), name=f"q{n}") for n in range(3)]
    spec = fit_skyline(questions, 8, [0])
    assert replay(questions, Job(spec, 8), 0).knob.tolist() == [5, 5, 5]


@pytest.mark.parametrize("cap", [1, 2, 5, 6])
@pytest.mark.parametrize("every", [None, 1, 5])
def test_small_caps(cap, every):
    """A cap at or below the first look makes a policy that runs."""
    questions = [recorded("abab-a", name=f"q{n}") for n in range(3)]
    spec = fit_skyline(questions, cap, [0], every)
    assert (replay(questions, Job(spec, cap), 0).knob <= cap).all()
