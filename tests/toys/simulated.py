"""Outcomes of online runs, made by hand."""

from __future__ import annotations

from math import inf, isfinite, nan

import numpy as np

from dynasor.online.outcome import Course, Simulated, Totals

GIVEN = {
    "deadline": inf,
    "factor": 1.0,
    "tokens": 100.0,
    "full_tokens": 200.0,
    "prompt_tokens": 10.0,
    "knob": 5.0,
    "quality": 1.0,
    "solo_seconds": 1.0,
    "longest_wait": 0.0,
}


def totals(**changes):
    """Totals of a run of 100 seconds on one replica."""
    given = {
        "end": 100.0,
        "last_arrival": 50.0,
        "steps": 1000,
        "busy_seconds": 80.0,
        "replicas": 1,
        "generated_tokens": 5000,
        "prefill_tokens": 300,
        "cached_tokens": 100,
        "preemptions": 2,
        "kv_mean": 0.25,
        "kv_max": 0.5,
        "waiting_mean": 3.0,
        "decisions": 400,
        "scheduler_seconds": 0.01,
    }
    return Totals(**{**given, **changes})


def simulated(latency, *, arrived=None, status=None, parts=("all",), **changes):
    """A run of programs with these latencies, inf where the run ended before.

    Every other field is one number for all, or one a program; totals are named as they are.
    """
    count = len(latency)
    arrived = np.arange(count, dtype=float) if arrived is None else np.asarray(arrived, float)
    seconds = np.array([x if isfinite(x) else nan for x in latency], dtype=float)
    if status is None:
        status = ["answered" if isfinite(x) else "" for x in latency]
    values = {name: changes.pop(name, value) for name, value in GIVEN.items()}
    course = changes.pop("course", [(0.0, 0, 0, 0.0, 0), (100.0, 0, 0, 0.0, 5000)])
    part = changes.pop("part", 0)
    first_start = changes.pop("first_start", arrived)
    last = {"last_arrival": float(arrived[-1])} if count else {}
    return Simulated(
        parts=tuple(parts),
        part=np.broadcast_to(part, count).astype(np.int64),
        arrived=arrived,
        first_start=np.asarray(first_start, dtype=float),
        finished=arrived + seconds,
        status=np.array(status, dtype=str).reshape(count),
        totals=totals(**{**last, **changes}),
        course=Course.of(course),
        **{name: np.broadcast_to(value, count).astype(float) for name, value in values.items()},
    )
