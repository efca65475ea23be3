from __future__ import annotations

from dataclasses import dataclass

import pytest

from dynasor.sim import Segment
from dynasor.sim.kv import PagedCache
from dynasor.sim.waiting import FALL_BACK_ABOVE, make_waiting

ORDERS = ["fcfs", "lpm", "lpm-128"]


@dataclass
class Waits:
    """A call of program `id[0]`, whose prompt is the program's and some tokens of its own."""

    id: str
    prompt: int = 8

    @property
    def program(self):
        return self.id[0]

    @property
    def path(self):
        return (Segment(self.program, self.prompt),)


@pytest.fixture
def cache():
    return PagedCache(100, 4)


def queue(order, *ids):
    """A queue in which these wait."""
    waiting = make_waiting(order)
    for name in ids:
        waiting.add(Waits(name))
    return waiting


def drained(waiting, cache):
    """The ids in the order in which they come, each computed as it comes."""
    came = []
    while len(waiting):
        item = waiting.head(cache)
        cache.hold(item.path, 8, item.program)
        waiting.remove(item.id)
        came.append(item.id)
    return came


@pytest.mark.parametrize("order", ORDERS)
def test_empty(order, cache):
    """Nobody comes out of an empty queue, and who is not there cannot be removed."""
    waiting = queue(order)
    assert (len(waiting), waiting.head(cache), waiting.remove("a1")) == (0, None, None)
    waiting.retire("a")


@pytest.mark.parametrize("order", ORDERS)
def test_put_back(order, cache):
    """Who was preempted comes before the others, the last put back first."""
    waiting = queue(order, "a1", "b1")
    for name in ("c1", "d1"):
        waiting.put_back(Waits(name))
    assert drained(waiting, cache) == ["d1", "c1", "a1", "b1"]


@pytest.mark.parametrize("order", ORDERS)
def test_removed(order, cache):
    """Who is removed does not come."""
    waiting = queue(order, "a1", "b1", "a2")
    assert waiting.remove("a1").id == "a1"
    assert drained(waiting, cache) == ["b1", "a2"]


def test_fcfs(cache):
    """Calls come in the order in which they were submitted, whatever is cached."""
    assert drained(queue("fcfs", "a1", "b1", "a2", "b2"), cache) == ["a1", "b1", "a2", "b2"]


def test_lpm(cache):
    """Once a program's prompt is cached its calls come before those of others."""
    came = drained(queue("lpm", "a1", "b1", "a2", "b2", "a3"), cache)
    assert came == ["a1", "a2", "a3", "b1", "b2"]


def test_lpm_longest(cache):
    """Of cached prompts the longest comes first, of equally long ones the call that came first."""
    waiting = make_waiting("lpm")
    for name, prompt in (("a", 8), ("b", 16), ("c", 16)):
        cache.hold((Segment(name, prompt),), prompt, name)
        waiting.add(Waits(f"{name}1", prompt))
        waiting.remove(f"{name}1")
    for name, prompt in (("a", 8), ("c", 16), ("b", 16)):
        waiting.add(Waits(f"{name}2", prompt))
    assert drained(waiting, cache) == ["c2", "b2", "a2"]


def test_lpm_of_later_calls(cache):
    """A program that had calls here is looked at when its next one comes."""
    waiting = queue("lpm", "a1")
    assert drained(waiting, cache) == ["a1"]
    for name in ("b1", "a2"):
        waiting.add(Waits(name))
    assert waiting.head(cache).id == "a2"


def test_lpm_of_evicted_prompts(cache):
    """A program whose prompt was evicted waits its turn."""
    waiting = queue("lpm", "a1", "b1", "a2")
    waiting.remove("a1")
    assert waiting.head(cache).id == "b1"


def test_lpm_forgets(cache):
    """Nothing is kept of programs that are over."""
    waiting = queue("lpm", "a1", "b1", "a2")
    drained(waiting, cache)
    for program in "ab":
        waiting.retire(program)
    waiting.head(cache)
    waiting.add(Waits("c1"))
    waiting.head(cache)
    assert (waiting._ran, waiting._programs.keys(), waiting._places.keys()) == (
        set(),
        {"c"},
        {"c1"},
    )
    assert not waiting._warm


def test_fall_back(cache):
    """Beyond 128 waiting calls `lpm-128` takes them as they came, `lpm` never."""
    names = ["a1", "b1", "a2", *(f"x{n}" for n in range(FALL_BACK_ABOVE - 2))]
    for order, then in (("lpm", "a2"), ("lpm-128", "b1")):
        waiting = queue(order, *names, "y1")
        cache.hold(Waits("a1").path, 8, "a")
        waiting.remove("a1")
        assert len(waiting) == FALL_BACK_ABOVE + 1
        assert waiting.head(cache).id == then
        waiting.remove("y1")
        assert waiting.head(cache).id == "a2"
