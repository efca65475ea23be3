from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynasor.core.ordering import AppFifo, Demand, Sjf
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

    def __init__(self, ordering, factor):
        self.ordering, self.factor = ordering, factor
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
        for (_, is_speculative), (demand, lane) in self.lanes.items():
            crosses = demand.arrived + self.factor * demand.solo_seconds
            if self.factor and demand.crossed_at is None and crosses <= now:
                demand.crossed_at = crosses
        for (_, is_speculative), (demand, lane) in self.lanes.items():
            demand.as_of = now
            crossed = demand.crossed_at
            key = (1, *self.ordering.key(demand)) if crossed is None else (0, crossed)
            ranked.append(((is_speculative, key, demand.number), lane))
        return [item for _, lane in sorted(ranked, key=lambda pair: pair[0]) for item in lane]


actions = st.lists(
    st.tuples(
        st.sampled_from(["push", "push", "prepend", "pop", "remove", "update", "wait", "take"]),
        st.integers(0, 5),
        st.integers(1, 9),
        st.booleans(),
    ),
    max_size=60,
)


def twins(programs=6):
    """Equal demands for the queue and for the model: each marks its own."""
    return [[demand(n, work=5 - n % 3, arrived=n * 0.5) for n in range(programs)] for _ in "ab"]


@pytest.mark.parametrize("factor", [0.0, 4.0])
@pytest.mark.parametrize("ordering", [AppFifo(), Sjf(), Swing()], ids=["fifo", "sjf", "swing"])
@given(actions)
@settings(max_examples=60, deadline=None)
def test_against_a_sorted_list(ordering, factor, actions):
    """After any sequence of operations the queue holds what a sorted list would, in its order."""
    queue, model = ProgramQueue(ordering, factor), Model(ordering, factor)
    ours, theirs = twins()
    for one in (*ours, *theirs):
        one.latest_start = 3.0 + one.number % 4
    now, count = 0.0, 0
    for action, who, amount, is_speculative in actions:
        mine, other = ours[who], theirs[who]
        if action in ("push", "prepend"):
            count += 1
            add = queue.push if action == "push" else queue.prepend
            add(mine, f"i{count}", count, is_speculative=is_speculative)
            model.add(other, count, is_speculative, is_first=action == "prepend")
        elif action == "pop":
            expected = model.items(now)
            if expected:
                assert queue.pop(now) == expected[0]
                model.remove(expected[0])
        elif action == "remove":
            was_here = model.remove(amount)
            assert queue.remove(f"i{amount}") == (amount if was_here else None)
        elif action == "update":
            queue.advance(now)
            model.items(now)
            for one in (mine, other):
                one.tokens_per_knob, one.solo_seconds = float(amount), amount / 4
                one.latest_start = now + amount
            queue.update(mine.program)
        elif action == "wait":
            now += amount / 2
        else:
            taken = [item for _, item, _ in queue.take_program(mine.program)]
            expected = [
                item
                for lane in (False, True)
                for item in model.lanes.get((other.program, lane), (None, []))[1]
            ]
            assert taken == expected
            for item in expected:
                model.remove(item)
        queue.advance(now)
        expected = model.items(now)
        assert list(queue) == expected
        assert len(queue) == len(expected)
        assert bool(queue) == bool(expected)
        assert queue.peek(now) == (expected[0] if expected else None)
        assert all(f"i{item}" in queue for item in expected)


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
