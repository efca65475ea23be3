"""Best-of-n: every branch is judged, and the best one or the weightiest class answers."""

from __future__ import annotations

import pytest
from toys.searches import FLAWS, Script, search

from dynasor.core.types import PolicySpec, Score, Scored, Usage

POLICY = PolicySpec("even", {"in_flight": 1}, has_lock=False)
LOCKED = PolicySpec("even", {"in_flight": 1})


@pytest.fixture
def play(stage):
    """Run branches from texts and rewards, one after the other; None: it cannot be scored."""

    def run(*branches, policy=POLICY, cap=None, **params):
        on = stage()
        on.pool("reward", judge=4)
        everything = {"question": "q", "task": "words", "cap": cap or len(branches), **params}
        program = on.arrive(spec="best-of-n", policy=policy, params=everything)
        for text, reward in branches:
            if program in on.answers:
                break
            on.finish(on.calls[0], text)
            if reward is None:
                on.fail(on.calls[0], "EngineRefused", is_retryable=False)
            else:
                on.finish(on.calls[0], Scored((reward,), Usage(3, 0)))
        return on, on.answers[program]

    return run


def test_best(play):
    """The branch of the highest reward answers, though others agree."""
    _, answered = play(("so red", 0.3), ("so blue", 0.9), ("so red", 0.4))
    assert (answered.answer.value, answered.answer.text) == ("blue", "so blue")
    assert answered.certaindex["reward"] == 0.9
    assert 0 < answered.certaindex["entropy"] < 1


def test_best_of_equals(play):
    """Of equal rewards the first one answers."""
    _, answered = play(("so red", 0.5), ("so blue", 0.5))
    assert answered.answer.value == "red"


def test_vote(play):
    """With `vote` the class of the highest sum of rewards answers."""
    branches = [("so red", 0.3), ("so blue", 0.9), ("a red", 0.4), ("so red", 0.3)]
    _, answered = play(*branches, choose="vote")
    assert answered.answer.value == "red"
    assert answered.votes == pytest.approx({"red": 1.0, "blue": 0.9})
    _, answered = play(*branches[:3], choose="vote")
    assert answered.answer.value == "blue"


def test_what_is_scored(play):
    """The judge sees the question and the whole branch."""
    on, _ = play(("so red", 0.5))
    work = on.submits[1].call.work
    assert isinstance(work, Score)
    (item,) = work.items
    assert item.messages == on.submits[0].call.work.prompt.messages
    assert item.prefix == "so red"
    assert on.submits[1].call.pool == "reward"


def test_null(play):
    """A branch without an answer is never the best one."""
    _, answered = play(("none", 1.0), ("so red", 0.1))
    assert answered.answer.value == "red"
    assert answered.certaindex["reward"] == 1.0


def test_all_null(play):
    """Without any answer there is none."""
    _, answered = play(("none", 0.5), ("none", 0.6))
    assert (answered.status, answered.answer, answered.knob) == ("answered", None, 2)


def test_not_scored(play):
    """A branch that cannot be scored stands between good and bad ones, and is noted."""
    _, answered = play(("so red", None), ("so blue", 0.1), choose="vote")
    assert (answered.answer.value, answered.votes, answered.knob) == (
        "red",
        {"red": 0.5, "blue": 0.1},
        2,
    )
    assert answered.notes == {"scores lost": 1}
    _, answered = play(("so red", None), ("so blue", 0.6))
    assert answered.answer.value == "blue"


def test_no_judge(play):
    """Without a judge the first branch answers, no reward is claimed, and the notes say so."""
    _, answered = play(("so red", None), ("so blue", None), ("so blue", None))
    assert (answered.status, answered.answer.value, answered.knob) == ("answered", "red", 3)
    assert answered.certaindex["reward"] == 0.0
    assert answered.notes == {"scores lost": 3}


@pytest.mark.parametrize("flaw", FLAWS)
def test_broken_judge(stage, flaw):
    """Rewards that cannot be used are no rewards."""
    on = stage()
    name, _ = search(on, "best-of-n", POLICY, cap=2)
    Script({"": ["so red"]}, judge=FLAWS[flaw]).play(on)
    assert (on.answers[name].status, on.answers[name].answer.value) == ("answered", "red")
    assert on.answers[name].notes == {"scores lost": 2}


def test_lost_branch(stage):
    """A branch that cannot be had is not scored, and is noted."""
    on = stage()
    name, _ = search(on, "best-of-n", POLICY, cap=2)
    script = Script({"": [None, "so red"]})
    script.play(on)
    assert on.answers[name].notes == {"branches lost": 1}
    assert on.answers[name].answer.value == "red"
    assert script.judged == [["so red"]]


def test_signal(play):
    """A threshold on the reward stops at the first branch that is good enough."""
    policy = PolicySpec("stepwise", {"every": 1, "at": {"reward": 0.8}, "in_flight": 1}, False)
    _, answered = play(("so red", 0.5), ("so blue", 0.85), ("so red", 0.9), policy=policy)
    assert (answered.reason, answered.knob, answered.answer.value) == ("certain", 2, "blue")


def test_lock(play):
    """Only `vote` stops because its leader is safe: the best branch can still come."""
    agreed = [("so red", 1.0)] * 4
    _, answered = play(*agreed, ("so blue", 1.0), policy=LOCKED, choose="vote")
    assert (answered.reason, answered.knob) == ("locked", 3)
    _, answered = play(*agreed, ("so blue", 1.0), policy=LOCKED)
    assert (answered.reason, answered.knob) == ("cap", 5)


def test_lock_counts_rewards(play):
    """Small rewards do not make a safe leader: what is to come may weigh 1 each."""
    _, answered = play(*[("so red", 0.2)] * 5, policy=LOCKED, choose="vote")
    assert (answered.reason, answered.knob) == ("cap", 5)


def test_no_votes(play):
    """A policy of votes is refused where nothing is voted on."""
    policy = PolicySpec("beta", {"in_flight": 1}, has_lock=False)
    _, answered = play(("so red", 0.5), policy=policy)
    assert answered.status == "failed"
    assert "needs votes" in answered.error
