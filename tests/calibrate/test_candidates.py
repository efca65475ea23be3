"""What a calibration tries."""

from __future__ import annotations

import pytest
from toys.recorded import recorded

from dynasor.calibrate.candidates import CALIBRATED, FITTED, candidates
from dynasor.core.allocation import make_policy, policies
from dynasor.core.errors import UnknownName
from dynasor.evaluate.replay import Job, replay

QUESTIONS = [recorded("abcde" * 4, tokens=list(range(1 + n, 21 + n)), name=f"q{n}") for n in (0, 9)]
GRIDS = [name for name in CALIBRATED if name not in FITTED]


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("cap", [2, 3, 5, 20])
@pytest.mark.parametrize("has_lock", [True, False])
def test_grids(name, cap, has_lock):
    """Every candidate can be built, has the lock as asked, and none stands twice."""
    found = candidates(name, QUESTIONS, cap, has_lock)
    for spec in found:
        make_policy(spec, policies())
        assert (spec.name, spec.has_lock) == (name, has_lock)
    params = [spec.params for spec in found]
    assert found
    assert all(params.count(one) == 1 for one in params)


@pytest.mark.parametrize("name", GRIDS)
def test_least_cap(name):
    """Every candidate runs with a cap of one."""
    for spec in candidates(name, QUESTIONS, 1, False):
        assert replay(QUESTIONS, Job(spec, 1), 0).knob.tolist() == [1, 1]


@pytest.mark.parametrize("name", ["threshold", "esc"])
def test_first_look(name):
    """No candidate looks for the first time at the cap or after it."""
    for spec in candidates(name, QUESTIONS, 6, False):
        assert spec.params.get("detect", spec.params.get("window")) < 6


@pytest.mark.parametrize("name", ["betta", "skyline"])
def test_unknown(name):
    """A policy without anything to try is named, with those that have."""
    with pytest.raises(UnknownName, match=f"unknown policy to calibrate: '{name}' .*beta"):
        candidates(name, QUESTIONS, 5, False)
