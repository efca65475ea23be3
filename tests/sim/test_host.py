from __future__ import annotations

import pytest
from toys.stage import EVEN, catalog, in_order, toy
from toys.words import compare, said

from dynasor.core.events import Arrived, Finished, Progressed, TimerFired, Withdrew
from dynasor.core.program import Next, Open
from dynasor.core.scheduler import Scheduler
from dynasor.core.types import Generate, PolicySpec, ProgramSpec, Prompt
from dynasor.sim import Outcome, SimpleEngine, VirtualHost

SPEC = ProgramSpec("self-consistency", {"question": "q", "task": "words", "cap": 4})


def steady(call, attempt):
    return Outcome(said("so x", 10), 10)


@pytest.fixture
def host():
    """A host whose scheduler is audited at the end."""
    made = []

    def make(model=steady, *kinds, slots=2, **settings):
        scheduler = Scheduler(in_order(**settings), catalog(*kinds))
        made.append(VirtualHost(scheduler, model, compare, has_log=True))
        made[-1].add_pool("generate", {"e": SimpleEngine(slots, 10.0)})
        return made[-1]

    yield make
    for one in made:
        one.scheduler.validate()


def test_time_is_the_engines(host):
    """Four calls of a second each on two slots take two seconds."""
    on = host()
    on.at(3.0, Arrived("p", SPEC, EVEN))
    on.run()
    assert on.answered_at == {"p": 5.0}
    assert on.now == 5.0
    assert on.bills["p"].spending.finished_tokens == 40


def test_run_until(host):
    """Running until a time leaves what is planned later for later."""
    on = host()
    on.at(0.0, Arrived("p", SPEC, EVEN))
    on.run(until=1.5)
    assert on.answers == {}
    assert on.now == 1.5
    on.run()
    assert on.answered_at["p"] == 2.0


def test_order_at_one_instant(host):
    """At one instant engines finish first, then timers fire, then programs arrive."""
    on = host()
    on.at(0.0, Arrived("p", SPEC, EVEN, deadline_seconds=1.0))
    on.at(1.0, Arrived("q", SPEC, EVEN))
    on.run(until=1.0)
    kinds = [type(event) for now, event, _ in on.log if now == 1.0]
    last = max(n for n, kind in enumerate(kinds) if kind is Finished)
    assert kinds.index(TimerFired) > last - 2
    assert kinds.index(Arrived) > kinds.index(TimerFired)
    assert on.answers["p"].status == "deadline"
    assert on.answers["p"].knob == 2, "what finished at the deadline counts"
    on.run()


def test_log(host):
    """The log has every event with its time and its commands; without asking there is none."""
    on = host()
    on.send(Arrived("p", SPEC, EVEN))
    now, event, commands = on.log[-1]
    assert (now, event.program, len(commands)) == (0.0, "p", 2)
    quiet = VirtualHost(on.scheduler, steady, compare)
    assert quiet.log is None
    on.run()


def test_abort_is_answered(host):
    """An abort is answered with what was generated, at the same instant."""
    on = host()
    on.send(Arrived("p", SPEC, EVEN))
    on.at(0.5, Withdrew("p"))
    on.run()
    assert on.now == 1.0, "the attempts' planned ends come and are nobody's"
    assert on.bills["p"].spending.aborted_tokens == 10
    assert on.scheduler.ignored == 0


def test_failures_and_retries(host):
    """A failed attempt costs its tokens, and its retry comes when its timer says."""

    def flaky(call, attempt):
        if attempt == 1:
            return Outcome(None, 5, "EngineTimeout", "too slow")
        return steady(call, attempt)

    on = host(flaky, slots=4, retry_seconds=2.0)
    on.send(Arrived("p", SPEC, EVEN))
    on.run()
    assert on.answered_at["p"] == 0.5 + 2.0 + 1.0
    bill = on.bills["p"]
    assert (bill.failed_attempts, bill.spending.failed_tokens) == (4, 20)


def test_grouping_is_immediate(host):
    """Comparisons are answered at the same instant."""

    def shouting(call, attempt):
        return Outcome(said("AA" if call.id == "p#2" else "aa", 10), 10)

    on = host(shouting, slots=4)
    on.send(Arrived("p", SPEC, PolicySpec("even", {}, False)))
    on.run()
    assert on.answered_at["p"] == 1.0
    assert on.answers["p"].votes == {"aa": 4.0}


def test_reports(host):
    """A stream's text is spread evenly over its tokens, a report every so many."""

    def execute(self, context):
        stream = yield Open(Generate(Prompt(()), report_every=4))
        while (report := (yield Next(stream))).result is None:
            self.heard.append((report.delta, report.tokens))
        self.heard.append(report.result.text)

    on = host(lambda call, attempt: Outcome(said("0123456789", 10), 10), toy(execute))
    on.send(Arrived("p", ProgramSpec("toy"), EVEN))
    program = on.scheduler._runs["p"].program
    on.run()
    assert program.heard == [("0123", 4), ("4567", 4), "0123456789"]
    times = [now for now, event, _ in on.log if isinstance(event, Progressed)]
    assert times == [0.4, 0.8]


def test_two_pools_may_name_a_replica_alike(host):
    """Replica names belong to their pool: two pools may use the same one."""
    on = host()
    on.add_pool("reward", {"e": SimpleEngine(5, 1.0)})
    on.send(Arrived("p", SPEC, EVEN))
    on.run()
    assert on.answered_at["p"] == 2.0
