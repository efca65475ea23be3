"""A folder without settings of its own."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _everywhere(no_settings):
    """Run all tests of this folder so."""
