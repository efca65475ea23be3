"""The stage that schedulers are tried on; every one is audited when its test ends."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the toys

from toys.stage import Stage


@pytest.fixture
def stage():
    """Make stages; at the end of the test the invariants of each must hold."""
    made = []

    def make(*kinds, **settings):
        made.append(Stage(*kinds, **settings))
        return made[-1]

    yield make
    for one in made:
        one.check()
