"""The ordering that lets programs go first which are about to be too late."""

from hypothesis import given
from hypothesis import strategies as st

from dynasor.core.ordering import Demand, Sjf
from dynasor.core.queue import ProgramQueue
from dynasor.plugins.rescue import Rescue

TIMES = st.floats(0, 100)


def demand(name: str, number: int, work: float, latest: float = float("inf")) -> Demand:
    return Demand(name, number, "", "", 0.0, work, 1.0, latest_start=latest, solo_seconds=2.0)


@given(st.floats(0, 1000), TIMES)
def test_without_deadline_it_is_sjf(work, now):
    """Without a deadline the rank is that of the least remaining work, and never changes."""
    one = demand("a", 1, work)
    one.as_of = now
    assert Rescue().key(one)[1:] == Sjf().key(one)
    assert Rescue().changes_at(one) is None


@given(TIMES, TIMES, TIMES)
def test_key_changes_when_it_says(latest, now, later):
    """Between a look and `changes_at` the key stays the same, and at that time it moves."""
    rescue, one = Rescue(), demand("a", 1, 5.0, latest)
    one.as_of = now
    key, changes = rescue.key(one), rescue.changes_at(one)
    if now <= later < changes:
        one.as_of = later
        assert rescue.key(one) == key
    elif changes > now:
        one.as_of = changes
        assert rescue.key(one) != key


def test_urgent_goes_first_and_late_no_more():
    """A large program waits behind a small one, goes first while it can be saved, then waits."""
    queue = ProgramQueue[str](Rescue(lead_seconds=1.0, margin=1.0))
    queue.push(demand("small", 1, 1.0), "small", "small")
    queue.push(demand("large", 2, 99.0, latest=10.0), "large", "large")
    assert [queue.peek(now) for now in (0.0, 6.9, 7.0, 10.0, 10.1)] == [
        "small", "small", "large", "large", "small",
    ]  # fmt: skip


def test_earlier_latest_start_first():
    """Of two that are urgent, the one that must start sooner goes first."""
    queue = ProgramQueue[str](Rescue())
    queue.push(demand("later", 1, 1.0, latest=10.2), "later", "later")
    queue.push(demand("sooner", 2, 9.0, latest=10.0), "sooner", "sooner")
    assert queue.peek(9.5) == "sooner"
