from __future__ import annotations

import re
from math import inf, nan

import pytest
from toys.stage import EVEN, catalog, in_order, toy
from toys.words import said

from dynasor.core.certaindex import Votes
from dynasor.core.commands import Abort, Answered, Closed, Moved, SetTimer, Submit
from dynasor.core.config import OrderingSpec, SchedulerConfig
from dynasor.core.errors import IllegalTransition, UnknownName
from dynasor.core.events import (
    Arrived,
    Cancelled,
    Configured,
    Failed,
    Finished,
    PoolChanged,
    Progressed,
    TimerFired,
)
from dynasor.core.program import (
    Ask,
    Cancel,
    Embed,
    Fork,
    Group,
    Next,
    Open,
    Sample,
    Score,
)
from dynasor.core.scheduler import Scheduler
from dynasor.core.types import (
    Embedded,
    Generate,
    PolicySpec,
    ProgramSpec,
    Prompt,
    Replica,
    Scored,
    Spending,
    Usage,
)

WORK = Generate(Prompt(()))
BETA = PolicySpec("beta", {}, False)


def kinds(commands):
    return [type(command).__name__ for command in commands]


# The life of a program.


def test_life_of_a_program(stage):
    """A program's branches are sent, vote, and end in one answer and one bill."""
    on = stage(slots=2)
    program = on.arrive(cap=3, workload="w", tenant="t")
    assert on.calls == ["p0#1", "p0#2"]
    submit = on.submits[0]
    assert (submit.attempt, submit.replica, submit.call.pool) == (1, "a", "generate")
    assert (submit.call.affinity, submit.call.prefix) == (program, program)
    assert kinds(on.finish("p0#2", "it is red", tokens=7)) == ["Moved", "Submit"]
    on.finish("p0#1", "it is blue", tokens=5)
    commands = on.finish("p0#3", "also red", tokens=9)
    assert kinds(commands) == ["Moved", "Answered", "Closed"]
    answered, closed = on.answers[program], on.bills[program]
    assert (answered.status, answered.reason) == ("answered", "cap")
    assert (answered.answer.value, answered.answer.text) == ("red", "it is red")
    assert (answered.knob, answered.cap) == (3, 3)
    assert answered.votes == {"red": 2.0, "blue": 1.0}
    assert answered.certaindex == {"entropy": pytest.approx(0.4206, abs=1e-4)}
    assert closed == Closed(program, Spending(9, 21), 3, 0, 0, 0, answered.cause)


def test_moved_says_how_far(stage):
    """Every settled unit is announced with knob, certaindex, votes and tokens so far."""
    on = stage()
    program = on.arrive(cap=2)
    moved = on.finish("p0#2", "x", tokens=4)[0]
    assert moved == Moved(program, 1, 2, {"entropy": 0.0}, {"x": 1.0}, 4, 2)


def test_seeds_are_the_schedulers(stage):
    """Calls have seeds of their own, the same in every run with the same seed."""

    def seeds(seed):
        on = stage(config=in_order(seed=seed))
        on.arrive(cap=4)
        return [submit.call.seed for submit in on.submits]

    assert seeds(1) == seeds(1)
    assert seeds(1) != seeds(2)
    assert len(set(seeds(1))) == 4
    assert all(0 <= seed < 2**31 for seed in seeds(1))


def test_no_answer(stage):
    """Branches without an answer end in status answered and no answer."""
    on = stage()
    program = on.arrive(cap=2)
    on.drain("none")
    answered = on.answers[program]
    assert (answered.status, answered.answer, answered.votes) == ("answered", None, {})


def test_stop_aborts_what_runs(stage):
    """When the policy stops, calls that run are aborted, and the program closes with the last."""
    on = stage()
    program = on.arrive(cap=20, policy=BETA)
    for call in on.calls[:3]:
        on.finish(call)
    last = on.calls[0]
    assert kinds(on.finish(last)) == ["Moved", "Abort", "Abort", "Abort", "Answered"]
    assert on.answers[program].reason == "certain"
    assert on.aborted == on.calls
    assert len(on.aborted) == 3
    assert program not in on.bills
    on.cancel(on.calls[0], tokens=3)
    on.finish(on.calls[0], tokens=4)
    assert program not in on.bills
    on.fail(on.calls[0], tokens=5)
    bill = on.bills[program]
    assert bill.spending == Spending(12 + 3, 40, 12, 0, 0)
    assert (bill.calls, bill.aborted_calls, bill.failed_attempts) == (7, 3, 0)


def test_aborted_calls_hold_their_slots(stage):
    """An aborted call holds its slot until its event; then the slot serves another."""
    on = stage(slots=4)
    first, second = on.arrive(cap=20, policy=BETA), on.arrive(cap=4)
    for call in on.calls:
        on.finish(call)
    assert on.answers[first].reason == "certain"
    assert len(on.calls_of(first)) == 3
    assert len(on.calls_of(second)) == 1
    on.cancel(on.calls_of(first)[0])
    assert len(on.calls_of(second)) == 2


def test_stop_forgets_what_waits(stage):
    """Calls that still wait when the policy stops are never sent and cost nothing."""
    on = stage(slots=1)
    program = on.arrive(cap=20, policy=BETA)
    on.drain()
    assert on.answers[program].reason == "certain"
    assert len(on.submits) == 4
    assert on.bills[program].aborted_calls == 0


# Tokens.


def test_estimated_tokens(stage):
    """Tokens that an engine did not count are itemised as estimated."""
    on = stage()
    program = on.arrive(cap=2)
    on.finish("p0#1", said("x", 10, is_counted=False))
    on.finish("p0#2", said("x", 20))
    assert on.bills[program].spending == Spending(6, 30, 0, 0, 10)


@pytest.mark.parametrize("outcome", ["finish", "fail", "cancel"])
def test_race_with_an_abort(stage, outcome):
    """Whatever an aborted call comes to, its tokens count once, as aborted; it votes no more."""
    on = stage()
    program = on.arrive(cap=2)
    on.withdraw(program)
    assert on.aborted == ["p0#1", "p0#2"]
    getattr(on, outcome)("p0#1", tokens=6)
    on.cancel("p0#2", tokens=1)
    assert on.bills[program].spending.aborted_tokens == 7
    assert on.bills[program].spending.completion_tokens == 7
    assert on.answers[program].votes == {}


def test_failed_tokens(stage):
    """Tokens of failed attempts are itemised, each attempt once."""
    on = stage()
    program = on.arrive(cap=1)
    on.fail("p0#1", tokens=5)
    on.fire("retry:p0#1:1")
    on.finish("p0#1", tokens=8)
    bill = on.bills[program]
    assert (bill.spending.failed_tokens, bill.spending.finished_tokens) == (5, 8)
    assert (bill.failed_attempts, bill.calls) == (1, 1)


# Deadlines.


def test_deadline_with_an_answer(stage):
    """When time runs out the best answer so far is returned and marked as such."""
    on = stage()
    program = on.arrive(cap=5, deadline_seconds=3.0)
    assert on.timers == {"deadline:p0": 3.0}
    on.finish("p0#2", "it is red")
    commands = on.fire("deadline:p0")
    assert kinds(commands) == ["Abort"] * 4 + ["Answered"]
    answered = on.answers[program]
    assert (answered.status, answered.reason) == ("deadline", "deadline")
    assert answered.answer.text == "it is red"
    on.drain()


def test_deadline_without_an_answer(stage):
    """When time runs out before the first answer the error says so."""
    on = stage()
    program = on.arrive(cap=5, deadline_seconds=3.0)
    on.fire("deadline:p0")
    answered = on.answers[program]
    assert (answered.status, answered.error_kind) == ("failed", "DeadlineExceeded")
    assert answered.answer is None
    assert "before its first answer" in answered.error
    on.drain()


def test_deadline_with_slots_full(stage):
    """A program that never got a slot closes at once when its time runs out."""
    on = stage(slots=1)
    on.arrive(cap=1)
    program = on.arrive(cap=1, deadline_seconds=1.0)
    assert kinds(on.fire("deadline:p1")) == ["Answered", "Closed"]
    assert on.bills[program].spending == Spending()
    on.drain()
    assert on.started() == ["p0"]


def test_deadline_in_vain(stage):
    """The deadline of a program that has ended is ignored and counted."""
    on = stage()
    on.arrive(cap=1, deadline_seconds=3.0)
    on.drain()
    assert on.fire("deadline:p0") == []
    assert on.scheduler.ignored == 1


def test_early_timer(stage):
    """A timer that fires before its time does nothing but ask for it again."""
    on = stage()
    program = on.arrive(cap=1, deadline_seconds=3.0)
    assert on.fire("deadline:p0", after=2.0) == [SetTimer("deadline:p0", 3.0, 2)]
    assert program not in on.answers
    on.fire("deadline:p0")
    assert on.answers[program].error_kind == "DeadlineExceeded"
    on.drain()


def test_old_timer_of_a_name_that_came_again(stage):
    """A program's old deadline does not end the program that bears its name today."""
    on = stage()
    on.arrive("p", cap=1, deadline_seconds=3.0)
    on.drain()
    on.arrive("p", cap=1, deadline_seconds=60.0)
    on.send(TimerFired("deadline:p"), after=2.0)
    assert "p" not in on.answers
    on.drain()
    assert on.answers["p"].status == "answered"


@pytest.mark.parametrize("seconds", [0.0, -1.0, nan])
def test_deadline_must_be_positive(stage, seconds):
    """A deadline that is not positive is refused, and only that."""
    on = stage()
    program = on.arrive(cap=1, deadline_seconds=seconds)
    answered = on.answers[program]
    assert (answered.status, answered.reason) == ("failed", "refused")
    assert answered.error_kind == "ConfigError"
    assert "must be positive" in answered.error
    on.arrive(cap=1, deadline_seconds=1e-9)
    assert len(on.submits) == 1
    on.drain()


# Withdrawals.


def test_withdrawal(stage):
    """A withdrawn program ends without an answer and aborts what runs."""
    on = stage(slots=2)
    program = on.arrive(cap=3)
    on.finish("p0#1", "x")
    assert kinds(on.withdraw(program)) == ["Abort", "Abort", "Answered"]
    answered = on.answers[program]
    assert (answered.status, answered.error_kind) == ("withdrawn", "Withdrawn")
    assert answered.answer is None
    on.cancel("p0#2")
    on.cancel("p0#3")
    assert on.bills[program].aborted_calls == 2


def test_withdrawal_of_a_stranger(stage):
    """Withdrawing what has ended, or was never here, is ignored and counted."""
    on = stage()
    on.withdraw("nobody")
    program = on.arrive(cap=1)
    on.withdraw(program)
    on.withdraw(program)
    on.drain()
    on.withdraw(program)
    assert on.scheduler.ignored == 3


# Refusals.


@pytest.mark.parametrize(
    ("event", "kind", "says"),
    [
        ({"policy": PolicySpec("evven")}, "UnknownName", "unknown policy 'evven'.*'even'"),
        ({"policy": PolicySpec("beta", {"x": 1})}, "ConfigError", "policy 'beta'.*x"),
        ({"spec": ProgramSpec("self")}, "UnknownName", "unknown program 'self'"),
        (
            {"spec": ProgramSpec("self-consistency", {"question": "q", "capp": 1})},
            "UnknownName",
            "'capp'.*did you mean 'cap'",
        ),
        (
            {"spec": ProgramSpec("self-consistency", {"question": "q", "task": "maths"})},
            "UnknownName",
            "unknown task 'maths'.*'math'",
        ),
        ({"spec": ProgramSpec("self-consistency")}, "ConfigError", "question"),
        (
            {"spec": ProgramSpec("self-consistency", {"question": "q", "cap": "9"})},
            "ConfigError",
            "cap",
        ),
        (
            {"spec": ProgramSpec("self-consistency", {"question": "q", "cap": 0})},
            "ConfigError",
            "cap is 0",
        ),
        ({"spec": ProgramSpec("toy", {"heard": []})}, "UnknownName", "'heard'"),
    ],
)
def test_refusals(stage, event, kind, says):
    """What cannot run is answered at once with what was given, and leaves nothing behind."""
    on = stage(toy(lambda self, context: iter(())))
    good = ProgramSpec("self-consistency", {"question": "q", "cap": 1})
    commands = on.send(Arrived("p", **{"spec": good, "policy": EVEN, **event}))
    assert kinds(commands) == ["Answered", "Closed"]
    answered = on.answers["p"]
    assert (answered.status, answered.reason, answered.error_kind) == ("failed", "refused", kind)
    assert re.search(says, answered.error)
    on.send(Arrived("q", good, EVEN))
    on.drain()
    assert on.answers["q"].status == "answered"


def test_unknown_ordering():
    """A scheduler with an unknown ordering is not built."""
    with pytest.raises(UnknownName, match="ordering 'lifo'"):
        Scheduler(SchedulerConfig(ordering=OrderingSpec("lifo")), catalog())


def test_unknown_pool(stage):
    """A call to a pool that nobody opened fails its program by name; the others go on."""

    def execute(self, context):
        yield Fork(sampler())
        yield Score((Prompt(()),))

    def sampler():
        yield Sample(WORK)

    on = stage(toy(execute))
    other, program = on.arrive(cap=2), on.arrive(spec="toy", params={})
    answered = on.answers[program]
    assert (answered.status, answered.error_kind) == ("failed", "UnknownName")
    assert "unknown pool 'reward' (known: generate)" in answered.error
    on.drain()
    assert on.answers[other].status == "answered"


# The protocol.


def test_late_events_are_counted(stage):
    """Events of ended calls and of other attempts are ignored and counted, and change nothing."""
    on = stage()
    program = on.arrive(cap=2)
    on.fail("p0#1", tokens=1)
    for event in (
        Finished("p0#1", 1, said("late")),
        Failed("p0#1", 1, "EngineTimeout", "late", True),
        Cancelled("p0#1", 1),
        Progressed("p0#1", 1, "late", 1),
        Finished("p0#2", 2, said("no such attempt")),
        Finished("p0#9", 1, said("no such call")),
        Cancelled("p0#9", 1),
        Failed("p0#9", 1, "EngineTimeout", "late", True),
        Progressed("p0#9", 1, "late", 1),
        TimerFired("nothing"),
    ):
        assert on.send(event) == []
    assert on.scheduler.ignored == 10
    on.fire("retry:p0#1:1")
    on.drain()
    assert on.bills[program].spending.completion_tokens == 21
    on.send(Finished("p0#1", 2, said("very late", 99)))
    assert on.scheduler.ignored == 11


def snapshot(scheduler):
    """All that a host could see of a scheduler."""
    return (
        repr(scheduler),
        scheduler.ignored,
        {name: repr(run) for name, run in scheduler._runs.items()},
        {
            name: repr(list(pool.replicas.values()))
            for name, pool in scheduler._dispatcher.pools.items()
        },
        scheduler._outbox.cause,
        scheduler._outbox.now,
    )


@pytest.mark.parametrize(
    ("event", "now", "says"),
    [
        (TimerFired("x"), 4.0, "time ran backwards: 4.0 after 5.0"),
        (TimerFired("x"), nan, "time ran backwards"),
        ("nonsense", 6.0, "str is no event"),
        (Arrived("p0", ProgramSpec("self-consistency"), EVEN), 6.0, "'p0' is already here"),
        (Finished("p0#1", 1, Scored((1.0,))), 6.0, "asked for Generated, got Scored"),
        (Finished("t#1", 1, said("x")), 6.0, "asked for Scored, got Generated"),
        (Progressed("p0#1", 1, "x", 1), 6.0, "p0#1 is not open"),
        (PoolChanged("generate", (Replica("a", 1), Replica("a", 2))), 6.0, "two replicas"),
        (PoolChanged("generate", (Replica("a", 0),)), 6.0, "at least one slot"),
        (Configured(SchedulerConfig(ordering=OrderingSpec("lifo"))), 6.0, "unknown ordering"),
    ],
)
def test_illegal_transitions_change_nothing(stage, event, now, says):
    """An event that breaks the protocol raises, says why, and leaves everything as it was."""

    def execute(self, context):
        yield Score((Prompt(()),))

    on = stage(toy(execute))
    on.pool("reward", r=1)
    on.arrive(cap=2)
    on.arrive("t", spec="toy", params={})
    on.send(TimerFired("tick"), after=5.0)
    before = snapshot(on.scheduler)
    with pytest.raises(IllegalTransition, match=says):
        on.scheduler.handle(event, now)
    assert snapshot(on.scheduler) == before
    on.scheduler.validate()
    on.finish("t#1", Scored((0.5,), Usage(1, 0)))
    on.drain()
    assert set(on.bills) == {"p0", "t"}


def test_causes(stage):
    """Every command names the event that caused it: the count of events before it."""
    on = stage(slots=1)
    on.arrive(cap=2)
    commands = on.finish("p0#1")
    assert {command.cause for command in commands} == {2}
    assert on.submits[1].cause == 2
    with pytest.raises(IllegalTransition):
        on.scheduler.handle(None, on.now)
    assert {command.cause for command in on.finish("p0#2")} == {3}


def test_repr(stage):
    """A scheduler, a program and a replica say how they stand."""
    on = stage(slots=1)
    on.arrive(cap=3)
    assert repr(on.scheduler) == "<Scheduler 1 programs, calls waiting: {'generate': 2}>"
    assert repr(on.run("p0")) == "<ProgramRun p0 running: 0 of 3 granted settled, cap 3, 3 calls>"
    replica = on.scheduler._dispatcher.pools["generate"].replicas["a"]
    assert repr(replica) == "<ReplicaState a 1/1 held>"


# Order and configuration.


def test_new_order_for_those_who_wait(stage):
    """A new configuration puts waiting calls into its order, and keeps each program's own."""
    on = stage(slots=1)
    on.arrive("busy", cap=1)
    on.arrive("long", cap=3)
    on.arrive("short", cap=2)
    on.send(Configured(in_order("sjf")))
    on.drain()
    assert on.started() == ["busy", "short", "short", "long", "long", "long"]
    assert [submit.call.id for submit in on.submits[1:3]] == ["short#1", "short#2"]


def test_new_slack(stage):
    """A new slack changes how many calls are sent beyond the slots."""
    on = stage(slots=10)
    on.arrive(cap=20)
    assert len(on.calls) == 10
    on.send(Configured(in_order(window_slack=0.1)))
    assert len(on.calls) == 11


def test_ordering_by_measured_work(stage):
    """Shortest job first learns from a workload's own tokens, and re-ranks those who wait."""
    on = stage(config=in_order("sjf", tokens_per_knob=100.0), slots=1)
    on.arrive("first", cap=1, workload="heavy")
    on.arrive("heavy", cap=2, workload="heavy")
    on.arrive("light", cap=3, workload="light")
    on.finish("first#1", tokens=1000)
    on.drain()
    assert on.started() == ["first", *["light"] * 3, *["heavy"] * 2]


def test_own_history_counts_more(stage):
    """Once a program has settled units its own mean is its estimate, not its workload's."""
    on = stage(config=in_order("sjf", tokens_per_knob=100.0), slots=2)
    on.arrive("a", cap=4)
    on.finish("a#1", tokens=1000)
    demand = on.run("a").demand
    assert (demand.tokens_per_knob, demand.knob_left, demand.has_history) == (1000.0, 3, True)
    on.arrive("b", cap=4)
    on.drain()
    assert on.answers["b"].knob == 4


def test_latest_start(stage):
    """A program with a deadline must start in time for its remaining work."""
    on = stage(config=in_order(tokens_per_knob=100.0, seconds_per_token=0.01), slots=2)
    on.arrive("a", cap=4, deadline_seconds=50.0)
    on.arrive("b", cap=4)
    assert on.run("a").demand.latest_start == pytest.approx(50.0 - 4 * 100 * 0.01 / 2)
    assert on.run("a").demand.solo_seconds == pytest.approx(4 * 100 * 0.01 / 2)
    assert on.run("b").demand.latest_start == inf
    on.drain()


def test_gang_prefers_programs_that_hold_slots(stage):
    """Under gang a program that holds slots goes before earlier ones that hold none."""
    on = stage(config=in_order("gang"), slots=0)
    on.pool()
    on.arrive("a", cap=2)
    on.pool(r=1)
    on.arrive("b", cap=2)
    on.drain()
    assert on.started() == ["a", "a", "b", "b"]


def test_gang_forgets_aborted_calls(stage):
    """Under gang a program whose last call was aborted holds nothing any more."""

    def execute(self, context):
        stream = yield Open(Generate(Prompt(()), report_every=1))
        yield Next(stream)
        yield Cancel(stream)
        yield Sample(WORK)

    on = stage(toy(execute), config=in_order("gang"), slots=1)
    on.arrive("early", cap=1)
    on.arrive("late", spec="toy", params={})
    on.fail("early#1")
    on.fire("retry:early#1:1")
    on.report("late#1", "x")
    on.cancel("late#1")
    assert on.calls == ["early#1"], "neither holds a slot, and it came first"
    on.drain()


def test_gang_counts_slots_of_every_pool(stage):
    """Under gang a slot in one pool makes a program a running one in all pools."""

    def execute(self, context):
        yield Fork(scorer())
        yield Sample(WORK)

    def scorer():
        yield Score((Prompt(()),))

    on = stage(toy(execute), config=in_order("gang"), slots=1)
    on.pool("reward", r=1)
    on.arrive("busy", cap=1)
    on.arrive("early", cap=1, workload="other")
    on.arrive("late", spec="toy", params={}, workload="another")
    assert on.calls == ["busy#1", "late#2"], "the score has its slot"
    on.finish("busy#1")
    assert on.calls == ["late#2", "late#1"]
    on.finish("late#2", Scored((1.0,)))
    on.drain()
    assert on.started()[-1] == "early"


def test_aging(stage):
    """A program that waited its factor of solo time goes before shorter ones."""
    config = in_order("sjf", aging_factor=2.0, tokens_per_knob=10.0, seconds_per_token=0.1)
    on = stage(config=config, slots=1)
    on.arrive("busy", cap=1)
    on.arrive("long", cap=5)
    on.arrive("short", cap=1, workload="other")
    on.finish("busy#1", tokens=10, after=1.0)
    assert on.calls == ["short#1"]
    on.send(TimerFired("tick"), after=8.5)
    on.arrive("shorter", cap=1, workload="third")
    on.finish("short#1", tokens=90, after=0.5)
    assert on.calls == ["long#1"], "ten seconds are twice its solo time"
    on.drain()
    assert on.started()[-1] == "shorter"


# Other kinds of work.


def test_score_and_embed(stage):
    """Scores and embeddings go to their own pools and come back as they are."""

    def execute(self, context):
        self.heard.append((yield Score((Prompt((), "a"), Prompt((), "b")))))
        self.heard.append((yield Embed(("a",))))

    on = stage(toy(execute))
    on.pool("reward", r=1)
    on.pool("embed", e=1)
    program = on.arrive(spec="toy", params={})
    assert on.replica_of("p0#1") == "r"
    run = on.run(program)
    on.finish("p0#1", Scored((0.1, 0.9)))
    assert on.replica_of("p0#2") == "e"
    on.finish("p0#2", Embedded(((1.0,),), Usage(4, 0)))
    assert run.program.heard == [Scored((0.1, 0.9)), Embedded(((1.0,),), Usage(4, 0))]
    assert on.answers[program].reason == "done"
    assert on.bills[program].spending.prompt_tokens == 4


def test_votes_of_a_programs_own(stage):
    """Classes that no grouping made are shown by number."""

    def execute(self, context):
        self.votes = Votes()
        yield Ask()
        self.votes.record(self.votes.launch(), 7)
        self.knob += 1
        yield Group("x")

    on = stage(toy(execute))
    program = on.arrive(spec="toy", params={"cap": 1})
    assert on.answers[program].status == "answered"
    assert on.answers[program].votes == {"7": 1.0}


def test_abort_and_submit_in_one_event(stage):
    """The aborts of an ending come with the answer; its freed places are filled later."""
    on = stage(slots=2)
    first, second = on.arrive(cap=2), on.arrive(cap=2)
    commands = on.withdraw(first)
    assert [type(c) for c in commands] == [Abort, Abort, Answered]
    commands = on.cancel("p0#1")
    assert [type(c) for c in commands] == [Submit]
    on.drain()
    assert on.answers[second].status == "answered"
