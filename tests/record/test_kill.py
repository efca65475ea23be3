"""Recordings that are killed, again and again."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys.killing import run_until_killed
from toys.recordings import sums

SCRIPT = Path(__file__).with_name("killed.py")
MOMENTS = [("write", 1), ("call", 1), ("write", 2), ("call", 40), ("write", 12), ("call", 25)]


@pytest.mark.slow
async def test_killed_again_and_again(folder):
    """After `kill -9` at any moment the next run loses nothing and draws the same samples."""
    kept = run_until_killed(SCRIPT, [folder.out_path], MOMENTS)
    assert 1 < len(kept) < 60
    killed = folder.lines()
    folder.out_path.unlink()
    await folder.run(sums(60), job={"samples": 3})
    assert killed == folder.lines()
    assert len(killed) == 60
