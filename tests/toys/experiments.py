"""Experiments in virtual time on made-up questions: small engines, a few programs."""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st
from toys.recorded import recorded
from toys.visits import STEP

from dynasor.online.cluster import Cluster
from dynasor.online.run import Experiment
from dynasor.online.workload import Part, Poisson, Together, Workload
from dynasor.sim import EngineModel

__all__ = ["engine", "even_urn", "experiment", "experiments", "mixed", "urn"]


def engine(**changes):
    """An engine whose times are sums of powers of two: exact, whatever their order."""
    given = {"kv_blocks": 400, "max_running": 8, "token_budget": 256, **changes}
    return EngineModel(given.pop("step", STEP), **given)


def urn(count=12, samples=8, *, answers="aaab-", most=60, seed=1, **rest):
    """Questions of drawn answers and lengths, of at least one token."""
    draw = Random(f"{seed}/urn")
    return [
        recorded(
            draw.choices(answers, k=samples),
            tokens=[draw.randint(1, most) for _ in range(samples)],
            name=f"q{number}",
            **rest,
        )
        for number in range(count)
    ]


def even_urn(tokens, samples=8, count=3):
    """Questions all of whose samples are equally long, and agree."""
    return [recorded("a" * samples, tokens=tokens, name=f"q{number}") for number in range(count)]


def experiment(questions, *, cluster=None, horizon=None, **rest):
    """One part "a" of these questions: its fields, and those of the workload, by name.

    All arrive together unless a `rate` is given; prompts have 20 tokens.
    """
    of_workload = {name: rest.pop(name, None) for name in ("programs", "duration_seconds")}
    rate = rest.pop("rate", None)
    arrivals = Together() if rate is None else Poisson(rate)
    part = Part("a", **{"cap": 4, "prompt_tokens": 20, **rest})
    workload = Workload((part,), arrivals, **of_workload)
    return Experiment(workload, {"a": questions}, cluster or Cluster(engine()), horizon)


def mixed(parts, questions, *, programs=40, rate=0.5, cluster=None):
    """Several parts; `questions` are those of each, in their order."""
    arrivals = Together() if rate is None else Poisson(rate)
    workload = Workload(tuple(parts), arrivals, programs=programs)
    named = {part.name: found for part, found in zip(parts, questions, strict=True)}
    return Experiment(workload, named, cluster or Cluster(engine()))


@st.composite
def experiments(draw, **rest):
    """Small experiments at any load: little memory, short prompts, one to three replicas."""
    size = draw(st.sampled_from([1, 4, 16]))
    model = engine(
        block_tokens=size,
        kv_blocks=draw(st.integers(-(-70 // size), 300 // size)),
        max_running=draw(st.integers(1, 6)),
        token_budget=draw(st.sampled_from([7, 20, 256])),
        eviction=draw(st.sampled_from(["lru", "idle-first"])),
    )
    found = urn(
        draw(st.integers(1, 6)),
        answers=draw(st.sampled_from(["ab", "aaab-", "-"])),
        most=draw(st.sampled_from([1, 10, 40])),
        seed=draw(st.integers(0, 99)),
    )
    given = {
        "cluster": Cluster(model, draw(st.integers(1, 3)), draw(st.none() | st.integers(1, 8))),
        "programs": draw(st.integers(1, 25)),
        "rate": draw(st.none() | st.sampled_from([0.05, 0.5, 5.0])),
        "cap": draw(st.integers(1, 8)),
        "prompt_tokens": draw(st.integers(1, 20)),
        "shared_tokens": draw(st.sampled_from([0, 9])),
    }
    return experiment(found, **{**given, **rest})
