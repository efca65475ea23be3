from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.policies import play, view, voting

from dynasor.core.allocation import Esc, Grant, Length, Skyline, Stop, make_policy, policies
from dynasor.core.errors import ConfigError
from dynasor.core.types import PolicySpec

GROUPS = st.lists(st.sampled_from([0, 1, 2, None]), min_size=1, max_size=30)


def tokens(knob, granted, spent, cap=20):
    return msgspec.structs.replace(view(knob, granted, cap), tokens=spent)


# Length.


def test_length_measures_once():
    """Length grants `detect` units, and decides by their tokens when all are settled."""
    policy = Length(tokens=100, detect=5)
    assert policy.decide(view()) == Grant(5)
    assert policy.decide(tokens(4, 5, 900)) == Grant(0)
    assert policy.decide(tokens(5, 5, 100)) == Stop("short")
    assert policy.decide(tokens(5, 5, 101)) == Grant(15)
    assert policy.decide(tokens(6, 20, 101)) == Grant(0)
    assert policy.decide(tokens(20, 20, 101)) == Stop("cap")


def test_length_counts_what_finished(stage):
    """A program's policy sees the tokens of its finished calls."""
    policy = PolicySpec("length", {"tokens": 9, "detect": 2}, has_lock=False)
    short, long = stage(), stage()
    for on, each in ((short, 4), (long, 5)):
        on.arrive(params={"question": "?", "task": "words", "cap": 4}, policy=policy)
        on.finish("p0#1", "a", tokens=each)
        on.finish("p0#2", "b", tokens=each)
    assert short.answers["p0"].reason == "short"
    assert [submit.call.id for submit in long.submits] == ["p0#1", "p0#2", "p0#3", "p0#4"]
    long.drain()


# ESC.


def test_esc_stops_on_one_answer_in_a_window():
    """ESC stops when a window's answers are all the same, whatever came before."""
    policy = Esc(window=3)
    assert policy.decide(voting(0, 1, 0)) == Grant(3)
    assert policy.decide(voting(0, 1, 0, 1, 1, 1)) == Stop("certain")


def test_esc_windows_are_disjoint():
    """Three equal answers across two windows do not count."""
    looks, _ = play(Esc(window=3, in_flight=1), [0, 1, 1, 1, 0, 1], cap=6)
    assert looks[-1] == Stop("cap")


def test_esc_nulls_are_no_answer():
    """A window without answers is not certain."""
    assert Esc(window=2).decide(voting(None, None)) == Grant(2)


@given(groups=GROUPS, width=st.sampled_from([1, 2, 4, None]), window=st.integers(1, 6))
def test_esc_against_its_definition(groups, width, window):
    """ESC stops at the first window of equal answers, at the cap otherwise, at any width."""
    cap = len(groups)
    looks, most = play(Esc(window, width), groups, cap)
    ends = range(window, cap, window)
    equal = (
        end
        for end in ends
        if len({*groups[end - window : end]} | {None}) == 2
        and None not in groups[end - window : end]
    )
    assert len(looks) - 1 == next(equal, cap)
    assert most <= (width or window)


def test_esc_needs_votes():
    """ESC refuses a program that does not vote."""
    with pytest.raises(ConfigError, match="'esc' needs votes"):
        Esc().decide(view(knob=5, granted=5))


# Skyline.

CURVE = ((0.2, 12), (0.6, 7), (0.9, 3))


def test_skyline_initial_reading():
    """After `detect` units the program's cap falls to what the curve says."""
    policy = Skyline((CURVE,), detect=5)
    assert policy.decide(view()) == Grant(5)
    assert policy.decide(view(5, 5, entropy=0.1)) == Grant(7, cap=12)
    assert policy.decide(view(5, 5, entropy=0.2)) == Grant(7, cap=12)
    assert policy.decide(view(5, 5, entropy=0.21)) == Grant(2, cap=7)
    assert policy.decide(view(5, 5, entropy=0.7)) == Stop("skyline")
    assert policy.decide(view(5, 5, entropy=0.95)) == Stop("skyline")


@pytest.mark.parametrize("width", [1, 2, None])
def test_skyline_keeps_its_word(stage, width):
    """A lowered cap holds at any width, and the answer still names the program's own cap."""
    policy = PolicySpec(
        "skyline", {"curves": [[[0.9, 4]]], "detect": 2, "in_flight": width}, has_lock=False
    )
    on = stage()
    on.arrive(params={"question": "?", "task": "words", "cap": 9}, policy=policy)
    for number, word in enumerate(["a", "b", "c", "d"], start=1):
        on.finish(f"p0#{number}", word)
    assert (on.answers["p0"].knob, on.answers["p0"].cap) == (4, 9)


def test_skyline_dynamic_reads_again():
    """With `every` a curve is read at each step, the last one from then on."""
    policy = Skyline((((0.5, 6),), ((0.5, 9), (0.9, 3))), detect=2, every=2)
    assert policy.decide(view(2, 2, entropy=0.4)) == Grant(2)
    assert policy.decide(view(2, 2, entropy=0.6)) == Stop("skyline")
    assert policy.decide(view(4, 4, entropy=0.4)) == Grant(2)
    assert policy.decide(view(4, 4, entropy=0.6)) == Stop("skyline")
    assert policy.decide(view(8, 8, entropy=0.4)) == Grant(2)
    assert policy.decide(view(10, 10, entropy=0.4)) == Stop("skyline")


def test_skyline_waits_for_what_runs():
    """No curve is read while a granted unit is not settled."""
    assert Skyline((CURVE,)).decide(view(5, 8, entropy=1.0)) == Grant(12, cap=20)
    assert Skyline((CURVE,), every=5).decide(view(5, 8, entropy=1.0)) == Grant(2)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"curves": []}, "curves is empty"),
        ({"curves": [[[0.5, 3], [0.5, 2]]]}, "rising certaindex"),
        ({"curves": [[[1.5, 3]]]}, "<= 1.0"),
        ({}, "missing required field `curves`"),
    ],
)
def test_skyline_bad_curves(params, said):
    """Curves that cannot be read are refused when the policy is built."""
    with pytest.raises(ConfigError, match=said):
        make_policy(PolicySpec("skyline", params), policies())


def test_skyline_needs_its_signal():
    """A program without the signal is refused, with those that it has."""
    with pytest.raises(ConfigError, match="needs the signal 'reward'; the program has: entropy"):
        Skyline((CURVE,), signal="reward").decide(view(5, 5, entropy=0.1))
