"""Rebase: level by level, with a width that follows the rewards."""

from __future__ import annotations

from itertools import pairwise
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.searches import Script, endless, policy_of, search, tree_holds, unfold
from toys.stage import EVEN
from toys.words import said

from dynasor.core.allocation import Grant, Stop
from dynasor.core.certaindex import entropy_certaindex
from dynasor.core.types import PolicySpec, Score
from dynasor.programs.rebase import Rebase, softmax_shares

WIDE = 64

# Four first steps, one of which answers; `a` is much better than `c`, `b` a little worse.
STEPS = {
    "": ["a none", "b none", "c none", "so red"],
    "a none\n": ["so blue", "so red"],
    "b none\n": ["so blue"],
}
REWARDS = {
    "a none\n": 1.0,
    "b none\n": 0.9,
    "c none\n": 0.0,
    "so red\n": 0.3,
    "a none\nso blue\n": 0.8,
    "a none\nso red\n": 0.7,
    "b none\nso blue\n": 0.2,
}


@pytest.fixture
def play(stage):
    """Run a search by a script to its end; return the stage, the program and its answer."""

    def run(script, policy=EVEN, **params):
        on = stage(slots=WIDE)
        name, program = search(on, "rebase", policy, **params)
        script.play(on)
        tree_holds(program)
        return on, program, on.answers[name]

    return run


# Shares.

rewards = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40)
balances = st.one_of(st.floats(1e-3, 10.0), st.sampled_from([5e-324, 1e-300, 1e300, float("inf")]))


@given(rewards, st.integers(1, 256), balances)
def test_shares(rewards, width, balance):
    """Shares sum to the width and none is negative, at any temperature."""
    shares = softmax_shares(rewards, width, balance)
    assert sum(shares) == width
    assert len(shares) == len(rewards)
    assert min(shares) >= 0


@given(rewards, st.integers(1, 256), st.floats(0.05, 10.0))
def test_quota(rewards, width, balance):
    """A share is its exact part, rounded down or up; a higher reward never gets less."""
    shares = softmax_shares(rewards, width, balance)
    total = sum(exp(one / balance) for one in rewards)
    ranked = sorted(zip(rewards, shares, strict=True))
    for one, share in ranked:
        assert abs(share - width * exp(one / balance) / total) < 1 + 1e-6
    for (one, less), (other, share) in pairwise(ranked):
        assert share >= less or other - one < 1e-6


def test_largest_remainders():
    """What is left goes to the largest remainders, and to the first of equals."""
    assert softmax_shares([1.0, 0.9, 0.0], 3, 0.1) == [2, 1, 0], "2.193, 0.807 and nothing"
    assert softmax_shares([0.5] * 3, 4, 0.1) == [2, 1, 1]
    assert softmax_shares([0.5] * 3, 2, 0.1) == [1, 1, 0]
    assert softmax_shares([0.2, 0.3], 5, 1.0) == [2, 3], "2.375 and 2.625"
    assert softmax_shares([0.0], 7, 0.1) == [7]


# A search.


def test_search(play):
    """The width follows the rewards, and a path that is finished leaves with its part."""
    script = Script(STEPS, REWARDS)
    on, program, answered = play(script, cap=4, choose="best")
    assert unfold(program) == [
        (1, "a none\n"),
        (1, "b none\n"),
        (1, "c none\n"),
        (1, "so red\n"),
        (2, "so blue\n"),
        (2, "so red\n"),
        (2, "so blue\n"),
    ]
    assert [node.reward for node in program.nodes] == list(REWARDS.values())
    assert [node.is_finished for node in program.nodes] == [False] * 3 + [True] * 4
    assert [node.answer for node in program.nodes[3:]] == ["red", "blue", "red", "blue"]
    assert {node.unit for node in program.nodes} == {1}
    assert {node.tokens for node in program.nodes} == {10}
    assert [len(texts) for texts in script.judged] == [4, 3]
    assert (answered.status, answered.reason, answered.knob) == ("answered", "cap", 4)
    assert (answered.answer.value, answered.answer.text) == ("blue", "a none\nso blue")
    assert answered.notes == {}
    assert on.bills["p0"].spending.completion_tokens == 7 * 10 + 2
    assert on.bills["p0"].calls == 9


def test_certaindex(play):
    """The certaindex is the entropy of the answers, and the highest reward of a finished path."""
    _, _, answered = play(Script(STEPS, REWARDS), cap=4)
    assert answered.certaindex == {
        "entropy": pytest.approx(entropy_certaindex([2, 2])),
        "reward": 0.8,
    }


def test_best_or_vote(play):
    """`vote`, the default, weighs classes by the rewards of their paths; `best` takes one path."""
    rewards = {**REWARDS, "a none\nso red\n": 0.75, "b none\nso blue\n": 0.0, "so red\n": 0.3}
    _, _, voted = play(Script(STEPS, rewards), cap=4)
    assert voted.votes == {"red": pytest.approx(1.05), "blue": pytest.approx(0.8)}
    assert voted.answer.value == "red"
    _, _, best = play(Script(STEPS, rewards), cap=4, choose="best")
    assert (best.votes, best.answer.value) == ({}, "blue")


def test_all_at_once(play):
    """Where every first step answers, there is one level: as many samples as paths."""
    on, program, answered = play(Script({"": ["so red"]}), cap=9)
    assert len(program.nodes) == 9
    assert on.bills["p0"].calls == 10
    assert answered.votes == {"red": 4.5}


def test_what_is_sent(stage):
    """A step goes on from its path, stops at the end of a step, and asks for no more tokens."""
    on = stage(slots=WIDE)
    params = {"cap": 1, "step_tokens": 30, "max_tokens": 50, "temperature": 0.2, "top_p": 0.9}
    search(on, "rebase", **params, step_end="\n\n")
    script = Script(
        {
            "": [said("a none", 25)],
            "a none\n\n": [said("b none", 25)],
            "a none\n\nb none\n\n": [said("so red", 1)],
        }
    )
    script.play(on)
    works = [submit.call.work for submit in on.submits]
    samples = [work for work in works if not isinstance(work, Score)]
    assert [work.prompt.prefix for work in samples] == list(script.steps)
    assert [work.sampling.max_tokens for work in samples] == [30, 25, 1], "what the path has left"
    assert {work.sampling.stop for work in samples} == {("\n\n",)}
    assert {(work.sampling.temperature, work.sampling.top_p) for work in samples} == {(0.2, 0.9)}
    scores = [work for work in works if isinstance(work, Score)]
    assert [work.items[0].messages for work in scores] == [samples[0].prompt.messages] * 3
    assert {submit.call.pool for submit in on.submits} == {"generate", "reward"}


# Grants.


def test_second_search(play):
    """What is granted after a detection is an independent search; the paths of both are pooled."""
    script = Script({"": ["so red", "so blue", "a none", "so blue"], "a none\n": ["so green"]})
    policy = PolicySpec("threshold", {"detect": 2, "at": 0.9}, has_lock=False)
    _, program, answered = play(script, policy, cap=5)
    assert [(node.unit, node.parent.text) for node in program.nodes] == [
        (1, ""),
        (1, ""),
        (3, ""),
        (3, ""),
        (3, ""),
        (3, "a none\n"),
    ]
    roots = {id(node.parent) for node in program.nodes if not node.parent.text}
    assert len(roots) == 2
    assert (answered.knob, answered.reason) == (5, "cap")
    assert answered.votes == {"red": 0.5, "blue": 1.5, "green": 0.5}


def test_certain_after_the_first_search(play):
    """A search whose paths agree, one of them well rewarded, is enough for the usual policy."""
    script = Script({"": ["so red"]}, {"so red\n": 0.995})
    _, program, answered = play(script, Rebase.usual_policy, cap=64)
    assert (answered.reason, answered.knob, len(program.nodes)) == ("certain", 16, 16)
    script = Script({"": ["so red"]}, {"so red\n": 0.98})
    _, program, answered = play(script, Rebase.usual_policy, cap=20)
    assert (answered.reason, answered.knob) == ("cap", 20), "both signals must be reached"


def test_locked(play):
    """A vote whose leader is safe stops a search: the next level is never sent."""
    steps = {"": ["so red"] * 6 + ["a none"] * 3, "a none\n": ["so blue"]}
    on, program, answered = play(Script(steps, {"so red\n": 1.0}), PolicySpec("even"), cap=9)
    assert (answered.reason, answered.knob, answered.answer.value) == ("locked", 6, "red")
    assert len(program.nodes) == 9
    assert len(on.submits) == 10


def once(view):
    """Grant everything at once, and stop at the first path that is settled."""
    if view.knob:
        return Stop("enough")
    return Grant(view.cap - view.granted)


def test_stopped_in_the_middle(stage):
    """A policy that stops when a level's first path is settled ends the search there."""
    on = stage(slots=WIDE, policies={"once": policy_of(once)})
    name, program = search(on, "rebase", PolicySpec("once", {}, False), cap=4)
    script = Script({"": ["so red", "a none"]}, {"so red\n": 0.9})
    script.play(on)
    answered = on.answers[name]
    assert (answered.reason, answered.knob, answered.answer.value) == ("enough", 1, "red")
    assert len(program.nodes) == 4, "the second level was never begun"
    assert on.bills[name].aborted_calls == 0


def test_deadline(stage):
    """At a deadline the best finished path so far is the answer; what runs is aborted."""
    on = stage(slots=WIDE)
    name, _ = search(on, "rebase", deadline_seconds=9.0, cap=4)
    script = Script(STEPS, REWARDS)
    script.play(on, steps=6)
    running = len(on.live)
    on.fire(f"deadline:{name}")
    answered = on.answers[name]
    assert (answered.status, answered.answer.value, answered.knob) == ("deadline", "red", 1)
    assert running == len(on.aborted) == 2
    script.play(on)
    assert on.bills[name].aborted_calls == 2


def test_deadline_before_any_answer(stage):
    """A deadline before the first finished path fails the program, as for any other."""
    on = stage(slots=WIDE)
    name, _ = search(on, "rebase", deadline_seconds=9.0, cap=4)
    on.fire(f"deadline:{name}")
    assert on.answers[name].error_kind == "DeadlineExceeded"
    Script(STEPS).play(on)


def test_speculative(stage):
    """Speculative units are searches one path wide beside each other; a grant promotes them."""
    grants = policy_of(lambda view: Grant(1 if view.knob else 0, 2 - view.speculative))
    on = stage(slots=WIDE, policies={"eager": grants})
    name, program = search(on, "rebase", PolicySpec("eager", {}, False), cap=3)
    assert [submit.call.is_speculative for submit in on.submits] == [True, True]
    script = Script({"": ["a none", "so red", "so red"], "a none\n": ["so blue"]})
    script.play(on)
    answered = on.answers[name]
    assert answered.knob == 3
    assert sum(answered.votes.values()) == 1.5
    assert sorted(node.unit for node in program.nodes) == [1, 1, 2, 3]
    tree_holds(program)


def test_searches_side_by_side_are_aborted(stage):
    """Where a path of one search is enough, the calls of another one are aborted."""
    grants = policy_of(lambda view: once(view) if view.knob else Grant(0, 2))
    on = stage(slots=WIDE, policies={"eager": grants})
    name, program = search(on, "rebase", PolicySpec("eager", {}, False), cap=3)
    script = Script({"": ["so red"]})
    first, second = on.calls
    script.end(on, first)
    script.end(on, on.calls[-1])
    assert (on.answers[name].reason, on.answers[name].knob) == ("enough", 1)
    assert on.aborted == [second]
    on.cancel(second, tokens=4)
    spending = on.bills[name].spending
    assert (spending.finished_tokens, spending.aborted_tokens) == (11, 4)
    assert (program._votes.launched, program._votes.finished.size) == (2, 1)


# What goes wrong.


def test_lost_step(play):
    """A step that cannot be had is noted, and its width goes to the steps of its level."""
    script = Script(
        {"": ["a none", None, "b none"], "a none\n": ["so red"], "b none\n": ["so red"]}
    )
    _, program, answered = play(script, cap=3)
    assert answered.notes == {"steps lost": 1}
    assert (answered.status, answered.knob, len(program.nodes)) == ("answered", 3, 5)
    assert answered.votes == {"red": 1.5}


def test_every_step_fails(play):
    """Where no first step can be had the program fails with the engine's story."""
    _, program, answered = play(Script({"": [None]}), cap=3)
    assert (answered.status, answered.error_kind) == ("failed", "EngineRefused")
    assert "boo" in answered.error
    assert answered.notes == {"steps lost": 3}
    assert program.nodes == []


def test_every_path_fails(play):
    """Where every path is lost to calls that fail, at any depth, the program fails like them."""
    _, program, answered = play(Script({"": ["a none"], "a none\n": [None]}), cap=3)
    assert (answered.status, answered.error_kind) == ("failed", "EngineRefused")
    assert answered.notes == {"steps lost": 3}
    assert len(program.nodes) == 3


def test_the_rest_fails(play):
    """An engine that is lost after the first finished path leaves that path's answer."""
    _, program, answered = play(Script({"": ["so red", "a none"], "a none\n": [None]}), cap=3)
    assert (answered.status, answered.answer.value, answered.knob) == ("answered", "red", 3)
    assert answered.notes == {"steps lost": 2}
    assert program._votes.lost == 2


def test_second_search_fails(play):
    """A second search none of whose steps can be had leaves the first one's answer."""
    policy = PolicySpec("threshold", {"detect": 2, "at": 1.0}, has_lock=False)
    script = Script({"": ["so red", "so blue", None]})
    _, _, answered = play(script, policy, cap=4)
    assert (answered.status, answered.knob, answered.notes) == ("answered", 4, {"steps lost": 2})
    assert answered.answer.value == "red"


def test_endless_steps(play):
    """Steps that never end are given up and noted; they stay in the tree, unfinished."""
    script = Script({"": [endless("and on and on"), "a none"], "a none\n": ["so red"]})
    on, program, answered = play(script, cap=2)
    assert answered.notes == {"endless steps": 1}
    assert unfold(program)[0] == (1, "and on and on")
    assert not program.nodes[0].is_finished
    assert program.nodes[0].reward is None
    assert script.judged[0] == ["a none\n"], "what is given up is not scored"
    assert (answered.knob, answered.votes) == (2, {"red": 1.0})
    assert on.bills["p0"].spending.finished_tokens == sum(n.tokens for n in program.nodes) + 2


def test_only_endless_steps(play):
    """Where no step ends there is no answer, and the notes say why."""
    _, program, answered = play(Script({"": [endless("hm")]}), cap=3)
    assert (answered.status, answered.answer, answered.knob) == ("answered", None, 3)
    assert answered.notes == {"endless steps": 3}
    assert program._votes.lost == 3


def test_max_steps(play):
    """Paths without an end at the last level are given up and noted."""
    steps = {"": ["a none"], "a none\n": ["b none", "so red"], "a none\nb none\n": ["c none"]}
    _, program, answered = play(Script(steps), cap=2, max_steps=2)
    assert answered.notes == {"paths cut at max_steps": 1}
    assert max(depth for depth, _ in unfold(program)) == 2
    assert (answered.knob, answered.answer.value, program._votes.lost) == (2, "red", 1)


def test_end_without_an_answer(play):
    """A model that has nothing to add has finished: two empty steps in a row say so."""
    script = Script({"": ["a none"], "a none\n": [""], "a none\n\n": [""]})
    _, program, answered = play(script, cap=1)
    assert [node.is_finished for node in program.nodes] == [False, False, True]
    assert (answered.knob, answered.answer) == (1, None)
    assert answered.notes == {"paths without answer": 1}
    assert answered.votes == {}


def test_blank_lines(play):
    """One blank line is no end, neither in the middle nor at the beginning, nor one of spaces."""
    steps = {"": [""], "\n": ["a none"], "\na none\n": ["  "], "\na none\n  \n": ["so red"]}
    _, program, answered = play(Script(steps), cap=1)
    assert [step for _, step in unfold(program)] == ["\n", "a none\n", "  \n", "so red\n"]
    assert (answered.answer.value, answered.answer.text) == ("red", "\na none\n  \nso red")


def test_nothing_at_all(play):
    """A model that says nothing gives no answer, and the search ends."""
    _, program, answered = play(Script({"": [""], "\n": [""]}), cap=2)
    assert (answered.status, answered.answer, answered.knob) == ("answered", None, 2)
    assert [depth for depth, _ in unfold(program)] == [1, 1, 2, 2]


@pytest.mark.parametrize("balance", [0.0, -1.0])
def test_balance(stage, balance):
    """A balance that divides by nothing is refused."""
    on = stage()
    name = on.arrive(spec="rebase", params={"question": "q", "task": "words", "balance": balance})
    assert on.answers[name].error_kind == "ConfigError"
    assert on.answers[name].error == f"balance is {balance}; it must be above 0"
