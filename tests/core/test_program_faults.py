"""Program code that is wrong fails its own program, with a story, and nobody else."""

from __future__ import annotations

import re

import msgspec
import pytest
from toys.stage import toy
from toys.words import Words

from dynasor.core.allocation import Grant, policies
from dynasor.core.certaindex import Votes
from dynasor.core.errors import UserError
from dynasor.core.program import Ask, Fork, Group, Join, Sample
from dynasor.core.types import Generate, PolicySpec, Prompt

WORK = Generate(Prompt(()))


def raises(*_):
    raise ZeroDivisionError("oh no")


def in_execute(self, context):
    yield Sample(WORK)
    raises()


def before_the_first_yield(self, context):
    raises()
    yield


def in_a_branch(self, context):
    def branch():
        yield Sample(WORK)
        raises()

    yield Fork(branch())
    yield Sample(WORK)


def settles(self, context):
    while (yield Ask()).knob:
        yield Sample(WORK)
        self.knob += 1


def asks_for_ever(self, context):
    while True:
        yield Ask()


def forks_for_ever(self, context):
    def child():
        yield Ask()

    while True:
        yield Fork(child())


def in_finally(self, context):
    try:
        yield Sample(WORK)
        yield Sample(WORK)
    finally:
        raises()


def yields_in_finally(self, context):
    try:
        yield Sample(WORK)
        yield Sample(WORK)
    finally:
        yield Sample(WORK)


def deadlocks(self, context):
    yield Sample(WORK)
    thread = yield Fork(waits(self))
    self.heard.append(thread)
    yield Join((thread,))


def waits(self):
    yield Ask()
    yield Join((self.heard[0],))


def settles_too_much(self, context):
    yield Ask()
    self.knob = 7
    yield Sample(WORK)


FAULTS = {
    "execute": (in_execute, {}, "Made.*ZeroDivisionError: oh no in raises .*after 1 calls"),
    "at once": (before_the_first_yield, {}, "ZeroDivisionError: oh no"),
    "branch": (in_a_branch, {}, "ZeroDivisionError: oh no"),
    "not a generator": (lambda self, context: 5, {}, "must be a generator, not int"),
    "execute itself": (raises, {}, "ZeroDivisionError: oh no"),
    "certaindex": (settles, {"update_certaindex": raises}, "oh no.* 1 settled units"),
    "answer": (settles, {"answer": raises}, "oh no"),
    "nonsense": (lambda self, context: (yield 5), {}, "yielded int; it may yield Ask, Sample"),
    "asks": (asks_for_ever, {}, "took 500 steps without waiting"),
    "forks": (forks_for_ever, {}, "took 500 steps without waiting"),
    "deadlock": (deadlocks, {}, "every strand waits"),
    "too much": (settles_too_much, {}, "settled 7 units and was granted"),
    "post init": (settles, {"__post_init__": raises}, "oh no"),
    "fork of nothing": (lambda self, context: (yield Fork(None)), {}, "not NoneType"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(stage, fault, monkeypatch):
    """A program whose code is wrong fails with its story; its neighbours do not notice."""
    monkeypatch.setattr("dynasor.core.strands.MAX_STEPS", 500)
    execute, members, says = FAULTS[fault]
    on = stage(toy(execute, **members))
    before = on.arrive(cap=2)
    program = on.arrive(spec="toy", params={"cap": 3})
    after = on.arrive(cap=2)
    on.drain()
    answered = on.answers[program]
    assert answered.status == "failed"
    assert answered.answer is None
    assert answered.error_kind == "ProgramFailed"
    assert re.search(says, answered.error)
    assert on.answers[before].status == on.answers[after].status == "answered"
    assert set(on.bills) == {before, program, after}


@pytest.mark.parametrize("execute", [in_finally, yields_in_finally])
def test_faults_while_closing(stage, execute):
    """A `finally` that raises or yields fails the program, and its other strands are closed."""
    closed = []

    def outer(self, context):
        yield Fork(calm())
        yield Fork(execute(self, context))
        yield Sample(WORK)

    def calm():
        try:
            yield Sample(WORK)
        finally:
            closed.append("calm")

    on = stage(toy(outer))
    program = on.arrive(spec="toy", params={}, deadline_seconds=1.0)
    on.fire("deadline:p0")
    answered = on.answers[program]
    assert (answered.status, answered.reason) == ("failed", "deadline")
    assert answered.error_kind == "ProgramFailed"
    assert closed == ["calm"]
    on.drain()


def test_fault_while_withdrawing(stage):
    """A `finally` that raises does not turn a withdrawal into a failure."""
    on = stage(toy(in_finally))
    program = on.arrive(spec="toy", params={})
    on.withdraw(program)
    assert on.answers[program].status == "withdrawn"
    on.drain()


def test_an_error_of_our_own_keeps_its_kind(stage):
    """A failed call that a program lets through is its ending, by the name of what failed it."""

    def execute(self, context):
        yield Sample(WORK)

    on = stage(toy(execute))
    program = on.arrive(spec="toy", params={})
    on.fail("p0#1", is_retryable=False)
    answered = on.answers[program]
    assert answered.error_kind == "EngineTimeout"
    assert answered.error == "boo (call p0#1, 1 attempt)"


def test_post_init_that_refuses(stage):
    """A program may refuse its parameters with an error of the caller's."""

    def refuse(self):
        raise UserError("width must be even")

    on = stage(toy(settles, __post_init__=refuse))
    answered = on.answers[on.arrive(spec="toy", params={})]
    assert (answered.reason, answered.error_kind) == ("refused", "UserError")
    assert answered.error == "width must be even"


def test_task_that_raises(stage):
    """A task whose comparison raises fails the program, also when a verdict comes back."""

    class Touchy(Words):
        def same(self, left, right):
            if "!" in left:
                raise ZeroDivisionError("oh no")

    def execute(self, context):
        for word in ("a", "b", "c!"):
            yield Fork(branch(word))

    def branch(word):
        yield Sample(WORK)
        yield Group(word)

    for order in ([0, 1, 2], [0, 2]):
        on = stage(toy(execute), tasks=[Touchy("touchy")])
        program = on.arrive(spec="toy", params={"task": "touchy"})
        calls = on.calls
        for number in order:
            on.finish(calls[number])
        if program not in on.answers:
            on.verdict(program, 1)
        assert on.answers[program].error_kind == "ProgramFailed"
        assert "oh no" in on.answers[program].error
        on.drain()
        assert program in on.bills


def test_verdict_makes_a_task_raise(stage):
    """A task that raises while a verdict is taken fails its program only."""
    calls = []

    class Late(Words):
        def same(self, left, right):
            calls.append((left, right))
            if len(calls) > 2:
                raise ZeroDivisionError("oh no")

    def execute(self, context):
        for word in ("a", "b", "c"):
            yield Fork(branch(word))

    def branch(word):
        yield Sample(WORK)
        yield Group(word)

    on = stage(toy(execute), tasks=[Late("late")])
    program, other = on.arrive(spec="toy", params={"task": "late"}), on.arrive(cap=1)
    for call in on.calls_of(program):
        on.finish(call)
    on.verdict(program, 1)
    assert "oh no" in on.answers[program].error
    on.drain()
    assert on.answers[other].status == "answered"


def policy_of(decide):
    """A policy that decides so."""
    return msgspec.defstruct("Made", [], namespace={"decide": decide})


def test_policy_that_raises(stage):
    """A policy whose code raises fails the program that it decides on."""
    broken = policy_of(lambda self, view: raises() if view.knob else Grant(2))
    on = stage(policies={**policies(), "broken": broken})
    program = on.arrive(cap=2, policy=PolicySpec("broken", {}, False))
    on.drain()
    assert "oh no" in on.answers[program].error


def test_missing_signal_fails_the_program(stage):
    """A policy that needs a signal the program does not have fails it as a configuration error."""
    on = stage()
    policy = PolicySpec("threshold", {"detect": 1, "at": {"reward": 0.5}}, False)
    program = on.arrive(cap=2, policy=policy)
    on.drain()
    assert on.answers[program].error_kind == "ConfigError"
    assert "the program has: entropy" in on.answers[program].error


def test_policy_that_grants_nothing(stage):
    """A policy that grants nothing while nothing runs is taken for a stop."""
    miser = policy_of(lambda self, view: Grant())
    on = stage(policies={"miser": miser})
    program = on.arrive(cap=2, policy=PolicySpec("miser", {}, False))
    answered = on.answers[program]
    assert (answered.status, answered.reason) == ("answered", "nothing granted")


def test_policy_that_grants_too_much(stage):
    """A policy may grant what it likes: no program gets more units than its cap."""
    spender = policy_of(lambda self, view: Grant(50, 50))
    on = stage(policies={"spender": spender}, slots=100)
    program = on.arrive(cap=6, policy=PolicySpec("spender", {}, False))
    assert len(on.calls) == 6
    assert on.run(program).units.granted == 6
    on.drain()
    assert (on.answers[program].knob, on.answers[program].reason) == (6, "done")


def test_failed_votes(stage):
    """A program that fails still shows its votes."""

    def execute(self, context):
        self.votes = Votes()
        yield Sample(WORK)
        self.votes.record(self.votes.launch(), (yield Group("red")))
        raises()

    on = stage(toy(execute))
    program = on.arrive(spec="toy", params={})
    on.drain()
    assert on.answers[program].votes == {"red": 1.0}
    assert on.answers[program].status == "failed"
