"""The registry, from events and commands alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dynasor.core.commands import Answered, Closed, Submit
from dynasor.core.events import Arrived, Finished
from dynasor.core.types import (
    Call,
    Generate,
    Generated,
    PolicySpec,
    ProgramSpec,
    Prompt,
    Spending,
    Usage,
)
from dynasor.gateway.registry import MOST_CALLS, Registry


def arrived(name, tenant=""):
    """A program comes."""
    return Arrived(name, ProgramSpec("toy", {"cap": 3}), PolicySpec("even"), tenant=tenant)


def over(name):
    """A program has its answer and its bill."""
    return [
        Answered(name, "answered", "cap", None, "", "", 3, 3, {}, {}, 0),
        Closed(name, Spending(), 0, 0, 0, 0, 0),
    ]


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans())), st.integers(0, 3))
def test_bounded(steps, kept):
    """All running programs are kept, and of the ended ones the latest, however ids come again."""
    registry, running = Registry(kept), set()
    for number, ends in steps:
        name = f"p{number}"
        if ends and name in running:
            registry.record(1.0, arrived("other"), [*over(name), *over("other")])
            running.discard(name)
        elif name not in running:
            registry.record(0.0, arrived(name), [])
            running.add(name)
        assert running <= {record.id for record in registry.newest("")}
        assert len(registry) <= len(running) + kept


def test_tenants():
    """A tenant's list has its own programs."""
    registry = Registry(3)
    for name, tenant in (("a", "x"), ("b", "y"), ("c", "x")):
        registry.record(0.0, arrived(name, tenant), [])
    assert [record.id for record in registry.newest("x")] == ["c", "a"]


def test_most_calls():
    """Of a program that makes a great many calls the first are kept; all may end."""
    registry = Registry(1)
    registry.record(0.0, arrived("p"), [])
    for number in range(MOST_CALLS + 2):
        call = Call(f"p#{number}", "p", "generate", Generate(Prompt(())), "p", "p")
        registry.record(1.0, arrived("q"), [Submit(call, 1, "r", 0)])
        registry.record(2.0, Finished(call.id, 1, Generated("", Usage(1, 1))), [])
    record = registry.find("p")
    assert len(record.calls) == MOST_CALLS
    assert record.details()["tokens"] == MOST_CALLS


def test_passed_requests_push_nothing_out():
    """Requests that pass through, however many, leave the programs that have ended."""
    registry = Registry(2)
    for name in ("a", "b"):
        registry.record(0.0, arrived(name), over(name))
    for number in range(5):
        come = replace(arrived(f"p{number}"), spec=ProgramSpec("pass-through", {}))
        registry.record(0.0, come, over(f"p{number}"))
    assert [one.id for one in registry.newest("")] == ["p4", "p3", "b", "a"]
