"""Speculative units: they fill slots that would idle, and cost nobody anything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.stage import in_order, toy

from dynasor.core.allocation import Grant
from dynasor.core.certaindex import Votes
from dynasor.core.events import TimerFired
from dynasor.core.program import Ask, Fork, Granted, Join, Sample
from dynasor.core.strands import StrandState
from dynasor.core.types import Generate, PolicySpec, Prompt
from dynasor.core.units import Units

WORK = Generate(Prompt(()))


def eager(in_flight=2, speculative=3, confidence=1.0):
    params = {"in_flight": in_flight, "speculative": speculative, "confidence": confidence}
    return PolicySpec("beta", params, False)


def speculative(on):
    """The calls that were speculative when they were sent."""
    return [submit.call.id for submit in on.submits if submit.call.is_speculative]


def test_they_fill_idle_slots(stage):
    """Slots that would idle run speculative calls, as many as the policy allows."""
    on = stage(slots=8)
    program = on.arrive(cap=20, policy=eager())
    assert len(on.calls) == 5
    assert speculative(on) == on.calls[2:]
    units = on.run(program).units
    assert (units.granted, units.speculative) == (2, 3)
    on.drain()
    assert on.answers[program].knob == 20


def test_never_the_slack(stage):
    """A speculative call takes a slot, never the slack beyond the slots."""
    on = stage(config=in_order(window_slack=0.5), slots=4)
    on.arrive(cap=20, policy=eager(in_flight=2, speculative=9))
    assert len(on.calls) == 4
    assert len(speculative(on)) == 2
    on.arrive(cap=2)
    assert len(on.calls) == 6, "needed calls take the slack"
    on.drain()


@pytest.mark.parametrize("ordering", ["app-fifo", "gang", "sjf"])
def test_below_every_needed_call(stage, ordering):
    """No speculative call starts while any program's needed call waits."""
    on = stage(config=in_order(ordering), slots=3)
    on.arrive("eager", cap=20, policy=eager(in_flight=1, speculative=5))
    assert len(speculative(on)) == 2
    on.arrive("late", cap=6)
    for _ in range(6):
        sent = len(on.submits)
        on.finish(on.calls[0])
        assert not [s for s in on.submits[sent:] if s.call.is_speculative]
    on.drain()


def test_below_crossed_needed_calls_too(stage):
    """A program that waited too long gains nothing for its speculative calls."""
    config = in_order("sjf", aging_factor=0.01)
    on = stage(config=config, slots=1)
    on.arrive("old", cap=20, policy=eager(in_flight=1, speculative=5))
    on.send(TimerFired("tick"), after=100.0)
    on.arrive("new", cap=2)
    on.finish("old#1")
    assert on.run("old").demand.crossed_at is not None
    while "new" not in on.answers:
        assert not on.submits[-1].call.is_speculative
        on.finish(on.calls[0])
    on.drain()


def test_below_needed_calls_that_stay_together(stage):
    """What waits for the replica of its program, and is more than fits there, goes first."""
    on = stage(slots=1)
    on.arrive(cap=9, policy=eager(in_flight=1, speculative=2))
    needed = on.arrive(cap=6, policy=PolicySpec("even", has_lock=False))
    on.pool(c=2, d=3)
    assert speculative(on) == []
    assert [call for call in on.calls if call.startswith(needed)] == on.calls[1:]
    assert len(on.calls) == 6
    on.drain()


def test_promotion_of_what_waits(stage):
    """A needed grant promotes the oldest speculative unit: its waiting call is a needed one now."""
    on = stage(slots=2)
    program = on.arrive(cap=20, policy=eager(in_flight=2, speculative=2))
    other = on.arrive(cap=2)
    assert speculative(on) == []
    on.finish(on.calls[0])
    submit = on.submits[-1]
    assert submit.call.program == program, "it arrived first"
    assert submit.call.id == "p0#3"
    assert not submit.call.is_speculative, "what is sent says what it is now"
    on.drain()
    assert on.answers[other].status == "answered"


def test_promotion_of_what_runs(stage):
    """Promotion starts nothing twice: a running speculative call just goes on."""
    on = stage(slots=5)
    program = on.arrive(cap=5, policy=eager(in_flight=2, speculative=3))
    on.finish("p0#1")
    units = on.run(program).units
    assert (units.granted, units.speculative) == (3, 2)
    on.drain()
    assert len(on.submits) == 5
    assert on.answers[program].knob == 5


def test_speculation_that_settles(stage):
    """A speculative unit that settles counts as granted."""
    on = stage(slots=5)
    program = on.arrive(cap=20, policy=eager(in_flight=2, speculative=3))
    on.finish("p0#4")
    units = on.run(program).units
    assert units.granted - on.run(program).program.knob == 2
    on.drain()


def test_promotion_reaches_children(stage):
    """With a strand the calls of those it forked are promoted."""

    def execute(self, context):
        self.votes = Votes()
        while (units := (yield Ask())).knob:
            yield Fork(branch(self), units.is_speculative)

    def branch(self):
        ticket = self.votes.launch()
        thread = yield Fork(child())
        yield Join((thread,))
        self.votes.record(ticket, None)
        self.knob += 1

    def child():
        yield Sample(WORK)

    on = stage(toy(execute), slots=1)
    program = on.arrive(spec="toy", params={"cap": 3}, policy=eager(1, 2))
    on.arrive("late", cap=2)
    on.drain()
    assert on.started() == [program] * 3 + ["late"] * 2
    assert speculative(on) == []


def test_promotion_stops_at_units(stage):
    """Promotion leaves those alone that run a speculative unit of their own."""

    def execute(self, context):
        self.votes = Votes()
        yield Ask()
        yield Fork(needed(self))
        yield Ask(2)
        yield Fork(outer(), is_speculative=True)

    def needed(self):
        ticket = self.votes.launch()
        yield Sample(WORK)
        self.votes.record(ticket, None)
        self.knob += 1

    def outer():
        yield Fork(inner(), is_speculative=True)
        yield Sample(WORK)

    def inner():
        yield Sample(WORK)

    on = stage(toy(execute), slots=1)
    program = on.arrive(spec="toy", params={"cap": 5}, policy=eager(1, 2))
    on.arrive("late", cap=1)
    on.drain()
    assert on.started() == [program, program, "late", program]
    assert len(speculative(on)) == 1


def test_a_program_that_does_not_care(stage):
    """A program that forks no speculative strands still never gets more than its cap."""

    def execute(self, context):
        self.votes = Votes()
        while (yield Ask()).knob:
            yield Fork(branch(self))

    def branch(self):
        ticket = self.votes.launch()
        yield Sample(WORK)
        self.votes.record(ticket, None)
        self.knob += 1

    on = stage(toy(execute), slots=30)
    program = on.arrive(spec="toy", params={"cap": 10}, policy=eager())
    run = on.run(program)
    while program not in on.answers:
        assert run.units.granted + run.units.speculative <= 10
        assert len(on.calls) <= 5
        on.finish(on.calls[0])
    assert (on.answers[program].status, on.answers[program].knob) == ("answered", 10)


def test_speculation_without_a_unit(stage):
    """A speculative fork without a speculative unit is a plain one."""

    def execute(self, context):
        yield Fork(branch(), is_speculative=True)
        yield Sample(WORK)

    def branch():
        yield Sample(WORK)

    on = stage(toy(execute))
    program = on.arrive(spec="toy", params={"cap": 1})
    assert speculative(on) == []
    assert on.run(program).units.speculative == 0
    on.drain()
    assert on.answers[program].reason == "done"


def test_ask_for_many_speculative_units(stage):
    """Units handed out in one go are forked one by one."""

    def execute(self, context):
        self.votes = Votes()
        for _ in range(2):
            units = yield Ask(5)
            self.heard.append(units)
            for _ in range(units.knob):
                yield Fork(branch(), units.is_speculative)

    def branch():
        yield Sample(WORK)

    on = stage(toy(execute), slots=9)
    program = on.arrive(spec="toy", params={"cap": 8}, policy=eager())
    run = on.run(program)
    assert run.program.heard == [Granted(2), Granted(3, is_speculative=True)]
    assert (run.units.granted, run.units.speculative) == (2, 3)
    assert len(speculative(on)) == 3
    on.drain()


grants = st.builds(Grant, st.integers(0, 4), st.integers(0, 4))


@given(
    st.integers(1, 10), st.lists(st.tuples(grants, st.integers(1, 3), st.booleans()), max_size=15)
)
def test_units_never_beyond_the_cap(cap, steps):
    """Whatever is granted, asked, forked or ended: handed-out units never exceed the cap."""
    units, numbers, handed = Units(cap), iter(range(1000)), 0
    for grant, knob, ends in steps:
        strand = StrandState(next(numbers), None, False)
        promoted = units.grant(grant)
        assert all(one.number not in units.runners for one in promoted)
        units.ask(strand, knob)
        for _, given_out in units.hand_out():
            assert isinstance(given_out, Granted)
            handed += given_out.knob
            for _ in range(given_out.knob if given_out.is_speculative else 0):
                assert units.has_unforked
                units.begin_speculation(StrandState(next(numbers), None, True))
        assert handed <= units.granted + units.speculative <= cap
        if ends and units.runners:
            before = units.granted + units.speculative
            units.end(next(iter(units.runners.values())))
            assert units.granted + units.speculative == before
