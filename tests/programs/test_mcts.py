"""MCTS: where iterations go on from, what they back up, and that nothing stays behind."""

from __future__ import annotations

import pytest
from toys.searches import Script, depth_of, endless, search, tree_holds, unfold
from toys.words import said

from dynasor.core.certaindex import entropy_certaindex
from dynasor.core.types import PolicySpec, Score
from dynasor.programs.mcts import Mcts
from dynasor.programs.selection import Branch

ONE = PolicySpec("even", {"in_flight": 1}, has_lock=False)

# Three iterations at a width of 2: from the root, from the root again, and after `one`.
STEPS = {"": ["one\ntwo\nso red", "uno\nso blue"], "one\n": ["so red"]}
REWARDS = {
    "one\n": 0.9,
    "one\ntwo\n": 0.4,
    "one\ntwo\nso red\n": 1.0,
    "uno\n": 0.1,
    "uno\nso blue\n": 0.0,
    "one\nso red\n": 0.6,
}


@pytest.fixture
def play(stage):
    """Run iterations by a script to the end; return the stage, the program and its answer."""

    def run(script, policy=ONE, **params):
        on = stage(slots=16)
        name, program = search(on, "mcts", policy, **{"task": "conclusion", **params})
        script.play(on)
        tree_holds(program)
        nothing_is_virtual(program)
        return on, program, on.answers[name]

    return run


def root_of(program):
    return list(program.nodes[0].path())[-1]


def everything(program):
    """The root and all steps."""
    return [root_of(program), *program.nodes]


def nothing_is_virtual(program):
    """Assert that no step has rollouts under way."""
    for node in everything(program):
        assert (node.virtual, node.growing) == (0, 0), node.text


def samples(on):
    """What was asked of the generating engine."""
    works = [submit.call.work for submit in on.submits]
    return [work for work in works if not isinstance(work, Score)]


def test_search(play):
    """Three iterations by hand: their tree, visits, values and answer."""
    script = Script(STEPS, REWARDS)
    on, program, answered = play(script, cap=3, width=2)
    assert [work.prompt.prefix for work in samples(on)] == ["", "", "one\n"]
    assert unfold(program) == [
        (1, "one\n"),
        (2, "two\n"),
        (3, "so red\n"),
        (1, "uno\n"),
        (2, "so blue\n"),
        (2, "so red\n"),
    ]
    assert [node.unit for node in program.nodes] == [1, 1, 1, 2, 2, 3]
    assert [node.reward for node in program.nodes] == [0.9, 0.4, 1.0, 0.1, 0.0, 0.6]
    found = [(node.visits, node.total) for node in everything(program)]
    assert found == [(3, 1.6), (2, 1.6), (1, 1.0), (1, 1.0), (1, 0.0), (1, 0.0), (1, 0.6)]
    assert [node.is_finished for node in program.nodes] == [False, False, True, False, True, True]
    assert (answered.status, answered.reason, answered.knob) == ("answered", "cap", 3)
    assert (answered.answer.value, answered.answer.text) == ("red", "one\ntwo\nso red")
    assert answered.certaindex == {
        "entropy": pytest.approx(entropy_certaindex([2, 1])),
        "reward": pytest.approx(1.6 / 3),
    }
    assert answered.notes == {}
    assert script.judged == [
        ["one\n", "one\ntwo\n", "one\ntwo\nso red\n"],
        ["uno\n", "uno\nso blue\n"],
        ["one\nso red\n"],
    ]
    assert on.bills["p0"].spending.completion_tokens == 3 * 11


def test_uct(play):
    """UCT has whole solutions scored alone, and fills a step with new ones before it descends."""
    script = Script(STEPS, REWARDS)
    on, program, _ = play(script, cap=3, width=2, select="uct")
    assert [work.prompt.prefix for work in samples(on)] == ["", "", "one\n"]
    assert [len(texts) for texts in script.judged] == [1, 1, 1]
    assert [node.reward for node in program.nodes] == [None, None, 1.0, None, 0.0, 0.6]
    assert root_of(program).total == 1.6


def test_wide(play):
    """A step takes `width` new ones before it is full."""
    script = Script({"": ["so red"]})
    on, program, answered = play(script, cap=6, width=4, select="uct")
    assert [work.prompt.prefix for work in samples(on)] == [""] * 6
    assert len(root_of(program).children) == 6, "where all is finished the root takes more"
    assert answered.knob == 6


def test_what_is_sent(play):
    """A solution is sampled to its end, with what its path has left of the tokens."""
    steps = {"": [said("aaa\nbbb\nso re", 12), said("uno\nso blue", 5)], "aaa\n": ["so red"]}
    on, _, _ = play(Script(steps, {"aaa\n": 1.0}), cap=3, width=2, max_tokens=20)
    works = samples(on)
    assert [work.sampling.max_tokens for work in works] == [20, 20, 17], "`aaa` cost 3"
    assert {work.sampling.stop for work in works} == {()}


def test_tokens(play):
    """Steps share a sample's tokens by their lengths, all of them and each once."""
    script = Script({"": [said("a\nbbbbbbbb\ncc\nso red", 17)]})
    _, program, _ = play(script, cap=1)
    tokens = [node.tokens for node in program.nodes]
    assert tokens == [1, 7, 3, 6], "17 tokens for 2, 9, 3 and 7 characters"
    assert sum(tokens) == 17


def test_blank_lines(play):
    """Blank lines stay with the step before them."""
    script = Script({"": ["\n\na\n\n\nb\nso red\n\n"]})
    _, program, answered = play(script, cap=1)
    assert [step for _, step in unfold(program)] == ["\n\n", "a\n\n\n", "b\n", "so red\n\n"]
    assert answered.answer.value == "red"


def test_paragraphs(play):
    """Another end of a step cuts elsewhere."""
    script = Script({"": ["a\nb\n\nso red"]})
    _, program, _ = play(script, cap=1, step_end="\n\n")
    assert [step for _, step in unfold(program)] == ["a\nb\n\n", "so red\n\n"]


def test_nothing_said(play):
    """A sample of nothing is a solution without an answer."""
    _, program, answered = play(Script({"": ["", "so red"]}), cap=2)
    assert unfold(program) == [(1, "\n"), (1, "so red\n")]
    assert (answered.answer.value, answered.knob, answered.votes) == ("red", 2, {})


def test_endless_paths(play):
    """A solution that ran into its limit is noted; it counts, with what it came to."""
    script = Script({"": [endless("a\nb none"), "so red"]}, {"a\nb none\n": 0.2, "so red\n": 0.4})
    _, program, answered = play(script, cap=2)
    assert answered.notes == {"endless paths": 1, "paths without answer": 1}
    assert [node.is_finished for node in program.nodes] == [False, True, True]
    assert answered.certaindex["reward"] == pytest.approx(0.3)
    assert answered.answer.value == "red"


def test_max_steps(play):
    """A path has at most `max_steps` steps, from the root: the last one has the rest."""
    steps = {"": ["a\nb\nc\nd\nso red", "so blue"], "a\n": ["x\ny\nso red"]}
    rewards = {"a\n": 1.0, "a\nb\n": 0.5, "so blue\n": 0.0, "a\nb\nc\nd\nso red\n": 1.0}
    _, program, answered = play(Script(steps, rewards), cap=3, width=2, max_steps=3)
    assert unfold(program) == [
        (1, "a\n"),
        (2, "b\n"),
        (3, "c\nd\nso red\n"),
        (1, "so blue\n"),
        (2, "x\n"),
        (3, "y\nso red\n"),
    ]
    assert answered.notes == {"paths cut at max_steps": 2}
    assert answered.answer.text == "a\nb\nc\nd\nso red"


def test_nothing_follows_an_answer(play):
    """The step that gives the answer has all that the model went on to say, and ends its path."""
    steps = {"": ["a\nso red\nthat holds\nso does this", "so blue\nyes"], "a\n": ["so red\nyes"]}
    _, program, answered = play(Script(steps), cap=4, width=2)
    assert unfold(program)[:3] == [
        (1, "a\n"),
        (2, "so red\nthat holds\nso does this\n"),
        (1, "so blue\nyes\n"),
    ]
    assert all(node.is_finished for node in program.nodes if node.text != "a\n")
    assert answered.answer.value in {"red", "blue", "this"}


def test_one_step(play):
    """Where a path is one step, the tree is one level deep."""
    _, program, answered = play(Script({"": ["a\nso red"]}), cap=2, max_steps=1)
    assert unfold(program) == [(1, "a\nso red\n")] * 2
    assert answered.answer.text == "a\nso red"


def test_best_or_vote(play):
    """The best solution answers, or the class of the highest sum of rewards."""
    script = {"": ["so red", "so blue", "oh\nso red"]}
    rewards = {"so red\n": 0.5, "so blue\n": 0.9, "oh\nso red\n": 0.5}
    _, _, best = play(Script(script, rewards), cap=3)
    assert (best.answer.value, best.votes) == ("blue", {})
    _, _, voted = play(Script(script, rewards), cap=3, choose="vote")
    assert (voted.answer.value, voted.votes) == ("red", {"red": 1.0, "blue": 0.9})


# Iterations side by side.


def test_iterations_part(stage):
    """Iterations in flight part by virtual loss: the second one leaves the step of the first."""
    on = stage(slots=16)
    policy = PolicySpec("even", {"in_flight": 2}, has_lock=False)
    _, program = search(on, "mcts", policy, task="conclusion", cap=8, width=2)
    steps = {"": ["a\nso red", "b\nso blue"], "a\n": ["so red"], "b\n": ["so blue"]}
    script = Script(steps, {"a\n": 0.6, "b\n": 0.5, "a\nso red\n": 0.6, "b\nso blue\n": 0.5})
    assert [work.prompt.prefix for work in samples(on)] == ["", ""]
    script.play(on, steps=4)
    assert sorted(on.live[call].call.work.prompt.prefix for call in on.calls) == ["a\n", "b\n"]
    root = root_of(program)
    assert (root.visits, root.virtual) == (2, 2)
    assert [(child.virtual, child.growing) for child in root.children] == [(1, 1), (1, 1)]
    script.play(on)
    nothing_is_virtual(program)
    assert root.visits == 8


def test_more_than_the_root_takes(stage):
    """Before there are any steps all iterations begin at the root, however narrow it is."""
    on = stage(slots=16)
    _, program = search(on, "mcts", cap=6, width=2)
    assert [work.prompt.prefix for work in samples(on)] == [""] * 6
    Script({"": ["so red"]}).play(on)
    assert len(root_of(program).children) == 6
    nothing_is_virtual(program)


@pytest.fixture
def busy(stage):
    """A search with one iteration done and three under way, two of them at their scoring."""

    def make(**rest):
        on = stage(slots=16)
        policy = PolicySpec("even", {"in_flight": 3}, has_lock=False)
        name, program = search(on, "mcts", policy, **{"cap": 9, "width": 2, **rest})
        script = Script(STEPS, REWARDS)
        for _ in range(3):
            script.end(on, on.calls[0])
        script.end(on, on.calls[-1])
        assert [isinstance(on.live[call].call.work, Score) for call in on.calls] == [1, 1, 0]
        assert root_of(program).virtual == 3
        return on, name, program, script

    return make


def test_withdrawn(busy):
    """A search that is taken back leaves no virtual loss behind."""
    on, name, program, _ = busy()
    on.withdraw(name)
    nothing_is_virtual(program)
    assert sorted(on.aborted) == sorted(on.calls)
    on.drain()


def test_deadline(busy):
    """At a deadline the best solution so far is the answer, and no virtual loss is left."""
    on, name, program, script = busy(deadline_seconds=9.0)
    on.fire(f"deadline:{name}")
    answered = on.answers[name]
    assert (answered.status, answered.knob, answered.answer.value) == ("deadline", 1, "blue")
    nothing_is_virtual(program)
    script.play(on)
    assert on.bills[name].aborted_calls == 3


def test_failures(busy):
    """Iterations whose calls fail are lost and noted; their virtual losses are undone."""
    on, name, program, script = busy(cap=4)
    on.fail(on.calls[-1], "EngineRefused", is_retryable=False)
    assert root_of(program).virtual == 2
    script.play(on)
    answered = on.answers[name]
    assert (answered.status, answered.answer.value) == ("answered", "red")
    assert answered.notes == {"iterations lost": 1}
    assert (answered.knob, program._votes.lost, program._votes.finished.size) == (4, 1, 3)
    assert root_of(program).visits == 3
    nothing_is_virtual(program)


def test_stopped(stage):
    """A policy that stops has the iterations under way aborted, and their losses undone."""
    on = stage(slots=16)
    policy = PolicySpec("even", {"in_flight": 3})
    name, program = search(on, "mcts", policy, cap=3, choose="vote")
    script = Script({"": ["so red"]}, {"so red\n": 1.0})
    third = on.calls[2]
    for _ in range(4):
        script.end(on, next(call for call in on.calls if call != third))
    answered = on.answers[name]
    assert (answered.reason, answered.knob, answered.answer.value) == ("locked", 2, "red")
    assert on.aborted == [third]
    nothing_is_virtual(program)
    on.cancel(third, tokens=7)
    assert on.bills[name].spending.aborted_tokens == 7


def test_usual_policy(play):
    """The usual policy measures after three iterations: they agree, and are well rewarded."""
    _, program, answered = play(Script({"": ["so red"]}, {"so red\n": 0.4}), Mcts.usual_policy)
    assert (answered.reason, answered.knob, len(program.nodes)) == ("certain", 3, 3)
    _, _, answered = play(Script({"": ["so red"]}, {"so red\n": 0.3}), Mcts.usual_policy, cap=5)
    assert (answered.reason, answered.knob) == ("cap", 5)
    script = Script({"": ["so red", "so red", "so blue"]})
    _, _, answered = play(script, Mcts.usual_policy, cap=5)
    assert (answered.reason, answered.knob) == ("cap", 5)


def test_speculative(stage):
    """Speculative iterations run in idle slots, and count once they are granted."""
    on = stage(slots=16)
    rare = {"in_flight": 1, "speculative": 2, "confidence": 1.0}
    name, program = search(on, "mcts", PolicySpec("beta", rare, False), cap=5, choose="vote")
    assert [submit.call.is_speculative for submit in on.submits] == [False, True, True]
    Script({"": ["so red", "so blue"]}).play(on)
    assert (on.answers[name].knob, on.answers[name].reason) == (5, "cap")
    assert root_of(program).visits == 5
    nothing_is_virtual(program)


# What goes wrong.


@pytest.mark.parametrize(("cap", "tried"), [(1, 1), (2, 2), (9, 3)])
def test_hopeless(stage, cap, tried):
    """A search whose first iterations all fail ends as its calls did."""
    on = stage(slots=16)
    name, program = search(on, "mcts", ONE, cap=cap)
    Script({"": [None]}).play(on)
    answered = on.answers[name]
    assert (answered.status, answered.error_kind) == ("failed", "EngineRefused")
    assert answered.notes == {"iterations lost": tried}
    assert (len(on.submits), program.nodes) == (tried, [])


def test_lost_in_between(play):
    """An iteration lost between others is only lost."""
    script = Script({"": ["so red", None, "so red", None, None, "so red"]})
    _, program, answered = play(script, cap=6)
    assert (answered.status, answered.knob, answered.answer.value) == ("answered", 6, "red")
    assert answered.notes == {"iterations lost": 3}
    assert program._votes.launched == 6


@pytest.mark.parametrize("select", ["puct", "uct"])
def test_without_a_judge(play, select):
    """Where nothing can be scored the search goes on with rewards that say nothing."""
    script = Script({"": ["a\nso red", "so blue"]}, judge=lambda items: None)
    _, program, answered = play(script, cap=2, select=select)
    assert answered.notes == {"scores lost": 3 if select == "puct" else 2}
    assert (answered.status, answered.answer.value) == ("answered", "red")
    assert answered.certaindex["reward"] == 0.0
    assert {node.reward for node in program.nodes} == {None}
    assert root_of(program).value == 0.5


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"width": 0}, "width is 0; at least 1 is needed"),
        ({"exploration": -0.5}, "exploration is -0.5; it must not be negative"),
        ({"select": "best"}, "select"),
    ],
)
def test_refused(stage, given, says):
    """Settings without a meaning are refused."""
    on = stage()
    name = on.arrive(spec="mcts", params={"question": "q", "task": "words", **given})
    assert on.answers[name].reason == "refused"
    assert says in on.answers[name].error


def test_deep_paths_are_gone_on_from(play):
    """Rewards lead the search deeper: it goes on from the step that was promising."""
    steps = {
        "": ["a\nb\nso red"],
        "a\n": ["so blue"],
        "a\nb\n": ["so red"],
    }
    rewards = {"a\n": 0.9, "a\nb\n": 0.9, "a\nb\nso red\n": 1.0, "a\nso blue\n": 0.0}
    on, program, _ = play(Script(steps, rewards), cap=3, width=1)
    assert [work.prompt.prefix for work in samples(on)] == ["", "", ""], "no step has room"
    on, program, _ = play(Script(steps, rewards), cap=12, width=2)
    assert {work.prompt.prefix for work in samples(on)} == {"", "a\n", "a\nb\n"}
    assert max(depth_of(node) for node in program.nodes) == 3
    assert all(isinstance(node, Branch) for node in program.nodes)
