"""Online runs: every program and token accounted for, and cases that can be worked out by hand."""

from __future__ import annotations

import gzip
import json
import os
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from toys.experiments import engine, even_urn, experiment, experiments, mixed, urn
from toys.recorded import recorded

from dynasor.core.errors import UnknownName, UserError
from dynasor.core.types import PolicySpec
from dynasor.online.capacity import at_load
from dynasor.online.cluster import Cluster
from dynasor.online.measures import attainment, saturated_throughput
from dynasor.online.report import report
from dynasor.online.run import _checked, _Run, simulate
from dynasor.online.systems import make_system, system_names
from dynasor.online.workload import Deadline, Part, WorkloadError, with_rate
from dynasor.sim.presets import preset

FCFS = make_system("fcfs")
EVEN = PolicySpec("even", has_lock=False)
ONE_BY_ONE = PolicySpec("even", {"in_flight": 1}, has_lock=False)
ALL_IN_FLIGHT = PolicySpec("even", {"in_flight": 8}, has_lock=False)
STEPWISE = PolicySpec("stepwise", {"every": 2, "at": 0.5})
BETA = PolicySpec("beta", {"confidence": 0.8})
POLICIES = [EVEN, ONE_BY_ONE, STEPWISE, BETA, PolicySpec("sequential")]
SAME = (1.0, 1.0, 1.0)
WIDE = Cluster(engine(block_tokens=64, kv_blocks=100))
"""A block holds a whole call: nothing is shared, and calls never grow into another block."""
ARRAYS = (
    "part", "arrived", "factor", "status", "first_start", "finished", "deadline", "tokens",
    "full_tokens", "prompt_tokens", "knob", "quality", "solo_seconds", "longest_wait",
)  # fmt: skip

systems = st.builds(
    make_system,
    st.sampled_from(system_names()),
    st.sampled_from(POLICIES),
    aging_factor=st.none() | st.sampled_from([0.0, 0.5, 3.0]),
    enforces_deadlines=st.booleans(),
)
deadlines = st.none() | st.sampled_from([0.01, 5.0, 50.0, 1e4]).map(
    lambda base: Deadline(base, factors=SAME)
)


def same(left, right):
    """Whether two runs had the same outcome for every program."""
    columns = ((getattr(left, name), getattr(right, name)) for name in ARRAYS)
    return all(
        np.array_equal(one, other, equal_nan=one.dtype.kind == "f") for one, other in columns
    )


# Nothing is lost.


@given(st.data(), systems, deadlines, st.integers(0, 3))
def test_accounts(data, system, deadline, seed):
    """Every program has an ending, and every token that was generated is on one program's bill."""
    one = data.draw(experiments(deadline=deadline))
    found = simulate(one, system, seed)
    totals = found.totals
    assert len(found) == one.workload.programs
    assert found.has_ended.all()
    assert not totals.is_cut
    assert set(found.status) <= {"answered", "deadline"}
    assert totals.generated_tokens == found.tokens.sum()
    assert (found.tokens <= found.full_tokens).all()
    assert (found.knob <= one.workload.parts[0].cap).all()
    assert (found.arrived <= np.nan_to_num(found.first_start, nan=np.inf)).all()
    assert (found.longest_wait <= found.latency).all()
    assert totals.end >= found.finished.max()
    assert totals.refused == totals.broken_promises == 0
    if system.policy == EVEN and not totals.preemptions and (found.status == "answered").all():
        assert totals.prefill_tokens + totals.cached_tokens == found.prompt_tokens.sum()
        assert (found.tokens == found.full_tokens).all()


@settings(max_examples=25)
@given(st.data(), systems, deadlines, st.floats(0.01, 40))
def test_cut(data, system, deadline, horizon):
    """A horizon cuts a run and says so; what had come about by then is as without it."""
    one = data.draw(experiments(deadline=deadline))
    whole = simulate(one, system)
    found = simulate(replace(one, horizon=horizon), system)
    assert len(found) == (whole.arrived <= horizon).sum()
    came = whole.where(whole.arrived <= horizon)
    ended = came.finished <= horizon
    assert found.has_ended.tolist() == ended.tolist()
    assert found.totals.is_cut == (not ended.all())
    assert (found.finished[ended] == came.finished[ended]).all()
    assert (found.quality[ended] == came.quality[ended]).all()
    assert (found.status[~ended] == "").all()
    assert (found.tokens <= came.tokens).all()
    assert found.totals.end <= max(horizon, whole.totals.end)
    if found.totals.is_cut:
        assert found.totals.end == horizon


def test_refused():
    """A program that is refused has failed, and takes nothing from the others."""
    never = Deadline(1e-200, 1e-200, SAME)  # so small that it is 0 seconds
    parts = Part("a", cap=4, prompt_tokens=20), Part("b", cap=4, prompt_tokens=20, deadline=never)
    one = mixed(parts, (urn(), urn()))
    found = simulate(one, make_system("gang", enforces_deadlines=True))
    assert set(found.of_part("b").status) == {"failed"}
    assert set(found.of_part("a").status) == {"answered"}
    assert len(found) == 40
    assert found.totals.generated_tokens == found.of_part("a").tokens.sum()


def test_lost_signal():
    """Programs whose policy looks at a signal that they do not have fail, and are counted."""
    found = simulate(
        experiment(urn(), programs=5, policy='threshold:at={"reward":0.5},detect=2'), FCFS
    )
    assert found.has_failed.all()
    assert report(found).all.failed == 5


# What is the same for all.


@settings(max_examples=15)
@given(st.data(), systems, st.integers(0, 3))
def test_repeated(data, system, seed):
    """One seed gives one outcome, to the last digit."""
    one = data.draw(experiments())
    left, right = (simulate(one, system, seed) for _ in range(2))
    assert same(left, right)
    first, second = (replace(run.totals, scheduler_seconds=0.0) for run in (left, right))
    assert first == second


def test_seeds():
    """Another seed gives other programs at other times."""
    one = experiment(urn(), programs=20, rate=0.5)
    assert not same(simulate(one, FCFS, 0), simulate(one, FCFS, 1))


def test_common():
    """Under any system and rate the same programs come, with gaps of the same proportions."""
    one = experiment(urn(), programs=20, rate=0.25)
    first = simulate(one, FCFS)
    for name in system_names():
        for faster in (1, 4):
            there = replace(one, workload=with_rate(one.workload, 0.25 * faster))
            found = simulate(there, make_system(name, BETA))
            assert (found.arrived * faster == first.arrived).all()
            assert (found.full_tokens == first.full_tokens).all()
            assert (found.solo_seconds == first.solo_seconds).all()


# Load, deadlines, promises.


@pytest.mark.parametrize("name", system_names())
def test_overload(name):
    """At five times what the cluster can do every program ends, later and later."""
    one = experiment(urn(), programs=80, rate=2.5)
    found = simulate(one, make_system(name, aging_factor=2.0))
    assert found.has_ended.all()
    assert found.totals.end > 4 * found.totals.last_arrival
    cut = simulate(replace(one, horizon=found.totals.last_arrival), make_system(name))
    assert cut.totals.is_cut
    assert report(cut).load.is_saturated


@pytest.mark.parametrize("name", system_names())
def test_enforced(name):
    """Deadlines that are enforced end programs to the second; others end nobody."""
    deadline = Deadline(25.0, factors=SAME)
    one = experiment(urn(), programs=40, rate=0.05, deadline=deadline)
    ended = simulate(one, make_system(name, BETA, enforces_deadlines=True))
    late = ended.status == "deadline"
    assert 0 < late.sum() < 40
    assert ended.latency[late] == pytest.approx(25.0, rel=1e-12)
    assert (ended.latency <= 25.0 + 1e-9).all()
    assert attainment(ended, warm_up=0) == 1 - late.mean()
    left = simulate(one, make_system(name, BETA, enforces_deadlines=False))
    assert (left.status == "answered").all()
    assert left.latency.max() > 25.0


def test_attainment_falls():
    """The more programs come, the fewer are in time, up to the noise of a run."""
    deadline = Deadline(30.0, factors=SAME)
    one = experiment(urn(), programs=150, rate=1.0, deadline=deadline)
    for name in ("fcfs", "gang", "deadline"):
        found = [
            attainment(simulate(at_load(one, load, 0.079), make_system(name, BETA)))
            for load in (0.25, 0.5, 1.0, 2.0, 4.0)
        ]
        assert all(later <= sooner + 0.03 for sooner, later in pairwise(found))
        assert found[0] > 0.9
        assert found[-1] < 0.5


@given(
    st.data(),
    st.sampled_from(["gang", "sjf", "plas", "deadline", "app-fifo"]),
    st.sampled_from(POLICIES),
    st.sampled_from([0.1, 1.0, 5.0]),
    st.sampled_from([None, 0.5, 20.0]),
    deadlines,
)
def test_promise(data, name, policy, aging, patience, deadline):
    """Nobody starts a call before a waiting program that crossed earlier, on any cluster."""
    one = data.draw(experiments(deadline=deadline))
    system = make_system(name, policy, aging_factor=aging).with_patience(patience)
    found = simulate(one, system)
    assert found.totals.broken_promises == 0


def test_crossings():
    """In a crowd programs cross, with aging; without it nobody does."""
    one = experiment(urn(), programs=60, rate=2.0)
    for name in ("gang", "sjf", "plas"):
        aged, plain = (simulate(one, make_system(name, aging_factor=it)) for it in (1.0, 0.0))
        assert aged.totals.crossings > 20
        assert plain.totals.crossings == 0


# Mixed workloads.


def test_mixed():
    """Parts have their own caps, policies, tenants and deadlines, and what they ask for."""
    parts = (
        Part("a", cap=2, share=3, tenant="one", prompt_tokens=20),
        Part("b", cap=8, tenant="two", policy="stepwise:every=2,at=0.5", deadline=Deadline(90.0)),
    )
    found = simulate(mixed(parts, (urn(), urn(most=9)), programs=200), make_system("sjf", EVEN))
    first, second = found.of_part("a"), found.of_part("b")
    assert 120 < len(first) < 180
    assert len(first) + len(second) == 200
    assert (first.knob == 2).all()
    assert 2 <= second.knob.min() < second.knob.max() == 8
    assert np.isinf(first.deadline).all()
    assert set(second.deadline) <= {90.0, 135.0, 180.0}
    assert set(report(found).parts) == {"a", "b"}


def test_rewards():
    """Programs that score their branches answer with the best, and scoring takes no time."""
    best = recorded("abca", right=(1,), tokens=30, rewards=(0.1, 0.9, 0.3, 0.2))
    part = Part("a", cap=4, program="best-of-n", prompt_tokens=20)
    found = simulate(mixed([part], [[best]], programs=6), make_system("gang"))
    assert (found.status == "answered").all()
    assert (found.quality == 1).all()
    assert found.totals.generated_tokens == found.tokens.sum() == 6 * 120
    alone = simulate(mixed([part], [[best]], programs=1, rate=None), FCFS)
    assert alone.latency[0] == alone.solo_seconds[0]


def test_no_rewards():
    """Programs that score cannot run on a recording without rewards."""
    part = Part("a", cap=4, program="best-of-n", prompt_tokens=20)
    with pytest.raises(UserError, match="record rewards, or replay 'self-consistency'"):
        simulate(mixed([part], [urn()]), FCFS)


# Replicas.


@pytest.mark.parametrize("name", ["fcfs", "gang"])
def test_shared_load(name):
    """Replicas share the load: three of them serve three times as much."""
    one = experiment(urn(), programs=90, rate=50.0, cap=2)
    alone, three = (
        simulate(replace(one, cluster=Cluster(engine(), replicas)), make_system(name, EVEN))
        for replicas in (1, 3)
    )
    assert three.totals.end == pytest.approx(alone.totals.end / 3, rel=0.1)
    assert three.totals.busy_seconds > 0.9 * 3 * three.totals.end
    assert three.totals.generated_tokens == alone.totals.generated_tokens


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ["fcfs", "gang", "sjf"])
def test_homes(name, policy):
    """Below its capacity a program computes its prompt once: it stays on one replica."""
    one = experiment(urn(), programs=60, rate=0.05, prompt_tokens=48, cluster=Cluster(engine(), 3))
    found = simulate(one, make_system(name, policy))
    calls = found.prompt_tokens.sum() / 48
    assert found.totals.prefill_tokens == 60 * 48 + (calls - 60) * 16


def test_more_replicas_than_programs():
    """Replicas that are sent nothing do nothing."""
    found = simulate(experiment(urn(), programs=2, cluster=Cluster(engine(), 5)), FCFS)
    assert (found.latency == found.solo_seconds).all()
    assert found.totals.replicas == 5


# By hand.


@pytest.mark.parametrize("name", system_names())
@pytest.mark.parametrize("policy", [EVEN, ALL_IN_FLIGHT])
def test_saturated_batch(name, policy):
    """A full batch of equal calls generates what the formula of a step says, under any order."""
    one = experiment(even_urn(30, 40), cluster=WIDE, programs=1, cap=40)
    found = simulate(one, make_system(name, policy))
    step = engine().step
    batch = step.of(8 * 20, 0, 0) + step.stretch(29, 0, 8, 8 * 21)
    assert found.totals.end == found.totals.busy_seconds == 5 * batch
    assert found.totals.steps == 5 * 30
    assert found.totals.generated_tokens / found.totals.end == 8 * 30 / batch


def test_equal_throughput():
    """Saturated, the cluster generates the same tokens a second, whoever owns the order."""
    one = experiment(even_urn(30), programs=200, rate=20.0)
    found = [saturated_throughput(simulate(one, make_system(name))) for name in system_names()]
    assert max(found) < 1.01 * min(found)


def test_saturated_arrivals():
    """Programs that come at one instant are taken one after the other, the first a step ahead."""
    found = simulate(experiment(even_urn(30), cluster=WIDE, programs=40, cap=1), FCFS)
    assert found.totals.steps == 5 * 30 + 1
    step = engine().step
    tokens = 40 * 20 * step.per_prefill_token + 40 * 29 * step.per_sequence
    context = 40 * (29 * 20 + 29 * 30 // 2) * step.per_kv_token
    assert found.totals.end == 151 * step.base + tokens + context


@pytest.mark.parametrize("calls", [1, 3, 7, 8, 9])
def test_memory_bound(calls):
    """Where memory holds fewer calls than there are slots, as many run as fit."""
    cluster = Cluster(engine(block_tokens=64, kv_blocks=calls))
    found = simulate(experiment(even_urn(12, 24 * 7), cluster=cluster, programs=1, cap=168), FCFS)
    fit = min(calls, 8)
    step = engine().step
    batch = step.of(fit * 20, 0, 0) + step.stretch(11, 0, fit, fit * 21)
    assert found.totals.end == 168 // fit * batch
    assert found.totals.kv_max == fit / calls
    assert found.totals.kv_mean == pytest.approx(fit / calls, rel=1e-12)
    assert found.totals.preemptions == 0


def test_preempted():
    """Calls that outgrow the memory are preempted, and lose no token."""
    cluster = Cluster(engine(kv_blocks=10))
    found = simulate(experiment(even_urn(60), cluster=cluster, programs=12, cap=2), FCFS)
    assert found.totals.preemptions > 0
    assert found.totals.generated_tokens == found.tokens.sum() == 12 * 120
    assert found.totals.kv_max == 1


def test_evictions():
    """Evicting the idle programs' blocks first finds more of the live ones' prompts again."""
    found = {}
    for eviction in ("lru", "idle-first"):
        cluster = Cluster(engine(kv_blocks=24, max_running=3, eviction=eviction))
        one = experiment(urn(), cluster=cluster, programs=60, rate=0.1, prompt_tokens=100)
        found[eviction] = simulate(one, make_system("gang", ONE_BY_ONE))
    lru, idle = found["lru"].totals, found["idle-first"].totals
    assert lru.generated_tokens == idle.generated_tokens
    assert idle.cached_tokens > lru.cached_tokens
    assert idle.end < lru.end


# Odd workloads.


@pytest.mark.parametrize("name", system_names())
def test_nobody(name):
    """A workload that ends before its first program has a report without programs."""
    one = experiment(urn(), duration_seconds=1e-9, rate=1.0)
    found = simulate(one, make_system(name))
    assert len(found) == 0
    assert (found.totals.end, found.totals.waiting_mean) == (0, 0)
    figures = report(found)
    assert figures.all.programs == 0
    assert figures.all.attainment is None
    assert figures.load.tokens_per_second is None


@pytest.mark.parametrize("name", system_names())
def test_smallest(name):
    """One program of one branch of one token ends after the step of its prompt."""
    one = experiment([recorded("a", tokens=1)], programs=1, cap=1)
    found = simulate(one, make_system(name))
    assert found.latency.tolist() == found.solo_seconds.tolist() == [engine().step.of(20, 0, 0)]


def test_no_answers():
    """Programs none of whose samples has an answer end, and are worth nothing."""
    found = simulate(experiment(urn(answers="-"), programs=10), make_system("gang", BETA))
    assert (found.status == "answered").all()
    assert not found.quality.any()
    assert (found.knob == 4).all()


def test_no_tokens():
    """Samples of 0 tokens end with the step of their prompt, and vote."""
    one = experiment([recorded("aab", tokens=[0, 0, 20])], programs=5, cap=3, rate=0.01)
    found = simulate(one, FCFS)
    assert (found.tokens == 20).all()
    assert (found.knob == 3).all()
    assert found.latency == pytest.approx(found.solo_seconds)


@pytest.mark.parametrize("seconds", [5e-324, 1e-12])
@pytest.mark.parametrize("name", system_names())
def test_no_time(name, seconds):
    """Deadlines of hardly any time end every program without an answer, and nothing hangs."""
    one = experiment(urn(), programs=9, rate=1.0, deadline=Deadline(seconds, factors=SAME))
    found = simulate(one, make_system(name, enforces_deadlines=True))
    assert (found.status == "deadline").all()
    assert found.latency == pytest.approx(0, abs=1e-9)
    assert found.totals.generated_tokens == found.tokens.sum()


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"cluster": Cluster(engine(kv_blocks=3))}, "memory holds 48 tokens"),
        ({"cap": 9}, "cap 9 is beyond what was recorded"),
        ({"program": "best-of-nn"}, "part 'a': unknown program 'best-of-nn'"),
        ({"policy": "bta"}, "part 'a': unknown policy 'bta'"),
        ({"horizon": 0.0}, "horizon is 0.0; give seconds above 0"),
        ({"horizon": float("nan")}, "horizon is nan"),
    ],
)
def test_refused_before(given, match):
    """What cannot be run is refused before its first program, in one line."""
    with pytest.raises(UserError, match=match) as caught:
        simulate(experiment(urn(), programs=3, **given), FCFS)
    assert "\n" not in str(caught.value)


def test_unknown_policy():
    """A policy that nobody registered is refused, not every program under it."""
    with pytest.raises(UnknownName, match="unknown policy 'bta'"):
        simulate(experiment(urn(), programs=3), make_system("gang", PolicySpec("bta")))


def test_load_is_no_rate():
    """A load that nobody has turned into a rate is refused."""
    one = experiment(urn(), programs=3, rate=1.0)
    arrivals = replace(one.workload.arrivals, rate=None, load=0.5)
    with pytest.raises(WorkloadError, match="measure it, and set the rate"):
        simulate(replace(one, workload=replace(one.workload, arrivals=arrivals)), FCFS)


# Size.


@pytest.mark.parametrize("name", ["lpm", "sjf", "deadline"])
def test_memory(name):
    """Of two thousand programs that have ended nothing is kept but their rows."""
    deadline = Deadline(1e3, factors=SAME)
    one = experiment(urn(), programs=2000, rate=0.07, deadline=deadline)
    system = make_system(name, BETA)
    run = _Run(one, system, _checked(one, system), 0)
    found = run.run()
    assert len(found) == len(run.ledger._rows) == 2000
    assert not any(row.visit for row in run.ledger._rows)
    assert not run.ledger.live
    assert not run.recording._tapes
    scheduler, host, (server,) = run.scheduler, run.host, run.ledger.engines
    (pool,) = scheduler.dispatcher.pools.values()
    forecasts = scheduler._forecasts._workloads.values()
    for kept in (
        scheduler._runs, scheduler._outbox._timers, scheduler.dispatcher.calls, pool._homes,
        host._heap, host._homes, host._feeds, host.answers, host.bills, server.running,
        *(workload.fresh for workload in forecasts),
    ):  # fmt: skip
        assert not kept
    # Heaps drop what has become untrue when it surfaces.
    for queue in pool.queues():
        assert len(queue._heap) + len(queue._changes) <= 200
    for line in run.promise._lines.values():
        assert len(line._heap) <= 100
    assert len(server._stops) <= 100
    assert server.cache.used == 0
    assert len(server.cache._pieces) <= server.cache.blocks


def test_recorded():
    """On recorded answers the same holds: every program ends, every token is billed, no promise."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "traces"
    path = Path(os.environ.get("DYNASOR_TRACES") or beside) / "svamp-codex.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"there is no {path.name} in {path.parent}")
    questions = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in map(json.loads, islice(lines, 60)):
            samples = line["samples"][:20]
            known = list(dict.fromkeys(sample["answer"] for sample in samples))
            answers = "".join(chr(97 + known.index(sample["answer"])) for sample in samples)
            tokens = [sample["tokens"] for sample in samples]
            questions.append(recorded(answers, tokens=tokens, name=line["id"]))
    cluster = Cluster(preset("a100-llama3.1-8b").model())
    one = experiment(questions, cluster=cluster, programs=120, rate=30.0, cap=20)
    for name in ("lpm", "sjf"):
        found = simulate(one, make_system(name, BETA))
        assert (found.status == "answered").all()
        assert found.totals.generated_tokens == found.tokens.sum()
        assert found.totals.broken_promises == 0
        assert found.tokens.sum() < found.full_tokens.sum()
