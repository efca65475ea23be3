"""Choosing on one half, judging on the other."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from toys.recorded import in_order, recorded

from dynasor.calibrate import CALIBRATED, Aim, calibrate_splits, halves, measure
from dynasor.core.errors import UnknownName, UserError
from dynasor.core.types import PolicySpec
from dynasor.evaluate.offline import means, with_width
from dynasor.evaluate.replay import Job, replay

AIM = Aim(cap=10, width=1, seeds=2, processes=1)


def mixed(count=20, seed=0):
    """Questions from easy to open."""
    chance = Random(seed)
    return [
        recorded(
            "".join("a" if chance.random() < 0.4 + n / count / 2 else "b" for _ in range(12)),
            (n % 3 == 0,),
            name=f"q{n}",
        )
        for n in range(count)
    ]


# Halves.


@given(st.integers(4, 99), st.integers(0, 20))
def test_halves(count, seed):
    """Two halves have no question in common, none is left out, and they are the same again."""
    one, other = halves(count, seed)
    assert sorted([*one, *other]) == list(range(count))
    assert len(one) == count // 2
    assert [half.tolist() for half in halves(count, seed)] == [one.tolist(), other.tolist()]


def test_halves_differ():
    """Another split is another half."""
    assert len({tuple(halves(20, seed)[0]) for seed in range(10)}) == 10


def test_no_halves():
    """Three questions are too few to be split."""
    with pytest.raises(UserError, match="3 questions cannot be split .* at least 4"):
        halves(3, 0)


# The choice.


def lost(measured, spec, places):
    """What a candidate lost on these questions, by replays of its own."""
    aim = measured.aim
    questions = [measured.questions[place] for place in places]
    found, even = (
        means(
            [
                replay(questions, Job(with_width(one, aim.width), aim.cap), s)
                for s in range(aim.seeds)
            ]
        )
        for one in (spec, PolicySpec("even", has_lock=False))
    )
    return even.quality - found.quality, found.tokens.mean()


@pytest.mark.parametrize("loss", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("caution", [0.0, 1.0])
@pytest.mark.parametrize("name", ["esc", "beta", "skyline"])
def test_constraint(name, loss, caution):
    """Of the candidates that lose little enough on the fitted half the cheapest is chosen."""
    aim = replace(AIM, loss=loss, caution=caution)
    measured = measure(mixed(), [name], aim)
    fit, judge = halves(20, 0)
    chosen = measured.chosen(name, fit, judge)
    assert chosen.excess == 0

    def cost(spec):
        losses, tokens = lost(measured, spec, fit)
        return losses.mean() + caution * np.sqrt((losses**2).sum()) / len(fit), tokens

    counted, tokens = cost(chosen.spec)
    assert counted <= loss + 1e-6
    assert chosen.fitted.tokens == pytest.approx(tokens)
    for spec in measured.specs:
        other, spent = cost(spec)
        assert other > loss or spent >= tokens - 1e-9


def easy_and_hard():
    """The fitted half of split 0 always agrees with itself; the other half changes its mind."""
    fit, judge = halves(8, 0)
    easy = {int(n): in_order("aaaaaaaaaa", tokens=10, name=f"q{n}") for n in fit}
    hard = {int(n): in_order("bbbbaaaaaa", (1,), tokens=10, name=f"q{n}") for n in judge}
    return [(easy | hard)[n] for n in range(8)], fit, judge


def test_judged_on_the_others():
    """What is judged comes from the other half alone, however well the choice did on its own."""
    questions, _, judge = easy_and_hard()
    measured = measure(questions, ["esc"], AIM)
    (chosen,) = calibrate_splits(measured, "esc", 1)
    assert chosen.spec.params == {"window": 2}
    assert chosen.fitted.accuracy_change.estimate == 0
    assert chosen.fitted.saved.estimate == pytest.approx(0.8)
    assert chosen.judged.accuracy.estimate == 0
    assert chosen.judged.accuracy_change.estimate == -1
    alone = measure([questions[n] for n in judge], ["esc"], AIM)
    again = alone.chosen("esc", np.arange(4), np.arange(4))
    assert again.spec != chosen.spec, "the other half would have chosen otherwise"


@pytest.mark.parametrize("name", [name for name in CALIBRATED if name != "length"])
def test_the_others_choose_nothing(name):
    """Whatever the judged half holds, the choice is the same."""
    questions, fit, judge = easy_and_hard()
    one = measure(questions, [name], AIM).chosen(name, fit, judge)
    others = [in_order("ab" * 5, (1,), name=f"q{n}") for n in range(8)]
    swapped = [others[n] if n in judge else questions[n] for n in range(8)]
    two = measure(swapped, [name], AIM).chosen(name, fit, judge)
    assert one.spec == two.spec
    assert one.fitted == two.fitted
    assert one.judged != two.judged


def test_caution():
    """What gained on some and lost on others by chance does not look free to the cautious."""
    gained = [in_order("aabbbbbbbb", (0,), name=f"g{n}") for n in range(10)]
    fell = [in_order("bbaaaaaaaa", (1,), name=f"l{n}") for n in range(10)]
    questions, every = [*gained, *fell], np.arange(20)
    bold = measure(questions, ["esc"], replace(AIM, caution=0.0)).chosen("esc", every, every)
    careful = measure(questions, ["esc"], replace(AIM, caution=2.0)).chosen("esc", every, every)
    assert bold.spec.params["window"] == 2
    assert bold.fitted.accuracy_change.estimate == 0
    assert careful.spec.params["window"] > 2
    assert careful.fitted.saved.estimate < bold.fitted.saved.estimate


def test_nobody_is_good_enough():
    """Where every candidate loses too much, the one that loses least is chosen, and says so."""
    questions = [in_order("bbbbbbaaaaaaa", (1,), name=f"q{n}") for n in range(3)]
    questions += [in_order("bbbbaaaaaaaaa", (1,), name="q3")]
    every = np.arange(4)
    aim = replace(AIM, cap=13, caution=0.0)
    measured = measure(questions, ["beta"], aim)
    chosen = measured.chosen("beta", every, every)
    confidences = {
        spec.params["confidence"]: lost(measured, spec, every)[0].mean() for spec in measured.specs
    }
    least = min(confidences.values())
    assert least > 0
    assert confidences[chosen.spec.params["confidence"]] == least
    assert chosen.excess == pytest.approx(least - aim.loss)


def test_lock():
    """The lock is added to every candidate where it is wanted, to what is fitted too."""
    for has_lock in (True, False):
        measured = measure(mixed(8), ["beta", "skyline"], replace(AIM, has_lock=has_lock))
        assert {spec.has_lock for spec in measured.specs} == {has_lock}
        for name in ("beta", "skyline"):
            assert measured.chosen(name, *halves(8, 0)).spec.has_lock == has_lock


# Measuring.


def test_told():
    """Whoever watches hears how many replays there are, and of each."""
    told, total, splits = [], [], []
    measured = measure(mixed(6), ["beta"], AIM, lambda: told.append(1), total.append)
    assert total == [len(told)]
    assert len(calibrate_splits(measured, "beta", 3, lambda: splits.append(1))) == 3
    assert splits == [1, 1, 1]


@pytest.mark.parametrize(
    ("kind", "match", "names", "aim"),
    [
        (UnknownName, "unknown policy to calibrate: 'bet'.*did you mean 'beta'", ["bet"], AIM),
        (UserError, "cap 40 is beyond what was recorded", ["beta"], replace(AIM, cap=40)),
    ],
)
def test_mistakes(kind, match, names, aim):
    """A policy without candidates and a cap beyond the recording are refused."""
    with pytest.raises(kind, match=match):
        measure(mixed(6), names, aim)


def test_not_measured():
    """A policy that was not measured cannot be chosen."""
    with pytest.raises(UnknownName, match="unknown measured policy 'esc' .*beta"):
        measure(mixed(6), ["beta"], AIM).chosen("esc", *halves(6, 0))
