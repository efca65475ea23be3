"""Benchmarks are scripts: they import one another from their own folder."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    """Find the scripts by their names."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
