"""What all searches over steps share: rewards, answers, and what holds in any order of events."""

from __future__ import annotations

from math import exp, nan

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toys.searches import FLAWS, Script, endless, search, tree_holds
from toys.stage import Stage, catalog, in_order
from toys.words import Words, compare, said

from dynasor import Dynasor
from dynasor.core.events import Event
from dynasor.core.scheduler import Scheduler
from dynasor.core.types import PolicySpec, Score, Scored, Usage
from dynasor.engines.scripted import ScriptedEngine
from dynasor.programs import Beam, BestOfN, Mcts, Rebase
from dynasor.programs.tree import Node, steps_of

KINDS = ["rebase", "beam", "mcts"]
ONE = PolicySpec("even", {"in_flight": 1}, has_lock=False)


class Anything(Words):
    """A task that takes any text for an answer."""

    takes_any_text = True


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


# Nodes.


def test_steps_of():
    """What was sampled is cut behind each end of a step, and nothing of it is lost."""
    assert steps_of("a\n\nb", "\n") == ["a\n\n", "b\n"]
    assert steps_of("a\n", "\n\n") == ["a\n\n\n"]
    assert steps_of("", "\n") == ["\n"]


def test_node():
    """A step is worth its reward, or what stands in for one; it may say nothing."""
    root = Node()
    one = Node("a\n", parent=root, reward=0.2)
    blank = Node("a\n \n", parent=one)
    assert (root.worth, one.worth, blank.worth) == (0.5, 0.2, 0.5)
    assert [node.is_blank for node in (root, one, blank)] == [False, False, True]
    assert Node("a\n", parent=root) != one, "steps are told apart, not compared"


# Rewards.


def test_equal_texts_are_scored_once(stage, kind):
    """A text that has its reward is not scored again, in no later search or iteration."""
    on = stage(slots=16)
    script = Script({"": ["so red", "so red", "so blue"]}, {"so red\n": 0.7})
    _, program = search(on, kind, ONE, cap=5)
    script.play(on)
    assert script.judged == [["so red\n"], ["so blue\n"]]
    assert [node.reward for node in program.nodes] == [0.7, 0.7, 0.5, 0.5, 0.5]


def test_equal_texts_of_a_level(stage):
    """Steps of one level with equal texts are one item of its score."""
    on = stage(slots=16)
    script = Script({"": ["so red", "so blue", "so red"]}, {"so red\n": 0.7})
    _, program = search(on, "rebase", cap=3)
    script.play(on)
    assert script.judged == [["so red\n", "so blue\n"]]
    assert [node.reward for node in program.nodes] == [0.7, 0.5, 0.7]


@pytest.mark.parametrize("flaw", FLAWS)
def test_broken_judge(stage, kind, flaw):
    """A judge that never says anything of use leaves a search that all steps are equal to."""
    on = stage(slots=16)
    script = Script({"": ["so red", "so red", "so blue"]}, judge=FLAWS[flaw])
    name, program = search(on, kind, ONE, cap=3, choose="vote")
    script.play(on)
    answered = on.answers[name]
    assert (answered.status, answered.answer.value) == ("answered", "red")
    assert answered.votes == {"red": 1.0, "blue": 0.5}
    assert answered.certaindex["reward"] == 0.0, "what stands in for a reward is none"
    assert answered.notes == {"scores lost": 3}
    assert {node.reward for node in program.nodes} == {None}


def test_judge_without_an_opinion(stage):
    """A step that the judge has no opinion on has no reward; the others keep theirs."""
    on = stage(slots=16)
    verdict = Scored((0.75, None))
    script = Script({"": ["so red", "so blue"]}, judge=lambda items: verdict)
    name, program = search(on, "rebase", cap=2, choose="best")
    script.play(on)
    assert [node.reward for node in program.nodes] == [0.75, None]
    assert (on.answers[name].answer.value, on.answers[name].notes) == ("red", {"scores lost": 1})


def test_judge_that_comes_back(stage, kind):
    """What could not be scored is asked for again when its text comes again."""
    on = stage(slots=16)
    verdicts = iter([Scored((nan,)), Scored((0.75,))])
    script = Script({"": ["so red"]}, judge=lambda items: next(verdicts))
    name, _ = search(on, kind, ONE, cap=3, choose="vote")
    script.play(on)
    assert on.answers[name].notes == {"scores lost": 1}
    assert on.answers[name].certaindex["reward"] == 0.75
    assert on.answers[name].votes == {"red": 0.5 + 0.75 + 0.75}
    assert script.judged == [["so red\n"], ["so red\n"]]


def test_judge_of_half(stage):
    """Unscored steps stand between good and bad ones."""
    on = stage(slots=16)
    verdicts = iter([Scored((0.9, 0.1)), None, Scored((0.6, 0.6))])
    steps = {"": ["a none", "b none"], "a none\n": ["c none", "d none"]}
    steps |= {"a none\nc none\n": ["so red"], "a none\nd none\n": ["so blue"]}
    name, program = search(on, "rebase", cap=2)
    Script(steps, judge=lambda items: next(verdicts)).play(on)
    assert [node.reward for node in program.nodes] == [0.9, 0.1, None, None, 0.6, 0.6]
    assert on.answers[name].notes == {"scores lost": 2}


# The end of a path.


def test_any_text(stage):
    """Where any text is an answer, a path ends when the model has nothing to add."""
    on = stage(slots=16, tasks=[Anything("anything")])
    steps = {"": ["one"], "one\n": ["two"], "one\ntwo\n": [""], "one\ntwo\n\n": [""]}
    name, program = search(on, "rebase", cap=1, task="anything")
    Script(steps).play(on)
    assert [node.is_finished for node in program.nodes] == [False, False, False, True]
    assert on.answers[name].answer.value == "two"


def test_engine_that_returns_the_stop(stage):
    """An end of a step that an engine returns with it is not doubled."""
    on = stage(slots=16)
    name, program = search(on, "rebase", cap=1)
    Script({"": ["a none\n"], "a none\n": ["so red\n"]}).play(on)
    assert [node.text for node in program.nodes] == ["a none\n", "a none\nso red\n"]
    assert on.answers[name].answer.text == "a none\nso red"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"step_tokens": 0}, "step_tokens is 0; at least 1 is needed"),
        ({"max_steps": -1}, "max_steps is -1; at least 1 is needed"),
        ({"step_end": ""}, "step_end is empty; give the text that ends a step"),
        ({"choose": "worst"}, "choose"),
    ],
)
def test_refused(stage, kind, given, says):
    """Settings without a meaning are refused with an answer."""
    on = stage()
    name = on.arrive(spec=kind, params={"question": "q", "task": "words", **given})
    answered = on.answers[name]
    assert (answered.status, answered.reason) == ("failed", "refused")
    assert says in answered.error


# What holds whatever happens.

TEXTS = ["", " ", "a none", "b none", "so aa", "so AA", "so bb", "x none\ny none\nso aa"]
outcomes = st.one_of(
    st.sampled_from([*TEXTS, *TEXTS, "endless", "refused", "timeout"]),
    st.sampled_from(TEXTS),
)
policies = st.one_of(
    st.builds(
        PolicySpec,
        st.just("even"),
        st.fixed_dictionaries({}, optional={"in_flight": st.integers(1, 4)}),
        st.booleans(),
    ),
    st.builds(
        PolicySpec,
        st.sampled_from(["threshold", "stepwise"]),
        st.fixed_dictionaries({"at": st.sampled_from([0.3, {"entropy": 0.5, "reward": 0.6}])}),
        st.booleans(),
    ),
    st.builds(
        PolicySpec,
        st.just("beta"),
        st.fixed_dictionaries(
            {"in_flight": st.integers(1, 3), "speculative": st.integers(0, 3)},
            optional={"confidence": st.just(1.0)},
        ),
        st.booleans(),
    ),
)
moves = st.lists(
    st.tuples(
        st.integers(0, 9),
        outcomes,
        st.sampled_from(["scored", "scored", "scored", *FLAWS]),
        st.integers(0, 9),
    ),
    max_size=40,
)


class Play:
    """One search, driven by moves: which call ends, and what it comes to."""

    def __init__(self, kind, policy, slots, deadline, params):
        self.config = in_order(max_attempts=2)
        self.on = Stage(config=self.config, slots=slots)
        self.name, self.program = search(self.on, kind, policy, deadline, **params)
        self.sampled = 0

    def move(self, at, text, verdict, tokens):
        """End one of the calls that run, let retries wait no longer, judge answers now or later."""
        on = self.on
        for program in list(on.compares):
            if at % 2 or not on.live:
                asked = on.compares[program]
                on.verdict(program, *compare(asked.task, asked.new, asked.representatives))
        for timer in [name for name in on.timers if not name.startswith("deadline")]:
            on.fire(timer)
            del on.timers[timer]
        if on.live:
            self.end(on.calls[at % len(on.live)], text, verdict, tokens)

    def end(self, call, text, verdict, tokens):
        on = self.on
        work = on.live[call].call.work
        if call in on.aborted and tokens % 2:
            on.cancel(call, tokens)
        elif text in ("refused", "timeout"):
            on.fail(call, f"Engine{text.title()}", is_retryable=text == "timeout", tokens=tokens)
        elif isinstance(work, Score):
            self.judge(call, verdict, len(work.items), tokens)
        else:
            self.sampled += 0 if call in on.aborted else tokens
            on.finish(call, endless("hm", tokens) if text == "endless" else said(text, tokens))

    def judge(self, call, verdict, items, tokens):
        rewards = tuple((at + tokens) % 10 / 9 for at in range(items))
        output = Scored(rewards, Usage(1, tokens)) if verdict == "scored" else FLAWS[verdict](items)
        if output is None:
            self.on.fail(call, "EngineRefused", is_retryable=False)
        else:
            self.on.finish(call, output)

    def check(self):
        """What must hold after every event."""
        self.on.check()
        tree_holds(self.program)
        assert sum(node.tokens for node in self.program.nodes) == self.sampled
        run = self.on.scheduler._runs.get(self.name)
        if run is not None:
            units = run.units
            assert self.program.knob <= units.granted + units.speculative <= units.cap

    def check_end(self):
        """What must hold at the end."""
        answered, votes = self.on.answers[self.name], self.program._votes
        assert set(self.on.bills) == {self.name}
        assert answered.error_kind not in ("ProgramFailed", "IllegalTransition"), answered.error
        assert answered.knob == votes.finished.size + votes.lost <= votes.launched
        assert answered.knob <= answered.cap
        if answered.status == "answered" and answered.reason in ("cap", "done"):
            assert answered.knob == votes.launched == answered.cap
        for node in self.program.nodes:
            assert (getattr(node, "virtual", 0), getattr(node, "growing", 0)) == (0, 0)
        finished = [node for node in self.program.nodes if node.is_finished]
        assert len(finished) >= votes.finished.size, "who votes has finished"

    def check_replay(self):
        """The events, written and read back, give a fresh scheduler the same commands."""
        fresh = Scheduler(self.config, catalog())
        for now, event, commands in self.on.log:
            again = msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=Event)
            assert fresh.handle(again, now) == commands


@given(
    kind=st.sampled_from(KINDS),
    policy=policies,
    slots=st.integers(1, 8),
    deadline=st.sampled_from([None, None, None, 5.0]),
    params=st.fixed_dictionaries(
        {"cap": st.integers(1, 6), "choose": st.just("vote")},
        optional={
            "max_steps": st.integers(1, 3),
            "max_tokens": st.integers(1, 30),
            "balance": st.just(1.0),
            "width": st.integers(1, 3),
            "select": st.just("uct"),
            "expand": st.integers(1, 3),
        },
    ),
    moves=moves,
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_any_order(kind, policy, slots, deadline, params, moves):
    """Whatever calls come to, and in whatever order, a search ends, and its books are right."""
    known = {"balance": "rebase", "width": "mcts", "select": "mcts", "expand": "beam"}
    params = {name: given for name, given in params.items() if known.get(name, kind) == kind}
    play = Play(kind, policy, slots, deadline, params)
    for move in moves:
        play.move(*move)
        play.check()
    if deadline is not None and play.name not in play.on.answers:
        play.on.fire(f"deadline:{play.name}")
        play.check()
    for _ in range(1000):
        if not (play.on.live or play.on.compares or play.name not in play.on.bills):
            break
        play.move(1, "so aa", "scored", 5)
        play.check()
    play.check_end()
    play.check_replay()


def test_confidence():
    """Rewards are the geometric mean of the probabilities along the whole path; nobody is asked."""
    search = Rebase("q", rewards="confidence")
    first = search._add(Node("a\n", 2, Node()), -0.5)
    second = search._add(Node("a\nb\n", 3, first), -0.1)
    unknown = search._add(Node("a\nb\nc\n", 1, second), None)
    senseless = search._add(Node("a\nb\nd\n", 1, second), nan)
    after = search._add(Node("a\nb\nc\nd\n", 1, unknown), -0.1)
    assert list(search._score(None, [first, second, unknown, after, senseless])) == []
    assert first.reward == pytest.approx(exp(-0.5))
    assert second.reward == pytest.approx(exp(-1.3 / 5))
    assert (unknown.reward, after.reward, senseless.reward) == (None, None, None)
    assert search.notes == {"scores lost": 3}


@pytest.mark.parametrize("kind", [BestOfN, Rebase, Beam, Mcts])
async def test_confidence_of_an_engine(kind):
    """With log-probabilities from the engine, no program needs anybody who scores."""
    engine = ScriptedEngine(lambda work: "so it is \\boxed{4}")
    async with Dynasor(engine) as dynasor:
        result = await dynasor.run(kind("q", cap=4, rewards="confidence"), policy="even")
    assert (result.answer, result.knob) == ("4", 4)
    assert 0 < result.certaindex["reward"] < 1
    assert result.notes == {}
