"""The stage that schedulers are tried on; every one is audited when its test ends."""

from __future__ import annotations

import pytest
from hypothesis import settings
from toys.stage import Stage

# A loaded machine is no failure, and the whole suite should take seconds.
settings.register_profile("bounded", deadline=None, max_examples=50, database=None)
settings.load_profile("bounded")


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
