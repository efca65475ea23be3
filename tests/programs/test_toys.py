"""Programs that later issues will bring, as toys on the real scheduler in virtual time."""

from __future__ import annotations

import pytest
from toys.chain_of_thought import SUFFIX, ToyChainOfThought
from toys.mcts import ToyMcts
from toys.stage import EVEN, catalog, in_order
from toys.words import compare, said

from dynasor.core.events import Arrived, Withdrew
from dynasor.core.scheduler import Scheduler
from dynasor.core.types import Generate, Generated, PolicySpec, ProgramSpec, Score, Scored, Usage
from dynasor.sim import Outcome, SimpleEngine, VirtualHost

STEPS = ["aa", "bb", "cc"]


def steps(call, attempt):
    """Steps by turns, 10 tokens each; a solution is worth the share of its `bb`."""
    if isinstance(call.work, Score):
        texts = [item.prefix.split() for item in call.work.items]
        rewards = tuple(text.count("bb") / len(text) for text in texts)
        return Outcome(Scored(rewards, Usage(2, 1)), 1)
    number = int(call.id.split("#")[1])
    return Outcome(said(STEPS[number % 3]), 10)


@pytest.fixture
def host():
    """A host of toys; its scheduler is audited at the end."""
    made = []

    def make(model, slots=4):
        scheduler = Scheduler(in_order(), catalog(ToyMcts, ToyChainOfThought))
        one = VirtualHost(scheduler, model, compare, has_log=True)
        one.add_pool("generate", {"g": SimpleEngine(slots, 10.0)})
        one.add_pool("reward", {"r": SimpleEngine(2, 10.0)})
        made.append(one)
        return one

    yield make
    for one in made:
        one.scheduler.validate()


def start(on, kind, policy=EVEN, **params):
    spec = ProgramSpec(kind, {"question": "q", "task": "words", **params})
    on.send(Arrived("p", spec, policy))
    return on.scheduler._runs["p"].program


# Tree search.


def tree(node):
    yield node
    for child in node.children:
        yield from tree(child)


def test_mcts(host):
    """Rollouts run side by side, scores come from the reward pool, the best leaf is the answer."""
    on = host(steps)
    program = start(on, "toy-mcts", PolicySpec("even", {"in_flight": 4}, False), cap=30)
    on.run()
    answered = on.answers["p"]
    assert (answered.status, answered.knob) == ("answered", 30)
    assert answered.answer.text == max(program.leaves)[1]
    assert answered.certaindex["reward"] == pytest.approx(
        sum(reward for reward, _ in program.leaves) / len(program.leaves)
    )
    assert on.bills["p"].calls == 60
    assert on.bills["p"].spending.completion_tokens == 30 * 11
    assert program.root.visits == 30
    assert program.most_virtual == 4


def test_mcts_one_at_a_time(host):
    """With one unit in flight it is the sequential algorithm."""
    on = host(steps)
    program = start(on, "toy-mcts", PolicySpec("even", {"in_flight": 1}, False), cap=10)
    on.run()
    assert program.most_virtual == 1
    assert on.answers["p"].knob == 10


def test_mcts_stops_on_reward(host):
    """A threshold on the reward stops the search; what runs is aborted and paid for."""
    on = host(steps)
    policy = PolicySpec("stepwise", {"every": 5, "at": {"reward": 0.1}}, False)
    start(on, "toy-mcts", policy, cap=30)
    on.run()
    assert (on.answers["p"].reason, on.answers["p"].knob % 5) == ("certain", 0)
    assert on.answers["p"].knob < 30


@pytest.mark.parametrize("after", [0.0, 0.5, 1.05, 2.1, 3.3])
def test_virtual_loss_is_undone(host, after):
    """Wherever a search is stopped, no node keeps a virtual loss."""
    on = host(steps)
    program = start(on, "toy-mcts", cap=30)
    on.run(until=after)
    assert program.root.virtual > 0
    on.send(Withdrew("p"))
    on.run()
    assert [node.virtual for node in tree(program.root)] == [0] * len(list(tree(program.root)))
    assert "p" in on.bills


def test_mcts_with_a_broken_reward_model(host):
    """Where scoring fails for good the search fails, and its virtual losses are undone."""

    def broken(call, attempt):
        if isinstance(call.work, Score):
            return Outcome(None, 1, "EngineRefused", "no such model", is_retryable=False)
        return steps(call, attempt)

    on = host(broken)
    program = start(on, "toy-mcts", cap=5)
    on.run()
    assert on.answers["p"].error_kind == "EngineRefused"
    assert program.root.virtual == 0


# Chain of thought.

THOUGHT = "".join(f"t{n:02} " for n in range(25))


def thinking(settles_at, probe_tokens=3):
    """A thought of 100 tokens; probes answer `wrong` until so many characters were thought."""

    def model(call, attempt):
        assert isinstance(call.work, Generate)
        prefix = call.work.prompt.prefix
        if not prefix:
            return Outcome(Generated(THOUGHT, Usage(3, 100)), 100)
        assert prefix.endswith(SUFFIX)
        thought = prefix.removesuffix(SUFFIX)
        assert THOUGHT.startswith(thought)
        word = "right" if len(thought) >= settles_at else f"wrong{len(thought)}"
        return Outcome(said(word, probe_tokens), probe_tokens)

    return model


def test_chain_stops_on_agreement(host):
    """The stream is cancelled when the latest probes agree, long before it would end."""
    on = host(thinking(settles_at=40))
    start(on, "toy-chain", every=10, agree=3, cap=50)
    on.run()
    answered, closed = on.answers["p"], on.bills["p"]
    assert (answered.status, answered.reason, answered.answer.value) == (
        "answered",
        "done",
        "right",
    )
    assert answered.certaindex == {"entropy": 1.0}
    assert closed.aborted_calls == 1
    assert closed.spending.aborted_tokens == 70, (
        "probes after 40, 50, 60; seen with the next report"
    )
    assert closed.spending.finished_tokens == closed.calls * 3 - 3


def test_chain_that_never_agrees(host):
    """A chain that never agrees thinks to its end, and answers with its latest probe."""
    on = host(thinking(settles_at=1000))
    start(on, "toy-chain", every=10, agree=3, cap=50)
    on.run()
    answered, closed = on.answers["p"], on.bills["p"]
    assert (answered.knob, closed.aborted_calls) == (10, 0)
    assert answered.answer.value == "wrong100"
    assert closed.spending.finished_tokens == 100 + 10 * 3


def test_chain_at_its_cap(host):
    """A chain that has used its rounds up stops thinking and waits for its last probe."""
    on = host(thinking(settles_at=1000))
    start(on, "toy-chain", every=10, agree=3, cap=2)
    on.run()
    assert (on.answers["p"].knob, on.answers["p"].reason) == (2, "cap")
    assert on.bills["p"].aborted_calls == 1


def test_chain_with_a_threshold(host):
    """A policy may stop the chain on its certaindex instead."""
    on = host(thinking(settles_at=20))
    policy = PolicySpec("stepwise", {"every": 1, "at": 1.0}, False)
    start(on, "toy-chain", policy, every=10, agree=3, cap=50)
    on.run()
    assert on.answers["p"].reason in ("certain", "done")
    assert on.answers["p"].answer.value == "right"
    assert on.bills["p"].aborted_calls == 1


def test_chain_whose_stream_fails(host):
    """A stream that breaks fails the chain; it is not begun again behind its back."""

    def model(call, attempt):
        if not call.work.prompt.prefix:
            return Outcome(None, 30, "EngineUnreachable", "gone")
        return Outcome(said("x"), 3)

    on = host(model)
    start(on, "toy-chain", every=10, cap=50)
    on.run()
    assert on.answers["p"].error_kind == "EngineUnreachable"
    assert on.bills["p"].spending.failed_tokens == 30


def test_deadline_in_mid_thought(host):
    """When time runs out in mid-thought the latest agreed answer is given."""
    on = host(thinking(settles_at=0))
    spec = ProgramSpec("toy-chain", {"question": "q", "task": "words", "every": 10, "agree": 9})
    on.send(Arrived("p", spec, EVEN, deadline_seconds=3.7))
    on.run()
    assert (on.answers["p"].status, on.answers["p"].answer.value) == ("deadline", "right")
    assert on.answered_at["p"] == 3.7
    assert on.bills["p"].spending.aborted_tokens == 37
