"""A folder without settings of its own, and scripted engines."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the plays


@pytest.fixture(autouse=True)
def _everywhere(no_settings):
    """Run all tests of this folder so."""
