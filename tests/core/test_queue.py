from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.core.config import OrderingSpec, SchedulerConfig
from dynasor.core.errors import ConfigError
from dynasor.core.ordering import AppFifo, Deadline, Demand, Plas, Sjf
from dynasor.core.queue import ProgramQueue


def demand(number, work=1.0, arrived=None, solo=1.0):
    name = f"p{number}"
    arrived = float(number) if arrived is None else arrived
    return Demand(name, number, "w", "", arrived, 1, work, solo_seconds=solo)


class Swing:
    """Rank by work before a program's turning point, and last after it."""

    def key(self, demand):
        return (demand.as_of >= demand.latest_start, demand.tokens_per_knob)

    def changes_at(self, demand):
        return demand.latest_start


class Model:
    """The queue as one would say it: sort everything anew at every look."""

    def __init__(self, ordering, factor, patience):
        self.ordering, self.factor, self.patience = ordering, factor, patience
        self.ages = getattr(ordering, "ages", lambda demand: True)
        self.lanes = {}

    def add(self, demand, item, is_speculative, *, is_first=False):
        lane = self.lanes.setdefault((demand.program, is_speculative), (demand, []))[1]
        lane.insert(0 if is_first else len(lane), item)

    def remove(self, item):
        for key, (_, lane) in list(self.lanes.items()):
            if item in lane:
                lane.remove(item)
                if not lane:
                    del self.lanes[key]
                return True
        return False

    def items(self, now):
        """All items, best first."""
        ranked = []
        for demand, _ in self.lanes.values():
            crosses = demand.arrived + min(self.factor * demand.solo_seconds, self.patience)
            if self.factor and demand.crossed_at is None and crosses <= now and self.ages(demand):
                demand.crossed_at = crosses
        for (_, is_speculative), (demand, lane) in self.lanes.items():
            demand.as_of = now
            crossed = demand.crossed_at
            key = (1, *self.ordering.key(demand)) if crossed is None else (0, crossed)
            ranked.append(((is_speculative, key, demand.number), lane))
        return [item for _, lane in sorted(ranked, key=lambda pair: pair[0]) for item in lane]


actions = st.lists(
    st.tuples(
        st.sampled_from(
            ["push", "push", "prepend", "pop", "remove", "update", "wait", "push_take"]
        ),
        st.integers(0, 5),
        st.integers(1, 9),
        st.booleans(),
    ),
    max_size=60,
)


def twins(programs=6):
    """Equal demands for the queue and for the model: each marks its own."""
    return [[demand(n, work=5 - n % 3, arrived=n * 0.5) for n in range(programs)] for _ in "ab"]


class Pair:
    """A queue and its model, each with demands of its own, doing the same."""

    def __init__(self, ordering, factor, patience):
        self.queue = ProgramQueue(ordering, factor, patience)
        self.model = Model(ordering, factor, inf if patience is None else patience)
        self.ours, self.theirs = twins()
        for one in (*self.ours, *self.theirs):
            one.latest_start = 3.0 + one.number % 4 if one.number else inf
        self.now, self.count = 0.0, 0

    def push(self, who, amount, is_speculative, *, is_first=False):
        self.count += 1
        add = self.queue.prepend if is_first else self.queue.push
        add(self.ours[who], f"i{self.count}", self.count, is_speculative=is_speculative)
        self.model.add(self.theirs[who], self.count, is_speculative, is_first=is_first)

    def prepend(self, who, amount, is_speculative):
        self.push(who, amount, is_speculative, is_first=True)

    def pop(self, who, amount, is_speculative):
        expected = self.model.items(self.now)
        if expected:
            assert self.queue.pop(self.now) == expected[0]
            self.model.remove(expected[0])

    def remove(self, who, amount, is_speculative):
        was_here = self.model.remove(amount)
        assert self.queue.remove(f"i{amount}") == (amount if was_here else None)

    def update(self, who, amount, is_speculative):
        for one in (self.ours[who], self.theirs[who]):
            one.tokens_per_knob, one.solo_seconds = float(amount), amount / 4
            one.latest_start = self.now + amount if one.number else inf
            one.attained += amount
        self.queue.update(self.ours[who].program)

    def wait(self, who, amount, is_speculative):
        self.now += amount / 2

    def push_take(self, who, amount, is_speculative):
        self.count += 1
        self.model.add(self.theirs[who], self.count, is_speculative)
        expected = self.model.items(self.now)[0]
        name, lane = f"i{self.count}", {"is_speculative": is_speculative}
        assert self.queue.push_take(self.ours[who], name, self.count, self.now, **lane) == expected
        self.model.remove(expected)

    def check(self):
        self.queue.advance(self.now)
        expected = self.model.items(self.now)
        assert list(self.queue) == expected
        assert len(self.queue) == len(expected)
        assert bool(self.queue) == bool(expected)
        assert self.queue.peek(self.now) == (expected[0] if expected else None)
        assert all(f"i{item}" in self.queue for item in expected)


@pytest.mark.parametrize(("factor", "patience"), [(0.0, None), (4.0, None), (4.0, 6.0)])
@pytest.mark.parametrize(
    "ordering",
    [AppFifo(), Sjf(), Swing(), Plas(4.0), Deadline(0.0), Deadline(2.0)],
    ids=["fifo", "sjf", "swing", "plas", "deadline", "deadline-steps"],
)
@given(actions)
def test_against_a_sorted_list(ordering, factor, patience, actions):
    """After any sequence of operations the queue holds what a sorted list would, in its order."""
    pair = Pair(ordering, factor, patience)
    for action, *how in actions:
        getattr(pair, action)(*how)
        pair.check()


def test_empty():
    """An empty queue has no head, peeks None and refuses to pop."""
    queue = ProgramQueue(AppFifo())
    assert queue.head(0.0) is None
    assert queue.peek(0.0) is None
    assert queue.remove("x") is None
    assert "x" not in queue
    with pytest.raises(IndexError, match="empty"):
        queue.pop(0.0)


def test_speculative_below_all():
    """A speculative item ranks below every needed one, even of a program that crossed."""
    queue = ProgramQueue(AppFifo(), aging_factor=1.0)
    queue.push(demand(0), "old", "old", is_speculative=True)
    queue.push(demand(1, arrived=99.5), "new", "new")
    assert list(queue) == ["new", "old"]
    assert queue.head(100.0) == (False, (1, 99.5), 1)
    assert queue.pop(100.0) == "new"
    assert queue.head(100.0)[:2] == (True, (0, 1.0))


def test_heads_compare():
    """Heads of two queues compare as their items would in one."""
    left, right = ProgramQueue(Sjf()), ProgramQueue(Sjf())
    left.push(demand(0, work=5.0), "a", "a")
    right.push(demand(1, work=3.0), "b", "b")
    assert right.head(0.0) < left.head(0.0)
    right.push(demand(2, work=1.0), "c", "c", is_speculative=True)
    right.remove("b")
    assert left.head(0.0) < right.head(0.0)


def test_crossing_is_fifo():
    """Programs that waited too long go first, in the order in which they crossed."""
    queue = ProgramQueue(Sjf(), aging_factor=2.0)
    queue.push(demand(0, work=9.0, arrived=0.0, solo=3.0), "crosses at 6", 6)
    queue.push(demand(1, work=8.0, arrived=1.0, solo=2.0), "crosses at 5", 5)
    queue.push(demand(2, work=1.0, arrived=4.0, solo=9.0), "short", 0)
    assert queue.peek(4.9) == 0
    assert queue.peek(5.0) == 5
    assert queue.pop(6.0) == 5
    assert queue.pop(6.0) == 6


def test_patience():
    """After so many seconds a program crosses however large it is, and not where nobody ages."""
    queue = ProgramQueue(Sjf(), aging_factor=2.0, patience_seconds=8.0)
    large, small = demand(0, work=9.0, solo=100.0), demand(1, work=8.0, solo=3.0)
    assert (queue.crossing(large), queue.crossing(small)) == (8.0, 7.0)
    queue.push(large, "large", "large")
    queue.push(demand(2, work=1.0, arrived=7.0, solo=5.0), "short", "short")
    assert queue.peek(7.9) == "short"
    assert queue.peek(8.0) == "large"
    assert ProgramQueue(Sjf(), patience_seconds=8.0).crossing(small) == inf


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_patience_that_cannot_be(seconds):
    """Patience is a positive number of seconds."""
    with pytest.raises(ConfigError, match="patience_seconds is out of range"):
        SchedulerConfig(ordering=OrderingSpec(patience_seconds=seconds))


def test_patience_without_aging():
    """Patience bounds aging: where there is none it is refused, and not ignored."""
    with pytest.raises(ConfigError, match="patience is set and aging is 0"):
        OrderingSpec(aging_factor=0.0, patience_seconds=9.0)


def test_crossed_for_good():
    """A program that crossed stays above, although its estimate grows."""
    queue = ProgramQueue(Sjf(), aging_factor=1.0)
    late = demand(0, work=9.0)
    queue.push(late, "late", "late")
    queue.push(demand(1, work=1.0, arrived=1.0, solo=99.0), "short", "short")
    assert queue.peek(1.0) == "late"
    late.solo_seconds = 50.0
    queue.update("p0")
    assert queue.peek(2.0) == "late"


def test_estimate_shrinks():
    """A program whose estimate shrinks crosses at once if its time has come."""
    queue = ProgramQueue(Sjf(), aging_factor=1.0)
    late = demand(0, work=9.0, arrived=0.0, solo=100.0)
    queue.push(late, "late", "late")
    queue.push(demand(1, work=1.0, arrived=9.0, solo=100.0), "short", "short")
    assert queue.peek(10.0) == "short"
    late.solo_seconds = 5.0
    queue.update("p0")
    assert queue.peek(10.0) == "late"


def test_some_do_not_age():
    """Under an ordering that ages some programs only, the others never cross."""
    queue = ProgramQueue(Deadline(), aging_factor=1.0)
    hopeless, patient = demand(0, work=1.0), demand(1, work=9.0, solo=50.0)
    hopeless.latest_start = 2.0
    queue.push(hopeless, "hopeless", "hopeless")
    queue.push(patient, "patient", "patient")
    assert queue.peek(0.0) == "hopeless", "it can still make it"
    assert queue.peek(10.0) == "patient"
    assert queue.peek(60.0) == "patient"
    assert (hopeless.crossed_at, patient.crossed_at) == (None, 51.0)
    assert (queue.crossing(hopeless), queue.crossing(patient)) == (inf, 51.0)


def test_crossing_time():
    """A program crosses after its factor of solo time, once and for all; without aging never."""
    late = demand(0, solo=3.0)
    assert ProgramQueue(Sjf()).crossing(late) == inf
    queue = ProgramQueue(Sjf(), aging_factor=2.0)
    assert queue.crossing(late) == 6.0
    late.crossed_at = 5.0
    assert queue.crossing(late) == ProgramQueue(Sjf()).crossing(late) == 5.0


def test_who_waits():
    """A queue knows the programs that have needed items in it, and not those of the same name."""
    queue = ProgramQueue(Sjf())
    needed, idle = demand(0), demand(1)
    queue.push(needed, "a", "a")
    queue.push(idle, "b", "b", is_speculative=True)
    assert queue.waits(needed)
    assert not queue.waits(idle)
    assert not queue.waits(demand(0, work=2.0)), "another program that took the name"
    assert list(queue.demands()) == [needed]
    queue.remove("a")
    assert not queue.waits(needed)


def test_ranked_is_heard():
    """Whoever listens hears of every program with needed items that is ranked, and its crossing."""
    queue, heard = ProgramQueue(Sjf(), aging_factor=2.0), []
    queue.on_ranked = lambda demand, crossing: heard.append((demand.program, crossing))
    late = demand(0, solo=3.0)
    queue.push(late, "a", "a")
    queue.push(demand(1), "b", "b", is_speculative=True)
    late.solo_seconds = 1.0
    queue.update("p0")
    queue.advance(2.0)
    assert heard == [("p0", 6.0), ("p0", 2.0), ("p0", 2.0)]


def test_estimate_that_comes_back():
    """An estimate that shrinks and returns to its old value is looked at once more, in order."""
    queue = ProgramQueue(AppFifo(), aging_factor=1.0)
    late = demand(1, arrived=0.0, solo=10.0)
    queue.push(demand(0, arrived=-1.0, solo=99.0), "first", "first")
    queue.push(late, "late", "late")
    for solo in (8.0, 10.0):
        late.solo_seconds = solo
        queue.update("p1")
    assert queue.peek(0.5) == "first"
    assert queue.peek(8.0) == "first"
    assert queue.peek(9.9) == "first"
    assert queue.peek(10.0) == "late"


def test_stays_small():
    """Re-ranking a thousand times leaves no heap of stale entries behind."""
    queue = ProgramQueue(Sjf(), aging_factor=5.0)
    demands = [demand(n, solo=1000.0) for n in range(10)]
    for one in demands:
        queue.push(one, one.program, one.program)
    for step in range(1000):
        one = demands[step % 10]
        one.tokens_per_knob = float(step)
        one.solo_seconds -= 1.0
        queue.update(one.program)
    assert len(queue._heap) + len(queue._changes) < 300
    assert len(queue) == 10
    assert queue.peek(0.0) == "p0"


def test_repr():
    """A queue says how much it holds."""
    queue = ProgramQueue(AppFifo())
    queue.push(demand(0), "a", "a")
    queue.push(demand(0), "b", "b", is_speculative=True)
    assert repr(queue) == "<ProgramQueue of 2 items in 2 lanes>"


def test_update_of_a_stranger():
    """Updating a program that does not wait changes nothing."""
    queue = ProgramQueue(AppFifo())
    queue.update("nobody")
    assert queue.head(inf) is None
