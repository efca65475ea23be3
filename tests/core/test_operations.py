"""What a strand may yield, and what it is resumed with."""

from __future__ import annotations

import pytest
from toys.stage import EVEN, toy
from toys.words import said

from dynasor.core.errors import CallFailed
from dynasor.core.program import (
    Ask,
    Cancel,
    Fork,
    Granted,
    Join,
    Next,
    Open,
    Report,
    Sample,
    Thread,
)
from dynasor.core.types import Generate, Prompt

WORK = Generate(Prompt(()))
STREAM = Generate(Prompt(()), report_every=2)


@pytest.fixture
def play(stage):
    """Start a program of this first strand; return its stage and what it hears."""

    def start(execute, cap=3, **members):
        on = stage(toy(execute, **members))
        program = on.arrive(spec="toy", params={"cap": cap}, policy=EVEN)
        heard = on.run(program).program.heard if program not in on.answers else None
        return on, heard

    return start


# Ask.


def test_ask_gets_what_is_left(play):
    """A strand gets as many units as it asked for or as are left, and 0 once the cap is used up."""

    def execute(self, context):
        for knob in (2, 2, 1, 5):
            self.heard.append((yield Ask(knob)))
        yield Sample(WORK)

    on, heard = play(execute)
    assert heard == [Granted(2), Granted(1), Granted(0), Granted(0)]
    on.drain()


@pytest.mark.parametrize("knob", [0, -1])
def test_ask_for_nothing(play, knob):
    """Asking for less than one unit is an error of the program."""

    def execute(self, context):
        yield Ask(knob)

    on, _ = play(execute)
    assert f"Ask({knob})" in on.answers["p0"].error


# Fork and Join.


def sampler(self, name):
    sample = yield Sample(WORK)
    self.heard.append(name)
    return sample.text


def test_join(play):
    """Join waits for all strands and returns their values in its own order."""

    def execute(self, context):
        a = yield Fork(sampler(self, "a"))
        b = yield Fork(sampler(self, "b"))
        self.heard.append((yield Join((b, a))))
        self.heard.append((yield Join((a,))))
        self.heard.append((yield Join(())))
        yield Sample(WORK)

    on, heard = play(execute)
    on.finish("p0#2", "bee")
    assert heard == ["b"]
    on.finish("p0#1", "ay")
    assert heard == ["b", "a", ("bee", "ay"), ("ay",), ()]
    on.drain()
    assert on.answers["p0"].reason == "done"


def test_join_twice_the_same(play):
    """A strand named twice in a Join is waited for once."""

    def execute(self, context):
        a = yield Fork(sampler(self, "a"))
        self.heard.append((yield Join((a, a))))
        self.heard.append((yield Sample(WORK)).text)

    on, heard = play(execute)
    on.finish("p0#1", "ay")
    assert heard == ["a", ("ay", "ay")]
    on.finish("p0#2", "bee")
    assert heard[-1] == "bee"
    assert on.answers["p0"].status == "answered"


def test_two_strands_join_one(play):
    """Several strands may wait for one."""

    def execute(self, context):
        a = yield Fork(sampler(self, "a"))
        for name in "xy":
            yield Fork(joiner(name, a))

    def joiner(name, thread):
        values = yield Join((thread,))
        heard.append((name, *values))

    heard = []
    on, _ = play(execute)
    on.finish("p0#1", "ay")
    assert heard == [("x", "ay"), ("y", "ay")]


def test_strands_take_turns(play):
    """A strand goes on until it must wait; those that it forked start after that, in order."""

    def execute(self, context):
        self.heard.append("parent")
        yield Fork(child(self, 1))
        self.heard.append("parent again")
        yield Fork(child(self, 2))
        yield Sample(WORK)

    def child(self, name):
        self.heard.append(name)
        yield Sample(WORK)

    on, heard = play(execute)
    assert heard == ["parent", "parent again", 1, 2]
    assert on.calls == ["p0#1", "p0#2", "p0#3"]
    on.drain()


# Sample.


def test_sample_that_failed(play):
    """A call that failed for good raises CallFailed at its yield, with its attempts and kind."""

    def execute(self, context):
        try:
            yield Sample(WORK)
        except CallFailed as exc:
            self.heard.append((exc.call, exc.attempts, exc.kind, str(exc)))
        yield Sample(WORK)

    on, heard = play(execute)
    on.fail("p0#1", "EngineRefused", is_retryable=False)
    assert heard == [("p0#1", 1, "EngineRefused", "boo (call p0#1, 1 attempt)")]
    on.drain()
    assert on.answers["p0"].reason == "done"


# Open, Next, Cancel.


def reader(self, context):
    stream = yield Open(STREAM)
    while True:
        report = yield Next(stream)
        self.heard.append(report)
        if report.result is not None:
            return


def test_stream(play):
    """A stream gives a report for every progress, then one with the whole output."""
    on, heard = play(reader)
    assert on.report("p0#1", "so ", 2) == []
    on.report("p0#1", "x", 2)
    on.finish("p0#1", "so x", tokens=4)
    assert heard == [Report("so ", 2), Report("x", 2), Report("", 0, said("so x", 4))]
    assert on.answers["p0"].status == "answered"
    assert on.bills["p0"].spending.completion_tokens == 4


def test_reports_wait(play):
    """Reports that came while nobody waited are kept in order."""

    def execute(self, context):
        stream = yield Open(STREAM)
        yield Sample(WORK)
        for _ in range(3):
            self.heard.append((yield Next(stream)).delta)

    on, heard = play(execute)
    on.report("p0#1", "a")
    on.report("p0#1", "b")
    on.finish("p0#1", "ab")
    assert heard == []
    on.finish("p0#2")
    assert heard == ["a", "b", ""]


def test_stream_that_failed(play):
    """A failed stream gives its reports first and then raises; it is never tried again."""

    def execute(self, context):
        stream = yield Open(STREAM)
        yield Sample(WORK)
        try:
            while True:
                self.heard.append((yield Next(stream)).delta)
        except CallFailed as exc:
            self.heard.append(exc.kind)

    on, heard = play(execute)
    on.report("p0#1", "a")
    on.fail("p0#1", is_retryable=True)
    assert "retry:p0#1:1" not in on.timers
    on.finish("p0#2")
    assert heard == ["a", "EngineTimeout"]
    assert on.bills["p0"].failed_attempts == 1


def test_waiting_reader_of_a_stream_that_failed(play):
    """A strand that waits for a report when the stream fails gets the failure at once."""
    on, _ = play(reader)
    on.fail("p0#1", is_retryable=False)
    assert on.answers["p0"].error_kind == "EngineTimeout"


def test_cancel_a_stream(play):
    """A cancelled stream is aborted and its later reports are ignored; once is enough."""

    def execute(self, context):
        stream = yield Open(STREAM)
        self.heard.append((yield Next(stream)).delta)
        for _ in range(2):
            self.heard.append((yield Cancel(stream)))
        yield Sample(WORK)

    on, heard = play(execute)
    on.report("p0#1", "a")
    assert on.aborted == ["p0#1"]
    assert heard == ["a", None, None]
    assert on.report("p0#1", "b") == []
    assert on.scheduler.ignored == 1
    on.cancel("p0#1", tokens=2)
    on.drain()
    assert on.bills["p0"].spending.aborted_tokens == 2
    assert on.answers["p0"].reason == "done"


def test_next_of_a_cancelled_stream(play):
    """Reading a stream that was cancelled is an error of the program."""

    def execute(self, context):
        stream = yield Open(STREAM)
        yield Cancel(stream)
        yield Next(stream)

    on, _ = play(execute)
    assert "no such stream is open" in on.answers["p0"].error
    assert on.bills["p0"].calls == 1


def test_next_of_a_stream_that_ended(play):
    """Reading on after the last report is an error of the program, not an endless wait."""

    def execute(self, context):
        stream = yield Open(STREAM)
        yield Fork(sampler(self, "other"))
        yield Next(stream)
        yield Next(stream)

    on, _ = play(execute)
    on.finish("p0#1")
    assert "has ended" in on.answers["p0"].error
    on.drain()


def test_two_readers(play):
    """Only one strand at a time may wait for a stream's next report."""

    def execute(self, context):
        stream = yield Open(STREAM)
        yield Fork(second(stream))
        yield Next(stream)

    def second(stream):
        yield Next(stream)

    on, _ = play(execute)
    assert "another strand already waits" in on.answers["p0"].error
    on.drain()


def test_cancel_a_stream_that_another_reads(play):
    """A strand that waits for a stream which another cancels gets CallFailed, not silence."""

    def execute(self, context):
        stream = yield Open(STREAM)
        yield Fork(killer(stream))
        try:
            yield Next(stream)
        except CallFailed as exc:
            self.heard.append(exc.kind)
        yield Sample(WORK)

    def killer(stream):
        yield Sample(WORK)
        yield Cancel(stream)

    on, heard = play(execute)
    on.finish("p0#2")
    assert heard == ["Cancelled"]
    assert on.aborted == ["p0#1"]
    on.cancel("p0#1")
    on.drain()
    assert on.answers["p0"].reason == "done"


def test_cancel_a_thread(play):
    """Cancelling a strand closes it and its children, aborts their calls; joiners get None."""
    closed = []

    def execute(self, context):
        thread = yield Fork(parent(self))
        yield Sample(WORK)
        yield Cancel(thread)
        self.heard.append((yield Join((thread,))))
        yield Cancel(thread)
        yield Sample(WORK)

    def parent(self):
        try:
            yield Fork(child())
            yield Sample(WORK)
        finally:
            closed.append("parent")

    def child():
        try:
            yield Sample(WORK)
        finally:
            closed.append("child")

    on, heard = play(execute)
    calls = on.calls
    assert len(calls) == 3
    on.finish("p0#1")
    assert closed == ["child", "parent"]
    assert heard == [(None,)]
    assert len(on.aborted) == 2
    for call in on.aborted:
        on.cancel(call)
    on.drain()
    assert on.answers["p0"].reason == "done"


def test_cancel_a_thread_that_waits(play):
    """A strand cancelled while it asks, joins or groups is never resumed again."""

    def execute(self, context):
        yield Ask(3)
        first = yield Fork(asker(self))
        second = yield Fork(joiner(self, Thread(0)))
        yield Cancel(first)
        yield Cancel(second)
        yield Sample(WORK)

    def asker(self):
        self.heard.append((yield Ask()))

    def joiner(self, thread):
        self.heard.append((yield Join((thread,))))

    on, heard = play(execute, cap=4)
    assert heard == []
    on.drain()
    assert on.answers["p0"].reason == "done"


def test_cancel_a_thread_that_was_about_to_go_on(play):
    """A strand cancelled between its result and its turn never sees that result."""

    def execute(self, context):
        call = yield Fork(sampler(self, "call"))
        yield Fork(canceller(self, call))
        self.heard.append((yield Fork(victim(self, call))))
        yield Sample(WORK)

    def canceller(self, thread):
        yield Join((thread,))
        yield Cancel(self.heard[0])

    def victim(self, thread):
        yield Join((thread,))
        self.heard.append("too late")

    on, heard = play(execute)
    on.finish("p0#2")
    assert heard[1:] == ["call"]
    on.drain()
    assert on.answers["p0"].reason == "done"


def test_orphaned_calls_are_dropped(play):
    """Only a strand's own streams end with it; what others run goes on."""

    def execute(self, context):
        yield Fork(careless())
        self.heard.append((yield Sample(WORK)).text)
        self.heard.append((yield Sample(WORK)).text)

    def careless():
        yield Open(STREAM)
        yield Sample(WORK)

    on, heard = play(execute)
    streams = [s.call.id for s in on.submits if s.call.work is STREAM]
    others = [call for call in on.calls if call not in streams]
    assert on.aborted == []
    for call in others:
        on.finish(call, "kept")
    assert on.aborted == streams
    on.drain()
    assert heard[0] == "kept"
    assert on.answers["p0"].reason == "done"


def test_calls_end_with_their_strand(play):
    """A stream that its strand leaves open is aborted when the strand ends."""

    def execute(self, context):
        yield Fork(careless())
        yield Sample(WORK)

    def careless():
        yield Open(STREAM)

    on, _ = play(execute)
    assert on.aborted == [submit.call.id for submit in on.submits if submit.call.work is STREAM]
    on.drain()


# Context.


def test_random_is_by_name(stage):
    """A strand's random numbers depend on seed, program and name, on nothing else."""

    def execute(self, context):
        self.heard += [context.random(name).random() for name in ("a", "b", "a")]
        yield Sample(WORK)

    on = stage(toy(execute))
    drawn = []
    for program in ("p", "q"):
        on.arrive(program, spec="toy", params={})
        drawn.append(on.run(program).program.heard)
    (a, b, again), (other, _, _) = drawn
    assert a == again
    assert len({a, b, other}) == 3
    on.drain()
