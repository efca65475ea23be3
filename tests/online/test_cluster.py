"""What serves, and what a program would take alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.experiments import engine, experiment
from toys.recorded import recorded

from dynasor.core.errors import ConfigError
from dynasor.online.cluster import Cluster, solo_seconds
from dynasor.online.run import simulate
from dynasor.online.systems import make_system
from dynasor.sim.presets import preset

FCFS = make_system("fcfs")
LENGTHS = st.lists(st.sampled_from([0, 1, 2]) | st.integers(0, 60), min_size=1, max_size=8)


def alone(model, prompt, lengths, shared=0):
    """One program by itself."""
    question = recorded("a" * len(lengths), tokens=[*lengths])
    if not any(lengths):
        question = recorded("a" * len(lengths) + "a", tokens=[*lengths, 1], is_ordered=True)
    tokens = {"prompt_tokens": prompt, "shared_tokens": shared}
    one = experiment([question], cluster=Cluster(model), programs=1, cap=len(lengths), **tokens)
    return simulate(one, FCFS)


@given(LENGTHS, st.integers(1, 300), st.integers(0, 100), st.sampled_from([1, 4, 16]), st.data())
def test_solo(lengths, prompt, shared, size, data):
    """A program alone takes exactly its solo time, however many chunks its prompts are cut into."""
    budget = data.draw(st.integers(9, 40) | st.integers(100, 600))
    model = engine(block_tokens=size, kv_blocks=6000 // size, token_budget=budget)
    found = alone(model, prompt, lengths, shared)
    assert found.latency[0] == found.solo_seconds[0]


def test_solo_by_hand():
    """A prompt of 300 tokens takes two steps, the second beside its siblings' last blocks."""
    # 18 whole blocks are found by the second branch, which computes 12 tokens after them.
    step = engine().step
    expected = step.of(256, 0, 0) + step.of(44 + 12, 0, 0)
    expected += step.of(0, 2, 2 * 301) + step.of(0, 1, 302)
    assert solo_seconds(engine(), 300, [3, 2]) == expected


@pytest.mark.parametrize("name", ["a100-llama3.1-8b", "h100-llama3.1-8b"])
def test_solo_of_a_preset(name):
    """Under step times that are no powers of two the solo time is exact up to rounding."""
    model = preset(name).model()
    found = alone(model, 5000, [900, 1, 300, 301, 77, 2000])
    assert found.solo_seconds[0] == pytest.approx(found.latency[0], rel=1e-12)


def test_solo_of_more_than_run():
    """Where not all branches run at once the solo time is a lower bound."""
    found = alone(engine(max_running=2), 20, [30] * 8)
    assert found.solo_seconds[0] < found.latency[0]


def test_engines():
    """Replicas are engines of one model, in the system's order, that are sent what it says."""
    cluster = Cluster(engine(), replicas=3, slots=5)
    ours, theirs = (cluster.engines(make_system(name)) for name in ("gang", "lpm"))
    assert list(ours) == list(theirs) == ["replica-0", "replica-1", "replica-2"]
    assert [one.slots for one in ours.values()] == [5, 5, 5]
    assert {one.model.order for one in ours.values()} == {"fcfs"}
    assert {one.model.order for one in theirs.values()} == {"lpm"}
    assert [one.slots for one in theirs.values()] == [5, 5, 5]
    assert make_system("lpm").config(0).window_slack > 10_000, "it is sent everything at once"
    assert [one.slots for one in Cluster(engine()).engines(make_system("gang")).values()] == [8]


@pytest.mark.parametrize("given", [{"replicas": 0}, {"slots": 0}, {"replicas": -1}])
def test_no_cluster(given):
    """A cluster without engines, or whose engines are sent nothing, is refused."""
    (name,) = given
    with pytest.raises(ConfigError, match=f"^{name} is {given[name]}; it must be at least 1$"):
        Cluster(engine(), **given)
