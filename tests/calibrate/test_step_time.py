from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.words import said

from dynasor.calibrate.loads import Plan, TimedLoad
from dynasor.calibrate.step_time import CALL, COEFFICIENTS, fit_step_time, solver
from dynasor.core.commands import Submit
from dynasor.core.errors import ConfigError, UserError
from dynasor.core.types import Call, Generate, Prompt, Usage
from dynasor.sim.batching import BatchEngine, EngineModel
from dynasor.sim.engine import Attempt, Outcome, Segment
from dynasor.sim.step_time import StepTime

PLAN = Plan(most_calls=16, prompt_tokens=120, completion_tokens=40, repeats=1)
STEP = StepTime(0.004, 3e-5, 2e-5, 1e-7)


def attempt(name, prompt, tokens):
    call = Call(name, "p", "generate", Generate(Prompt(())), "p", "p")
    outcome = Outcome(said("x", tokens), tokens, path=(Segment(name, prompt),))
    return Attempt(Submit(call, 1, "e", 0), outcome)


def simulated(usages, step, call_seconds=0.0):
    """Run calls at once on the modelled engine: a timed load as a live engine would give it."""
    engine = BatchEngine(EngineModel(step, kv_blocks=1000, call_seconds=call_seconds))
    for n, usage in enumerate(usages):
        engine.add(attempt(f"c{n}", usage.prompt_tokens, usage.completion_tokens), 0.0)
    engine.go_on(0.0)
    now, left = 0.0, len(usages)
    while left:
        now = engine.wake
        while engine.take(now) is not None:
            left -= 1
        engine.go_on(now)
    return TimedLoad(now, tuple(usages))


def loads(step, call_seconds=0.0, plan=PLAN):
    """The plan's loads on the modelled engine, the calls of each a little uneven."""
    return [
        simulated(
            [
                Usage(load.prompt_tokens + n % 3, max(1, load.completion_tokens - n))
                for n in range(load.calls)
            ],
            step,
            call_seconds,
        )
        for load in plan.loads()
    ]


def test_the_simulators_own_engine():
    """What was measured on the modelled engine gives its coefficients back, uneven calls and all.

    The fit and the simulator mean the same by the formula.
    """
    fitted = fit_step_time(loads(STEP, call_seconds=0.001))
    found = [term.seconds for term in fitted.terms]
    assert found == pytest.approx([0.004, 3e-5, 2e-5, 1e-7, 0.001], rel=1e-6)
    assert [term.name for term in fitted.terms] == [*COEFFICIENTS, CALL]
    assert fitted.step.base == found[0]
    assert fitted.fit.unsure == ()
    assert fitted.fit.mean_error < 1e-9
    assert fitted.fit.r_squared == pytest.approx(1.0)
    assert sum(term.share for term in fitted.terms) == pytest.approx(1.0)


@given(st.floats(1e-4, 1e-1), st.floats(1e-6, 1e-3), st.floats(1e-6, 1e-3), st.floats(1e-9, 1e-6))
def test_any_engine(base, prefill, sequence, kv):
    """Without noise the formula explains every load, whatever the coefficients."""
    step = StepTime(base, prefill, sequence, kv)
    fitted = fit_step_time(loads(step, 1e-4))
    assert fitted.fit.mean_error < 1e-6


def test_what_was_measured():
    """The fit says how many loads and calls it rests on, and the longest of them."""
    fit = fit_step_time(loads(STEP)).fit
    assert (fit.loads, fit.calls, fit.most_calls) == (20, 4 * (1 + 2 + 4 + 8 + 16), 16)
    assert (fit.prompt_tokens, fit.completion_tokens) == (122, 40)


def test_a_cost_that_is_none():
    """A coefficient that is zero in truth is unsure in the fit, and the others are not."""
    fitted = fit_step_time(loads(StepTime(0.004, 3e-5, 2e-5, 0.0)))
    assert fitted.fit.unsure == ("per_kv_token",)


def test_one_call_at_a_time():
    """Single calls cannot tell a step from its one sequence: that is said, and time advances."""
    plan = Plan(most_calls=1, prompt_tokens=120, completion_tokens=40, repeats=3)
    timed = [
        TimedLoad(one.seconds * (1 + 0.02 * (n % 3 - 1)), one.usages)
        for n, one in enumerate(loads(STEP, plan=plan))
    ]
    fitted = fit_step_time(timed)
    assert {"base", "per_sequence"} & set(fitted.fit.unsure)
    assert fitted.step.base > 0


def test_kinds_that_never_come_apart():
    """Loads that are all alike identify nothing."""
    fitted = fit_step_time([simulated([Usage(50, 10)], STEP)] * 8)
    assert fitted.fit.unsure == COEFFICIENTS


def test_too_few():
    """Fewer loads than coefficients are refused with the number that would do."""
    with pytest.raises(UserError, match="5 timed loads .* at least 6"):
        fit_step_time(loads(STEP)[:5])


def test_without_scipy(monkeypatch):
    """Without scipy the user is told what to install."""
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ConfigError, match=r"pip install 'dynasor-serve\[eval\]'"):
        solver()
