"""A profile for tests, and behaviours as live programs might show them."""

from __future__ import annotations

from random import Random

from dynasor.profile import Behaviour, Measured, Profile, Range

__all__ = ["behaviour", "profile"]


def behaviour(count, seed=0, level=0.6, tokens=200.0):
    """How so many programs behaved: certaindex about `level`, `tokens` a branch."""
    chance = Random(seed)
    return Behaviour(
        tuple(min(1.0, max(0.0, chance.gauss(level, 0.15))) for _ in range(count)),
        tuple(chance.randint(4, 20) / 20 for _ in range(count)),
        tuple(chance.gauss(tokens, 30.0) for _ in range(count)),
    )


def profile(**rest):
    """A profile whose fields may be named."""
    one = Range(0.5, 0.4, 0.6)
    fields = {
        "task": "math",
        "workload": "sums",
        "model": "toy",
        "policy": "beta",
        "params": {"in_flight": 4, "confidence": 0.9},
        "lock": True,
        "cap": 10,
        "width": 4,
        "loss": 0.001,
        "labels": "auto",
        "measured": Measured(100, 100, 10, one, one, one, (0.5, 0.4), (0.0, 0.0)),
        "behaviour": behaviour(100),
        "trace": "0" * 64,
        "made": "2026-01-01",
    }
    return Profile(**{**fields, **rest})
