"""A client's own request as a program: one call, whatever becomes of it."""

from __future__ import annotations

import pytest

from dynasor.core.commands import Abort, Answered, Closed, Submit
from dynasor.core.config import SchedulerConfig
from dynasor.core.events import Arrived, Cancelled, Failed, Finished, PoolChanged, Withdrew
from dynasor.core.scheduler import Scheduler
from dynasor.core.types import ProgramSpec, Relay, Relayed, Replica, Usage
from dynasor.programs.pass_through import PassThrough
from dynasor.wiring import make_catalog

BODY = '{"n":  1}'
SPEC = ProgramSpec("pass-through", {"path": "/completions", "body": BODY})
ARRIVED = Arrived("p", SPEC, PassThrough.usual_policy, "pass-through", affinity="session")


@pytest.fixture
def scheduler():
    """A scheduler with one replica."""
    made = Scheduler(SchedulerConfig(), make_catalog())
    made.handle(PoolChanged("generate", (Replica("e", 1),)), 0.0)
    yield made
    made.validate()


def test_one_call(scheduler):
    """It is one call with the client's path and body, and ends with it."""
    (submit,) = scheduler.handle(ARRIVED, 0.0)
    assert isinstance(submit, Submit)
    assert submit.call.work == Relay("/completions", BODY)
    assert submit.call.affinity == "session"
    end = scheduler.handle(Finished(submit.call.id, 1, Relayed(404, Usage(3, 2))), 1.0)
    answered, closed = (one for one in end if isinstance(one, Answered | Closed))
    assert (answered.status, answered.answer, answered.knob) == ("answered", None, 1)
    assert (closed.calls, closed.spending.completion_tokens) == (1, 2)


def test_fails_with_its_call(scheduler):
    """It fails with its call, under the name of what failed it."""
    (submit,) = scheduler.handle(ARRIVED, 0.0)
    failed = Failed(submit.call.id, 1, "EngineBusy", "later", is_retryable=False)
    answered = next(c for c in scheduler.handle(failed, 1.0) if isinstance(c, Answered))
    assert (answered.status, answered.error_kind) == ("failed", "EngineBusy")
    assert "later" in answered.error


def test_withdrawn(scheduler):
    """Taken back, it aborts its call."""
    (submit,) = scheduler.handle(ARRIVED, 0.0)
    told = scheduler.handle(Withdrew("p"), 1.0)
    assert Abort(submit.call.id, 1, told[0].cause) in told
    assert any(isinstance(one, Closed) for one in scheduler.handle(Cancelled("p#1", 1), 1.5))


def test_takes_its_turn(scheduler):
    """It occupies the window like any call, and waits where there is no room."""
    sent = [
        scheduler.handle(Arrived(f"p{n}", SPEC, PassThrough.usual_policy), 0.0) for n in range(3)
    ]
    assert [len(commands) for commands in sent] == [1, 1, 0]
    assert scheduler.waiting == 1


def test_says_nothing_of_itself():
    """It has no certaindex and no answer: the client has all there is."""
    program = PassThrough(body=BODY)
    assert program.update_certaindex() == {}
    assert program.answer() is None
