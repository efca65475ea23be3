"""benchmarks/fidelity.py: what is simulated of a live run, and how far the two are apart."""

from __future__ import annotations

import importlib
import os

import pytest

from dynasor.core.catalog import describe_program
from dynasor.core.config import SchedulerConfig
from dynasor.core.events import Arrived
from dynasor.core.types import PolicySpec
from dynasor.sim import EngineModel, StepTime
from dynasor.wiring import make_catalog

EVEN = PolicySpec("even", has_lock=False)


@pytest.fixture
def fidelity(benchmarks):
    return importlib.import_module("fidelity")


@pytest.fixture
def measured(fidelity):
    """Return a function that makes a live run of programs, given as arrival and lengths."""
    forced = importlib.import_module("vllm_orderings").Forced

    def make(*programs, prompt=8):
        witness = fidelity.Witness()
        for number, (at, lengths) in enumerate(programs):
            spec = describe_program(forced("?", cap=len(lengths), lengths=lengths))
            witness.arrivals.append((at, Arrived(f"p{number}", spec, EVEN)))
            witness.prompts[f"p{number}"] = prompt
        catalog = make_catalog({forced.name: forced})
        return fidelity.Measured(witness, SchedulerConfig(), catalog)

    return make


def engine(**limits):
    return EngineModel(
        StepTime(0.5, 0.25, 0.125), **{"kv_blocks": 1000, "max_running": 64, **limits}
    )


def test_forced_lengths_are_simulated(fidelity, measured):
    """A program takes its longest strand's steps, and its prompts, from when it really came."""
    found = fidelity.simulate(measured((100.0, (4,)), (200.0, (3, 1))), engine())
    first = 0.5 + 8 * 0.25 + 3 * (0.5 + 0.125)
    second = 0.5 + 16 * 0.25 + 2 * (0.5 + 0.125)
    assert list(found.latencies.values()) == pytest.approx([first, second])
    assert found.prompts == {"p0": 8, "p1": 8}


def test_a_run_is_no_distance_from_itself(fidelity, measured):
    """What was simulated, taken for a live run, is foretold without an error."""
    live = measured(*((float(number), (5, 9, 2, 7, 30)) for number in range(12)))
    once = fidelity.simulate(live, engine(max_running=8))
    again = fidelity.simulate(
        fidelity.Measured(once, live.config, live.catalog), engine(max_running=8)
    )
    found = fidelity.compare([once.latencies], [again.latencies])
    assert found["error"]["p90"] == pytest.approx(0.0, abs=1e-9)
    assert found["ratio"] == pytest.approx(1.0)
    assert found["floor"] is None


def test_errors_are_relative_to_what_was_measured(fidelity):
    """Errors are over all runs of a load, the floor between runs that follow each other."""
    live = [{"a": 2.0, "b": 4.0}, {"a": 1.0, "b": 4.0}]
    told = [{"a": 1.0, "b": 5.0}, {"a": 1.0, "b": 1.0}]
    found = fidelity.compare(live, told)
    assert found["programs"] == 4
    assert found["error"]["mean"] == pytest.approx((0.5 + 0.25 + 0.0 + 0.75) / 4)
    assert found["error"]["p50"] == pytest.approx(0.375)
    assert found["floor"]["mean"] == pytest.approx(0.25)
    assert found["measured"]["mean"] == pytest.approx(2.75)


def test_what_an_engine_carries(fidelity, measured):
    """A crowd of equal programs is done about when the carried rate says."""
    model = engine(max_running=16)
    crowd = measured(*((0.0, (20,) * 4) for _ in range(100)))
    seconds = max(fidelity.simulate(crowd, model).latencies.values())
    assert 100 * 4 * 20 / seconds == pytest.approx(fidelity.carried(model, 8, 20.0), rel=0.1)


def test_others_share_is_none_of_our_own(fidelity):
    """What this process does is not counted as others' work."""
    before = fidelity.own_ticks(os.getpid())
    sum(range(10**7))
    assert fidelity.own_ticks(os.getpid()) > before
    machine = fidelity.Machine()
    machine.ticks["fit"] = [25, 100]
    assert machine.others() == {"fit": 0.25}
