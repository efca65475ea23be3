"""The stage that schedulers are tried on, audited when its test ends; a place without settings."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings
from toys.stage import Stage

# A loaded machine is no failure, and the whole suite should take seconds.
settings.register_profile("bounded", deadline=None, max_examples=50, database=None)
settings.load_profile("bounded")


@pytest.fixture
def no_settings(tmp_path, monkeypatch):
    """Run in an empty folder, without settings of the machine's owner in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("DYNASOR_"):
            monkeypatch.delenv(name)


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
