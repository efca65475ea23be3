"""A folder without settings of its own, and scripted engines."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the plays


@pytest.fixture(autouse=True)
def _no_settings(tmp_path, monkeypatch):
    """Run where no settings file is, without settings in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("DYNASOR_"):
            monkeypatch.delenv(name)
