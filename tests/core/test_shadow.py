"""`shadow`: the program runs as under even, and says what another policy would have done."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.stage import EVEN, Stage, toy

from dynasor.core.allocation import Grant, Onlooker, Shadowing, View, make_policy, policies
from dynasor.core.commands import Answered, Shadowed
from dynasor.core.errors import ConfigError, UnknownName
from dynasor.core.program import Ask, Sample
from dynasor.core.types import Answer, Generate, PolicySpec, Prompt

WORDS = ["x", "y", "z"]
BEGINNING = View(3, 0, 0, 0, {}, None)


def shadow(policy, has_lock=False, in_flight=None, **params):
    told = {"policy": policy, "params": params}
    return PolicySpec("shadow", told | ({"in_flight": in_flight} if in_flight else {}), has_lock)


def run(on, policy, words, tokens=10, backwards=False):
    """Run one program whose branches say these words, in the order of their launch."""
    program = on.arrive(cap=len(words), policy=policy)
    said = {f"{program}#{number}": f"so {word}" for number, word in enumerate(words, 1)}
    while program not in on.bills:
        call = on.calls[-1 if backwards else 0]
        if call in on.aborted:
            on.cancel(call)
        else:
            on.finish(call, said[call], tokens)
    return on.answers[program]


def test_it_acts_like_even(stage):
    """Nothing that happens differs from even allocation, but for what the answer reports."""
    words = ["x"] * 20
    shadowed, plain = stage(slots=4), stage(slots=4)
    run(shadowed, shadow("beta", has_lock=True), words)
    run(plain, EVEN, words)
    assert plain.answers["p0"].shadow is None

    def without(log):
        return [
            [one if not isinstance(one, Answered) else one.reason for one in commands]
            for _, _, commands in log
        ]

    assert without(shadowed.log)[2:] == without(plain.log)[2:]


def test_what_it_reports(stage):
    """It says where the other policy would have stopped, why, and what was spent after that."""
    answered = run(stage(), shadow("beta"), ["x"] * 20)
    assert (answered.knob, answered.reason) == (20, "cap")
    assert answered.shadow == Shadowed(4, "certain", 160, "x", is_same=True)


def test_a_different_answer(stage):
    """Where the early answer is another one, it says so."""
    answered = run(stage(), shadow("threshold", detect=2, at=0.5), ["y", "y", "x", "x", "x"])
    assert answered.answer.value == "x"
    assert answered.shadow == Shadowed(2, "certain", 30, "y", is_same=False)


def test_the_lock_is_the_other_policys(stage):
    """With the lock it is the policy that is asked that would have stopped by it."""
    words = ["x"] * 3 + ["y"] * 2
    locked = run(stage(), shadow("even", has_lock=True), words)
    assert (locked.knob, locked.shadow.reason, locked.shadow.knob) == (5, "locked", 3)
    assert run(stage(), shadow("even"), words).shadow.reason == "cap"


def test_it_would_have_gone_on(stage):
    """A program that ends before the other policy stops reports that nothing was spent after."""
    on = stage(slots=2)
    program = on.arrive(cap=9, policy=shadow("beta", confidence=1.0), deadline_seconds=5.0)
    on.finish(on.calls[0])
    on.fire(f"deadline:{program}")
    assert on.answers[program].shadow == Shadowed(1, "", 0, "x", is_same=True)
    on.drain()


@settings(max_examples=60)
@given(
    words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=12),
    policy=st.sampled_from(
        [
            shadow("threshold", detect=3, at=0.6),
            shadow("stepwise", every=2, at=0.6, has_lock=True),
            shadow("beta", in_flight=1),
            shadow("beta", in_flight=3, order="finish", has_lock=True),
            shadow("sequential", has_lock=True, in_flight=None),
            shadow("esc"),
        ]
    ),
    seed=st.integers(0, 99),
)
def test_as_if_it_had_run(words, policy, seed):
    """Whatever finishes first, it stops where the policy itself stops with one unit at a time."""
    told = policy.params
    params = {"in_flight": 1} | {k: v for k, v in told["params"].items() if k != "in_flight"}
    alone = PolicySpec(told["policy"], params, policy.has_lock)
    own = run(Stage(), alone, words)
    order, on = Random(seed), Stage(slots=12)
    program = on.arrive(cap=len(words), policy=policy)
    said = {f"{program}#{number}": f"so {word}" for number, word in enumerate(words, 1)}
    while program not in on.bills:
        call = order.choice(on.calls)
        on.finish(call, said[call])
    seen = on.answers[program].shadow
    assert (seen.knob, seen.reason) == (own.knob, own.reason)
    assert seen.answer == (own.answer and own.answer.value)


@pytest.mark.parametrize(("final", "is_same"), [("early", True), ("late", False)])
def test_a_program_that_does_not_vote(stage, final, is_same):
    """Without votes the program is looked at as it stands, with its answer of that moment."""

    def execute(self, context):
        while (yield Ask()).knob:
            yield Sample(Generate(Prompt(())))
            self.knob += 1

    members = {
        "update_certaindex": lambda self: {"sure": self.knob / 10},
        "answer": lambda self: Answer("early" if self.knob < 8 else final, "text"),
    }
    on = stage(toy(execute, cap=10, **members))
    on.arrive("t", spec="toy", params={}, policy=shadow("stepwise", every=1, at={"sure": 0.4}))
    on.drain()
    found = on.answers["t"].shadow
    assert (found.knob, found.reason, found.tokens_after) == (4, "certain", 60)
    assert (found.answer, found.is_same) == ("early", is_same)


def test_it_never_harms_the_program(stage):
    """A policy that cannot be asked is reported, and the program answers as ever."""
    answered = run(stage(), shadow("threshold", detect=1, at={"none": 0.5}), ["x"] * 3)
    assert (answered.status, answered.knob) == ("answered", 3)
    assert answered.shadow.reason == ""
    assert "signal 'none'" in answered.shadow.error


def test_a_policy_whose_code_raises():
    """What a policy raises is told, and it is not asked again."""

    class Broken:
        def decide(self, view):
            raise ZeroDivisionError("boo")

    onlooker = Onlooker(Broken(), 3)
    for _ in range(2):
        onlooker.look(BEGINNING, lambda: None)
    assert onlooker.error == "ZeroDivisionError: boo"


def test_a_policy_that_grants_nothing():
    """A policy that would have let its program starve would have ended it."""

    class Mean:
        def decide(self, view):
            return Grant(0)

    onlooker = Onlooker(Mean(), 3)
    onlooker.look(BEGINNING, lambda: None)
    assert onlooker.stop.reason == "nothing granted"


def test_by_name():
    """It is built with the policy that it names; what cannot be built is refused at once."""
    made = make_policy(shadow("beta", has_lock=True, confidence=0.9), policies())
    assert isinstance(made, Shadowing)
    assert made.inner.inner.confidence == 0.9
    with pytest.raises(UnknownName, match="unknown policy 'bta'.*did you mean 'beta'"):
        make_policy(shadow("bta"), policies())
    with pytest.raises(ConfigError, match="policy 'beta'.*confidence"):
        make_policy(shadow("beta", confidence=7), policies())
    with pytest.raises(ConfigError, match="cannot ask itself"):
        make_policy(shadow("shadow"), policies())
