"""Learnt windows: where they settle on a modelled engine, and what makes them shrink."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.stage import EVEN, catalog, in_order
from toys.words import compare, said

from dynasor.core.events import Arrived, Configured, Observed, PoolChanged
from dynasor.core.scheduler import Scheduler
from dynasor.core.types import ProgramSpec, Replica
from dynasor.core.window import FEWEST, LONGEST_REST, MOST, Window
from dynasor.sim import Outcome, SimpleEngine, VirtualHost


class Plant:
    """One engine that runs `knee` calls at once, and a scheduler that does not know that."""

    def __init__(self, knee, begin, lengths, programs=400, seed=1):
        random = Random(seed)

        def model(call, attempt):
            tokens = max(1, round(lengths(random)))
            return Outcome(said("so x", tokens), tokens)

        self.engine = SimpleEngine(knee, 20.0)
        self.scheduler = Scheduler(in_order(), catalog())
        self.host = VirtualHost(self.scheduler, model, compare, watch=self.watch)
        self.sizes = []
        self.host.add_pool("generate", {"a": self.engine})
        self.host.send(PoolChanged("generate", (Replica("a", begin, is_learnt=True),)))
        params = {"question": "q", "task": "words", "cap": 20}
        for number in range(programs):
            spec = ProgramSpec("self-consistency", params)
            self.host.at(0.0, Arrived(f"p{number}", spec, EVEN))

    def watch(self, event, commands, now):
        pool = self.scheduler.dispatcher.pools["generate"]
        if pool.waiting:  # at the end nothing is left to learn from
            self.sizes.append(pool.replicas["a"].learnt.size)

    def look_every(self, seconds):
        """Run, and tell the scheduler now and then what its engine shows of itself."""
        while self.scheduler.waiting or self.host.now == 0.0:
            self.host.run(until=self.host.now + seconds)
            queue, running = len(self.engine.queue), len(self.engine.running)
            self.host.send(Observed("generate", "a", queue, running))
        self.host.run()

    def usual(self):
        """The median of the second half of the sizes, by events."""
        half = sorted(self.sizes[len(self.sizes) // 2 :])
        return half[len(half) // 2]


def alike(random):
    return random.uniform(80, 120)


def spread(random):
    return random.expovariate(1 / 100)


@pytest.mark.parametrize(
    ("knee", "begin", "lengths"),
    [(3, 1, alike), (3, 64, spread), (8, 8, spread), (8, 32, spread), (32, 4, spread)],
)
def test_it_finds_the_knee(knee, begin, lengths):
    """By throughput alone it settles within a step of what the engine runs at once."""
    plant = Plant(knee, begin, lengths)
    plant.host.run()
    assert knee / 1.3 <= plant.usual() <= knee * 1.3


@pytest.mark.parametrize(
    ("knee", "begin", "lengths"), [(1, 64, alike), (8, 64, spread), (32, 1, spread)]
)
def test_it_finds_the_knee_by_the_engines_own_queue(knee, begin, lengths):
    """Where the engine says what queues inside it, it comes down as soon as that shows."""
    plant = Plant(knee, begin, lengths)
    plant.look_every(5.0)
    assert knee / 1.3 <= plant.usual() <= knee * 1.3


def test_an_engine_that_changes():
    """When an engine comes to run more at once, the window follows."""
    plant = Plant(4, 4, alike)
    plant.host.run(until=1000.0)
    before = plant.usual()
    plant.engine.slots = 24
    plant.sizes.clear()
    plant.host.run()
    assert before <= 6
    assert 18 <= plant.usual() <= 32


def test_a_window_that_nobody_fills():
    """Calls that come one by one leave the window as it is."""
    plant = Plant(8, 8, alike, programs=0)
    params = {"question": "q", "task": "words", "cap": 1}
    for number in range(300):
        spec = ProgramSpec("self-consistency", params)
        plant.host.at(number * 10.0, Arrived(f"p{number}", spec, EVEN))
    plant.host.run()
    replica = plant.scheduler.dispatcher.pools["generate"].replicas["a"]
    assert (replica.learnt.size, replica.window, replica.slots) == (8, 8, 8)


# By hand.


def test_one_epoch():
    """An epoch is as many calls as it takes; the first one begins it, the last one ends it."""
    window = Window(4)
    assert not window.ended(0.0, 10, 1.0)
    for number in range(FEWEST - 1):
        assert not window.ended(1.0, 10, 2.0 + number)
    assert window.ended(1.0, 10, 40.0)
    assert window.size == 8, "the first measurement is what a wider window is compared with"


def test_interrupted():
    """What ended while the window was not full is not counted."""
    window = Window(1)
    for number in range(FEWEST):
        window.ended(float(number), 10, number + 1.0)
    window.interrupt()
    sizes = set()
    for number in range(FEWEST, 2 * FEWEST):
        window.ended(float(number), 10, number + 1.0)
        sizes.add(window.size)
    assert sizes == {1}


@pytest.mark.parametrize(
    ("waiting", "running", "held", "size"),
    [(0, 64, 64, 64), (7, 60, 64, 64), (20, 44, 64, 51), (60, 4, 64, 51), (8, 56, 64, 56)],
)
def test_queued(waiting, running, held, size):
    """It shrinks by a fifth, not below what runs, unless a few calls only wait for a slot."""
    window = Window(64)
    assert window.queued(waiting, running, held, 1.0) == (size != 64)
    assert window.size == size


def test_queued_once():
    """Until the calls sent under the wider window have ended it does not shrink again."""
    window = Window(10)
    assert window.queued(9, 1, 10, 1.0)
    assert not window.queued(9, 1, 10, 2.0)
    assert window.size == 8
    assert window.queued(7, 1, 8, 3.0)


def test_refused():
    """A refusal halves it; refusals of calls sent before that do not count again."""
    window = Window(16)
    assert window.refused(0.0, 1.0)
    assert not window.refused(0.5, 2.0)
    assert window.size == 8
    assert window.refused(1.5, 3.0)
    assert window.size == 4


def test_least():
    """It never goes below one call."""
    window = Window(1)
    assert not window.refused(0.0, 1.0)
    assert not window.queued(5, 0, 1, 2.0)
    assert window.size == 1
    assert Window(-3).size == 1
    assert Window(10**6).size == MOST


happenings = st.one_of(
    st.tuples(st.just("ended"), st.integers(0, 500), st.floats(0.0, 9.0)),
    st.tuples(st.just("refused"), st.floats(0.0, 9.0)),
    st.tuples(st.just("queued"), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)),
    st.tuples(st.just("interrupt")),
)


@given(begin=st.integers(1, 200), steps=st.lists(happenings, max_size=30), times=st.integers(1, 40))
def test_bounds(begin, steps, times):
    """Whatever happens, the window is a whole number from 1 to its most, and says when it moves."""
    window, now = Window(begin), 0.0
    for _ in range(times):
        for kind, *values in steps:
            now += 0.1
            before = window.size
            if kind == "ended":
                has_changed = window.ended(now - values[1], values[0], now)
            elif kind == "refused":
                has_changed = window.refused(now - values[0], now)
            elif kind == "queued":
                has_changed = window.queued(*values, now)
            else:
                has_changed = bool(window.interrupt())
            assert has_changed == (window.size != before)
            assert isinstance(window.size, int)
            assert 1 <= window.size <= MOST
            assert window._rest <= LONGEST_REST


# In a pool.


def test_in_a_pool(stage):
    """A learnt replica takes its window and no slack; the pool counts it as its slots."""
    on = stage(config=in_order(window_slack=0.5), slots=0)
    learnt = Replica("a", 4, is_learnt=True)
    on.send(PoolChanged("generate", (learnt,)))
    on.arrive(cap=20)
    assert len(on.calls) == 4
    on.send(Observed("generate", "a", waiting=3, running=1))
    pool = on.scheduler.dispatcher.pools["generate"]
    assert (pool.slots, pool.replicas["a"].window) == (3, 3)
    on.finish(on.calls[0])
    assert len(on.calls) == 3
    on.send(PoolChanged("generate", (learnt, Replica("b", 2))))
    assert pool.slots == 5, "what was learnt is kept when others come"
    on.send(Configured(in_order(window_slack=0.5)))
    assert pool.slots == 5
    on.send(PoolChanged("generate", (Replica("a", 6, is_learnt=True),)))
    assert pool.slots == 6, "unless it is to begin elsewhere"
    on.send(PoolChanged("generate", (Replica("a", 2),)))
    assert (pool.slots, pool.replicas["a"].window) == (2, 3)
    on.drain()


def test_a_busy_engine(stage):
    """A refusal halves the window and pauses the replica shortly; the call is tried again."""
    on = stage(config=in_order(retry_seconds=1.0), slots=0)
    on.send(PoolChanged("generate", (Replica("a", 4, is_learnt=True),)))
    on.arrive(cap=4)
    on.fail("p0#4", "EngineBusy")
    on.fail("p0#3", "EngineBusy")
    replica = on.scheduler.dispatcher.pools["generate"].replicas["a"]
    assert (replica.window, replica.is_paused, replica.is_down) == (2, True, False)
    on.send(Observed("generate", "a", is_healthy=True))
    assert replica.is_paused, "to be healthy is not to have time"
    on.fire("retry:p0#4:1")
    assert on.calls == ["p0#1", "p0#2"]
    on.fire("resume:generate/a")
    on.fire("retry:p0#3:1")
    on.drain()
    assert on.answers["p0"].status == "answered"
    assert on.bills["p0"].failed_attempts == 2


def test_a_busy_engine_with_known_slots(stage):
    """A replica whose slots are known is paused, never longer than a few seconds."""
    on = stage(config=in_order(retry_seconds=1.0, max_attempts=9), slots=1)
    on.arrive(cap=1)
    waits = []
    for attempt in range(1, 6):
        on.fail("p0#1", "EngineBusy")
        waits.append(on.timers["resume:generate/a"] - on.now)
        on.fire("resume:generate/a")
        on.fire(f"retry:p0#1:{attempt}")
    assert waits == [1.0, 2.0, 4.0, 4.0, 4.0]
    on.drain()
    assert on.answers["p0"].status == "answered"
