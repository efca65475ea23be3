"""Tables of policies on recorded samples: what every table holds, whatever was recorded."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace
from toys.recorded import in_order, recorded, recordings

from dynasor.core.allocation import Grant, Stop
from dynasor.core.errors import UserError
from dynasor.core.types import PolicySpec
from dynasor.evaluate import offline
from dynasor.evaluate.offline import (
    TUNING_SEEDS,
    Means,
    Plan,
    compare,
    evaluate_plan,
    length_specs,
    means,
    steps,
    tune_length,
    with_width,
)
from dynasor.evaluate.replay import Job, replay, replay_all

LOCKED = PolicySpec("even", {}, has_lock=True)
BETA = PolicySpec("beta", {}, has_lock=False)


def mixed(count=12, samples=10, seed=0):
    """Questions from easy to open, long ones among them."""
    chance = Random(seed)
    found = []
    for n in range(count):
        answers = "".join("a" if chance.random() < 0.4 + n / count / 2 else "b" for _ in range(10))
        tokens = [chance.randint(1, 40 - 2 * n) for _ in range(samples)]
        found.append(recorded(answers, (n % 2,), tokens, f"q{n}"))
    return found


def table(questions, **rest):
    plan = Plan(**{"rows": {}, "caps": (8,), "seeds": 3, "processes": 1, **rest})
    return evaluate_plan(questions, plan)


def test_every_table():
    """Each cap and width has even, the rows as named, the tuned length and the oracle."""
    rows = {"mine": BETA, "safe": LOCKED}
    lines = table(mixed(), rows=rows, caps=(4, 8), widths=(1, None))
    blocks = [(cap, width) for cap in (4, 8) for width in (1, None)]
    assert [(line.cap, line.width) for line in lines] == [one for one in blocks for _ in range(5)]
    for start in range(0, len(lines), 5):
        names = [line.policy for line in lines[start : start + 5]]
        assert names[:3] == ["even", "mine", "safe"]
        assert names[3].startswith("length")
        assert names[4] == "oracle"


def test_even():
    """Even saves nothing of itself, exactly, and all of its cap is used."""
    even = table(mixed())[0]
    assert (even.saved.low, even.saved.estimate, even.saved.high) == (0, 0, 0)
    assert (even.accuracy_change.low, even.accuracy_change.high) == (0, 0)
    assert (even.knob, even.launched) == (8, 8)


@given(
    st.lists(recordings(least=6, most=6), min_size=1, max_size=4),
    st.integers(0, 3),
    st.sampled_from([1, 3, None]),
)
@settings(max_examples=25)
def test_lock_is_lossless(drawn, seed, width):
    """The lock never changes what an answer is worth, however many run at once."""
    questions = [replace(one, id=f"q{n}") for n, one in enumerate(drawn)]
    specs = (PolicySpec("even", {"in_flight": width}, has_lock=lock) for lock in (False, True))
    plain, locked = (replay(questions, Job(spec, 6), seed) for spec in specs)
    assert plain.quality.tolist() == locked.quality.tolist()
    assert (locked.tokens <= plain.tokens).all()


@pytest.mark.parametrize("loss", [0.0, 0.02, 0.5])
def test_tuned_length(loss):
    """The tuned length loses no more than allowed on its shuffles, and none saves more."""
    questions = mixed()
    plan = Plan({}, (8,), seeds=20, loss=loss, processes=1)
    tuned = tune_length(questions, plan, 8, 1)

    def outcome(spec):
        runs = replay_all(questions, [Job(with_width(spec, 1), 8)], range(TUNING_SEEDS), 1)[0]
        found = means(runs)
        return found.quality.mean(), found.tokens.mean()

    floor = outcome(PolicySpec("even", has_lock=False))[0] - loss
    quality, tokens = outcome(tuned)
    assert quality >= floor
    allowed = [outcome(spec) for spec in length_specs(questions, 8)]
    assert tokens == min(spent for worth, spent in allowed if worth >= floor)


def test_untunable_length():
    """Where every threshold loses too much, the length baseline never stops."""
    questions = [in_order("bbbbbaaaaaa", (1,), name=f"q{n}") for n in range(8)]
    assert tune_length(questions, Plan({}, (11,), seeds=2), 11, 1).params["tokens"] == 0


def test_intervals():
    """Every interval holds its estimate, and shares are shares."""
    for line in table(mixed(), rows={"beta": BETA, "lock": LOCKED}, widths=(1, 4)):
        for interval in (line.accuracy, line.accuracy_change, line.saved):
            assert interval.estimate in interval
        assert 0 <= line.saved.estimate < 1
        assert 0 <= line.accuracy.low <= line.accuracy.high <= 1
        assert line.knob <= line.launched <= 8


def test_paired():
    """A line compares the same shuffles: by hand, from replays of its own."""
    questions = mixed()
    row = table(questions, rows={"beta": BETA}, widths=(2,))[1]
    even, beta = (
        means([replay(questions, Job(with_width(spec, 2), 8), seed) for seed in range(3)])
        for spec in (PolicySpec("even", has_lock=False), PolicySpec("beta", has_lock=False))
    )
    assert row.saved.estimate == pytest.approx(1 - beta.tokens.sum() / even.tokens.sum())
    assert row.accuracy_change.estimate == pytest.approx((beta.quality - even.quality).mean())
    assert row.tokens == pytest.approx(beta.tokens.mean())


def test_width():
    """A policy that says itself how many run is not overruled."""
    assert with_width(BETA, 3).params == {"in_flight": 3}
    assert with_width(PolicySpec("beta", {"in_flight": 7}), 3).params == {"in_flight": 7}


def outcomes(tokens, quality):
    count = len(tokens)
    ones, worth = np.ones(count), np.array(quality, float)
    return Means(np.array(tokens, float), ones, ones, worth, np.zeros(count))


def test_nothing_spent():
    """Questions without tokens have nothing to save: they are no reason for a warning."""
    even = outcomes([0, 10, 0], [1, 1, 0])
    some = compare("some", 1, 1, outcomes([0, 5, 0], [1, 1, 0]), even)
    assert (some.saved.low, some.saved.estimate, some.saved.high) == (0.5, 0.5, 0.5)
    nothing = outcomes([0, 0, 0], [1, 1, 0])
    assert compare("none", 1, 1, nothing, nothing).saved.estimate == 0
    assert table([recorded("abab" * 2, tokens=0, name=f"q{n}") for n in range(3)])[-1].tokens == 0


@pytest.mark.parametrize("questions", [[recorded("a" * 8)], [recorded("-" * 8)]])
def test_one_question(questions):
    """One question, even one without any answer, makes a table."""
    for line in table(questions, rows={"beta": BETA}):
        assert line.accuracy.low == line.accuracy.high == line.accuracy.estimate


def test_cap_first():
    """A cap beyond what was recorded is refused before anything is replayed."""
    told = []
    plan = Plan({}, (2, 30), processes=1)
    with pytest.raises(UserError, match="cap 30 is beyond"):
        evaluate_plan(mixed(), plan, lambda: told.append(1))
    assert told == []


def test_steps():
    """The steps told of bound the replays that are made."""
    told = []
    plan = Plan({"beta": BETA}, (4, 8), widths=(1, 2), seeds=3, processes=1)
    evaluate_plan(mixed(), plan, lambda: told.append(1))
    assert 0 < len(told) <= steps(plan)


class Early(Struct, frozen=True):
    """A policy of one's own without parameters: two branches are enough."""

    def decide(self, view):
        """Stop after two."""
        return Stop("two") if view.knob == 2 else Grant(2 - view.granted)


def test_own_policy():
    """A row may name a policy of one's own."""
    lines = table(mixed(), rows={"early": PolicySpec("early")}, policies={"early": Early})
    assert (lines[1].policy, lines[1].knob) == ("early", 2)


def test_length_levels():
    """The length's thresholds rise from 0, and none stands twice."""
    levels = [spec.params["tokens"] for spec in length_specs(mixed(), 8)]
    assert levels[0] == 0
    assert levels == sorted(set(levels))
    assert len(levels) <= offline.TUNING_STEPS
