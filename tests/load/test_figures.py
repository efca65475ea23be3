"""Figures of loads: pure functions of outcomes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.core.types import Usage
from dynasor.load.figures import figures, has_fallen_behind, percentiles
from dynasor.load.outcome import Outcome
from dynasor.load.planning import Question, plan

SECONDS = st.floats(0, 100)


def planned(count):
    """One program a second."""
    return plan([Question("a", "q")], map(float, range(count)), programs=count)


def outcome(number, latency=1.0, lag=0.0, **given):
    """The end of a program of that plan."""
    due = float(number)
    made = Outcome(f"bench-0-{number:05}", "q", None, due, due + lag, due + latency, due + 0.5)
    for name, value in given.items():
        setattr(made, name, value)
    return made


def test_counts():
    """Every program of the plan is answered, ended by its deadline, failed or has not ended."""
    found = figures(
        [
            outcome(0),
            outcome(1, status="deadline"),
            outcome(2, status="failed", error="EngineBusy"),
            outcome(3, failed_calls=2),
        ],
        planned(6),
    )
    names = ("programs", "answered", "ended_by_deadline", "failed", "unfinished", "failed_calls")
    assert [found[name] for name in names] == [6, 2, 1, 1, 2, 2]
    assert found["errors"] == {"EngineBusy": 1}
    assert found["offered_rate"] == found["sent_rate"] == 1.0
    assert found["achieved_rate"] == 3 / 4


def test_attainment():
    """In time is who was answered by himself within the deadline; who is missing was not."""
    outcomes = [
        outcome(0, 2.0),
        outcome(1, 2.1),
        outcome(2, 1.0, status="deadline"),
        outcome(3, 1.0, status="failed"),
    ]
    assert figures(outcomes, planned(5), deadline_seconds=2.0)["attainment"] == 0.2
    assert figures(outcomes, planned(5))["attainment"] is None


def test_failures_have_no_latency():
    """How fast an error comes is no merit."""
    found = figures([outcome(0, 3.0), outcome(1, 0.1, status="failed")], planned(2))
    assert found["latency_seconds"]["mean"] == 3.0
    assert found["first_event_seconds"]["max"] == 0.5


def test_warm_up():
    """The first programs of the plan are left out of everything but the rates of the plan."""
    outcomes = [outcome(number, 9.0 if number < 2 else 1.0) for number in range(4)]
    found = figures(outcomes, planned(4), deadline_seconds=5.0, warm_up=0.5)
    assert (found["programs"], found["answered"], found["attainment"]) == (2, 2, 1.0)
    assert found["latency_seconds"]["max"] == 1.0


def test_tokens_and_accuracy():
    """Tokens are summed, estimates are counted, accuracy is of what was judged."""
    found = figures(
        [
            outcome(0, usage=Usage(3, 10), is_right=True),
            outcome(1, usage=Usage(3, 20, is_counted=False), is_right=False),
            outcome(2, usage=Usage(3, 30)),
        ],
        planned(3),
    )
    assert (found["prompt_tokens"], found["completion_tokens"]) == (9, 60)
    assert found["completion_tokens_a_program"] == 20.0
    assert found["completion_tokens_a_second"] == 20.0
    assert found["estimated_programs"] == 1
    assert (found["judged"], found["accuracy"]) == (2, 0.5)


def test_nothing():
    """A load of which nothing ended has no figures, and no error either."""
    found = figures([], planned(2), deadline_seconds=1.0)
    assert (found["unfinished"], found["attainment"]) == (2, 0.0)
    for name in ("latency_seconds", "achieved_rate", "accuracy", "completion_tokens_a_program"):
        assert found[name] is None


def test_falling_behind():
    """A generator is behind when its lag is a twentieth of the latency, and more than a tick."""
    assert not has_fallen_behind([])
    assert not has_fallen_behind([outcome(0, 1.0, lag=0.05)])
    assert has_fallen_behind([outcome(0, 1.0, lag=0.051)])
    assert not has_fallen_behind([outcome(0, 0.01, lag=0.005)])


@given(st.lists(SECONDS, min_size=1, max_size=50))
def test_percentiles(values):
    """Percentiles are values themselves, in order, and none is beyond the greatest."""
    found = percentiles(values)
    ranked = [found[name] for name in ("p50", "p90", "p95", "p99", "max")]
    assert ranked == sorted(ranked)
    rounded = {round(value, 6) for value in values}
    assert set(ranked) <= rounded
    assert sum(value <= found["p90"] + 1e-6 for value in values) >= 0.9 * len(values) - 1e-9
    assert found["mean"] == pytest.approx(sum(values) / len(values), abs=1e-6)
