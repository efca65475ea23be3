"""Fixtures for tests that start worker processes."""

from __future__ import annotations

import importlib
import multiprocessing
from pathlib import Path

import pytest


@pytest.fixture
def faulty(monkeypatch):
    """The module of faulty tasks, importable by name in the spawned processes too."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return importlib.import_module("faulty_tasks")


@pytest.fixture(autouse=True)
def nothing_left():
    """Every test ends without a process of its own."""
    yield
    assert multiprocessing.active_children() == []
