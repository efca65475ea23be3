from __future__ import annotations

from fractions import Fraction
from math import inf, nan

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.core.errors import ConfigError
from dynasor.sim.step_time import MOST_STEPS, StepTime

TIME = StepTime(base=0.01, per_prefill_token=0.001, per_sequence=0.0005, per_kv_token=1e-6)

coefficients = st.floats(0, 1e-2)
times = st.builds(StepTime, st.floats(1e-7, 1.0), coefficients, coefficients, coefficients)
loads = st.tuples(st.integers(0, 8192), st.integers(0, 512), st.integers(0, 10**7))


def test_one_step():
    """A step costs its base and its share of tokens, sequences and context."""
    assert TIME.of(100, 4, 2000) == pytest.approx(0.01 + 0.1 + 0.002 + 0.002)


@given(times, loads, st.integers(0, 60))
def test_a_stretch_is_the_sum_of_its_steps(time, load, steps):
    """The closed form is what step after step adds up to, with N tokens more of context each."""
    prefill, sequences, kv_tokens = load
    each = [time.of(prefill, sequences, kv_tokens + k * sequences) for k in range(steps)]
    exact = float(sum(map(Fraction, each), Fraction(0)))
    assert time.stretch(steps, *load) == pytest.approx(exact, rel=1e-12)


@given(times, loads, st.integers(0, 10**9))
def test_a_stretch_rises(time, load, steps):
    """One step more takes longer, however long the stretch is already."""
    assert time.stretch(steps + 1, *load) > time.stretch(steps, *load)


@given(times, loads, st.integers(0, 10**7))
def test_steps_within_what_they_take(time, load, steps):
    """The time of a stretch holds that stretch, and the least bit less holds one step less."""
    seconds = time.stretch(steps, *load)
    assert time.steps_within(seconds, *load) == steps
    if steps:
        assert time.steps_within(seconds * (1 - 1e-15), *load) in (steps - 1, steps)


@given(times, loads, st.floats(0, 1e5))
def test_most_steps_that_fit(time, load, seconds):
    """So many steps fit, and one more does not."""
    steps = time.steps_within(seconds, *load)
    assert time.stretch(steps, *load) <= seconds < time.stretch(steps + 1, *load)


def test_nothing_fits():
    """No step fits into less than one, into negative time or into what is no number."""
    assert [TIME.steps_within(t, 0, 1, 0) for t in (0.0, 0.01, -1.0, nan, -inf)] == [0] * 5


def test_endless():
    """Time without end holds the most steps that a stretch may have, where these still differ."""
    assert TIME.steps_within(1e300, 0, 1, 0) == MOST_STEPS
    assert TIME.steps_within(inf, 0, 0, 0) == MOST_STEPS
    assert TIME.stretch(MOST_STEPS, 9, 9, 9) > TIME.stretch(MOST_STEPS - 1, 9, 9, 9)


@pytest.mark.parametrize("base", [0.0, -1.0, nan, inf])
def test_time_advances(base):
    """A base that is not positive is refused: time might stand still."""
    with pytest.raises(ConfigError, match="base is .* must be positive"):
        StepTime(base)


@pytest.mark.parametrize("name", ["per_prefill_token", "per_sequence", "per_kv_token"])
@pytest.mark.parametrize("value", [-1e-9, nan, inf])
def test_coefficients(name, value):
    """A coefficient that is negative or no number is refused by name."""
    with pytest.raises(ConfigError, match=name):
        StepTime(0.01, **{name: value})


def test_file():
    """A step time survives being written."""
    assert msgspec.json.decode(msgspec.json.encode(TIME), type=StepTime) == TIME
