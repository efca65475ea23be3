"""Drivers with a puppet for a scheduler; whatever a test does, they leave no task behind."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the rigs

from rigs import Rig, turns

from dynasor.engines.scripted import ScriptedEngine


@pytest.fixture
async def rig():
    """Make rigs; at the end nothing of them may be left running."""
    made = []

    def make(engine=None):
        made.append(Rig(engine or ScriptedEngine(lambda work: "two words")))
        return made[-1]

    yield make
    for one in made:
        await one.driver.close()
    await turns()
    assert asyncio.all_tasks() == {asyncio.current_task()}
