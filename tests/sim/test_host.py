from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.chain_of_thought import ToyChainOfThought
from toys.stage import EVEN, catalog, in_order, toy
from toys.stepwise import StepwiseEngine
from toys.visits import STEP
from toys.words import compare, said

from dynasor.core.commands import Answered, Closed, Submit
from dynasor.core.errors import IllegalTransition
from dynasor.core.events import (
    Arrived,
    Cancelled,
    Failed,
    Finished,
    Progressed,
    TimerFired,
    Withdrew,
)
from dynasor.core.program import Next, Open
from dynasor.core.scheduler import Scheduler
from dynasor.core.types import Generate, PolicySpec, ProgramSpec, Prompt
from dynasor.sim import BatchEngine, EngineModel, Outcome, Segment, SimpleEngine, VirtualHost

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


def test_feed(host):
    """Of events that are fed only the next is planned: it is drawn when the one before comes."""
    on, drawn = host(), []

    def arrivals():
        for number in range(5):
            drawn.append(number)
            assert sum(isinstance(entry[3], Arrived) for entry in on._heap) == 0
            yield 3.0 * number, Arrived(f"p{number}", SPEC, EVEN)

    on.feed(arrivals())
    assert drawn == [0]
    on.run(until=6.5)
    assert drawn == [0, 1, 2, 3]
    on.run()
    assert on.answered_at == {f"p{number}": 3.0 * number + 2.0 for number in range(5)}


def test_feeds(host):
    """Several may feed: each keeps its order, at one instant too; an empty one plans nothing."""
    on = host()

    def arrivals(name):
        yield from ((1.0, Arrived(f"{name}{number}", SPEC, EVEN)) for number in range(3))

    for name in "ab":
        on.feed(arrivals(name))
    on.feed(iter(()))
    on.run()
    came = [event.program for _, event, _ in on.log if isinstance(event, Arrived)]
    assert came == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_feed_of_the_past(host):
    """An event of the past is refused by the scheduler: time never runs backwards."""
    on = host()
    on.feed(iter([(2.0, Arrived("p", SPEC, EVEN)), (1.0, Arrived("q", SPEC, EVEN))]))
    with pytest.raises(IllegalTransition, match="time ran backwards: 1.0 after 2.0"):
        on.run()
    on.scheduler = Scheduler(in_order(), catalog())  # the other one stands where it stood


def test_watch():
    """Who watches sees every event and command in order; then the host itself keeps nothing."""
    seen = []
    scheduler = Scheduler(in_order(), catalog())
    on = VirtualHost(
        scheduler, steady, compare, has_log=True, watch=lambda *what: seen.append(what)
    )
    on.add_pool("generate", {"e": SimpleEngine(2, 10.0)})
    on.at(1.0, Arrived("p", SPEC, EVEN))
    on.run()
    assert [(now, event, commands) for event, commands, now in seen] == on.log
    commands = [command for _, commands, _ in seen for command in commands]
    assert [type(one) for one in commands[-2:]] == [Answered, Closed]
    assert on.answers == on.bills == on.answered_at == {}


def test_refused_for_good(host):
    """Calls that an engine can never run are not retried, and every one is told of its end."""
    on = host(lambda call, attempt: Outcome(said("so x", 10), 10, path=LONG))
    on.add_pool("generate", {"e": BatchEngine(EngineModel(STEP, kv_blocks=1))})
    on.send(Arrived("p", SPEC, EVEN))
    on.run()
    ends = [event for _, event, _ in on.log if isinstance(event, Failed)]
    assert [(end.attempt, end.kind) for end in ends] == [(1, "EngineRefused")] * 4
    assert "17 prompt tokens and 10 more need 26 tokens" in on.answers["p"].error
    bill = on.bills["p"]
    assert (bill.failed_attempts, bill.aborted_calls, on.now) == (3, 1, 0.0)


def test_withdrawn_when_refused(host):
    """A program that gives up when its calls are refused waits for their ends, which come."""
    on = host(lambda call, attempt: Outcome(said("so x", 10), 10, path=LONG))
    on.add_pool("generate", {"e": BatchEngine(EngineModel(STEP, kv_blocks=1))})
    on.send(Arrived("p", SPEC, EVEN))
    on.send(Withdrew("p"))
    on.run()
    assert "p" in on.bills


LONG = (Segment("long", 17),)


def prompted(call, attempt):
    return Outcome(said("so x", 10), 10, path=(Segment(call.program, 20),))


def batch(on, count=1, kind=BatchEngine, slots=None, **changes):
    """Give a host so many engines with continuous batching."""
    model = msgspec.structs.replace(EngineModel(STEP, kv_blocks=1000), **changes)
    engines = {f"e{number}": kind(model, slots) for number in range(count)}
    on.add_pool("generate", engines)
    return list(engines.values())


def test_batch(host):
    """The calls that a program sends at once begin with one step, and end with one."""
    on = host(prompted)
    (engine,) = batch(on)
    on.at(3.0, Arrived("p", SPEC, EVEN))
    on.run()
    steps = [STEP.of(20 + 3 * 4, 0, 0), *(STEP.of(0, 4, 4 * (21 + n)) for n in range(9))]
    assert on.answered_at == {"p": 3.0 + sum(steps)}
    assert (engine.totals.steps, engine.totals.generated) == (10, 40)
    assert on.bills["p"].spending.finished_tokens == 40


def test_batch_failures(host):
    """Failed attempts are tried again, and take their place in the batch anew."""

    def flaky(call, attempt):
        return prompted(call, attempt) if attempt > 1 else Outcome(None, 5, "EngineTimeout", "slow")

    on = host(flaky, retry_seconds=2.0)
    batch(on)
    on.send(Arrived("p", SPEC, EVEN))
    on.run()
    bill = on.bills["p"]
    assert (bill.failed_attempts, bill.spending.failed_tokens) == (4, 20)
    assert on.answers["p"].knob == 4


@pytest.mark.parametrize("slots", [4, 2])
def test_batch_aborts(host, slots):
    """Whoever withdraws pays for what its calls had generated when the running step ended."""
    on = host(prompted)
    (engine,) = batch(on, slots=4, max_running=slots)
    on.send(Arrived("p", SPEC, EVEN))
    first, second = STEP.of(20 + (slots - 1) * 4, 0, 0), STEP.of(0, slots, slots * 21)
    on.at(first + second / 2, Withdrew("p"))
    on.run()
    ends = [(now, event) for now, event, _ in on.log if isinstance(event, Cancelled)]
    assert [now for now, _ in ends] == [first + second / 2] * (4 - slots) + [first + second] * slots
    assert on.bills["p"].spending.aborted_tokens == engine.totals.generated == 2 * slots
    assert on.scheduler.ignored == 0
    assert engine.cache.used == 0


def test_abort_at_the_end(host):
    """A call that ends at the instant at which it is aborted is told once."""
    on = host(prompted)
    batch(on)
    on.send(Arrived("p", SPEC, EVEN))
    steps = [STEP.of(20 + 3 * 4, 0, 0), *(STEP.of(0, 4, 4 * (21 + n)) for n in range(9))]
    on.at(sum(steps) - 1 / 1024, Withdrew("p"))
    on.run()
    ends = [event for _, event, _ in on.log if isinstance(event, Finished | Cancelled)]
    assert sorted(end.call for end in ends) == [f"p#{number}" for number in range(1, 5)]
    assert on.bills["p"].spending.completion_tokens == 40


def test_replicas(host):
    """Replicas work side by side: twice as many serve twice as many programs in as much time."""
    times = []
    for count in (1, 2):
        on = host(prompted)
        engines = batch(on, count, slots=4, max_running=4)
        for number in range(2 * count):
            on.send(Arrived(f"p{number}", SPEC, EVEN))
        on.run()
        times.append(on.now)
        assert [one.totals.generated for one in engines] == [80] * count
    assert times[0] == pytest.approx(times[1], rel=0.05), "a prompt may be computed in both"


def test_chain_of_thought(host):
    """Reports of a batch engine feed a program that probes and stops its stream on agreement."""
    on = host(thinking, ToyChainOfThought)
    (engine,) = batch(on)
    on.send(Arrived("p", ProgramSpec("toy-chain", {"every": 4, "agree": 3}), EVEN))
    on.run()
    assert on.answers["p"].answer.value == "x"
    assert on.answers["p"].knob >= 3
    assert engine.totals.generated < 60
    assert engine.cache.used == 0
    assert on.bills["p"].spending.aborted_tokens >= 12


def thinking(call, attempt):
    """Streams of 60 tokens, probes of 2: all say the same."""
    path = (Segment("all", 9), Segment(f"{call.program} thinks", 15))
    if call.work.report_every:
        return Outcome(said("hm " * 60, 60), 60, path=path)
    return Outcome(said("so x", 2), 2, path=path)


@given(
    seed=st.integers(0, 10**6),
    running=st.integers(1, 5),
    blocks=st.integers(24, 60),
    order=st.sampled_from(["fcfs", "lpm"]),
)
def test_skipping_under_a_scheduler(seed, running, blocks, order):
    """Under a scheduler too an engine that skips gives the same events as one that steps."""
    model = {"kv_blocks": blocks, "max_running": running, "order": order}
    assert logged(BatchEngine, 1, seed, **model) == logged(StepwiseEngine, 1, seed, **model)


@pytest.mark.parametrize("replicas", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_skipping_on_replicas(replicas, seed):
    """Several engines that skip give the same events as several that step.

    Not so where steps of two end at one instant and one's end is the other's next call: it comes
    between two steps that are there only for who makes them.
    """
    model = {"kv_blocks": 40, "max_running": 4}
    skipped, stepped = (
        logged(kind, replicas, seed, **model) for kind in (BatchEngine, StepwiseEngine)
    )
    assert skipped == stepped


def logged(kind, replicas, seed, max_running, **model):
    """The log of a run on such engines, which have nothing left when it is over."""
    scheduler = Scheduler(in_order("gang", retry_seconds=0.5), catalog(ToyChainOfThought))
    on = VirtualHost(scheduler, Lottery(seed), compare, has_log=True)
    model = {"token_budget": max_running + 8, "max_running": max_running, **model}
    engines = batch(on, replicas, kind, block_tokens=4, **model)
    on.feed(arrivals(seed))
    on.run()
    scheduler.validate()
    assert len(on.bills) == 12
    assert all(engine.cache.used == 0 for engine in engines)
    times = [now for now, _, _ in on.log]
    assert times == sorted(times)
    return on.log


class Lottery:
    """Outcomes drawn from a seed: lengths, answers, failures."""

    def __init__(self, seed):
        self.seed = seed

    def __call__(self, call, attempt):
        if call.work.report_every:
            return thinking(call, attempt)
        luck = Random(f"{self.seed} {call.id} {attempt}")
        path = (Segment("all", 9), Segment(call.program, 5))
        tokens = luck.randrange(1, 30)
        if luck.random() < 0.2:
            return Outcome(None, tokens, "EngineTimeout", "slow", path=path)
        return Outcome(said(f"so {luck.choice('xy')}", tokens), tokens, path=path)


def arrivals(seed):
    """Programs of two kinds, some with a deadline, some withdrawn."""
    luck, time = Random(seed), 0.0
    for number in range(12):
        time += luck.randrange(0, 256) / 64
        chain = ProgramSpec("toy-chain", {"every": 4, "agree": 3})
        spec = chain if luck.random() < 0.3 else SPEC
        deadline = luck.randrange(64, 1024) / 64 if luck.random() < 0.5 else None
        yield time, Arrived(f"p{number}", spec, EVEN, deadline_seconds=deadline)
        if luck.random() < 0.2:
            time += luck.randrange(0, 64) / 64
            yield time, Withdrew(f"p{number}")


def test_commands_name_known_replicas(host):
    """Every submitted call goes to a replica of its pool."""
    on = host(prompted)
    batch(on, 3)
    on.send(Arrived("p", SPEC, EVEN))
    on.run()
    submits = [one for _, _, commands in on.log for one in commands if isinstance(one, Submit)]
    assert {one.replica for one in submits} <= {"e0", "e1", "e2"}
