"""Recordings that are killed, again and again."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from toys.recordings import sums

SCRIPT = Path(__file__).with_name("killed.py")
MOMENTS = [("write", 1), ("call", 1), ("write", 2), ("call", 40), ("write", 12), ("call", 25)]


def run(path, mode, count):
    """Run until killed; return the exit status."""
    command = [sys.executable, SCRIPT, path, mode, str(count)]
    return subprocess.run(command, check=False, timeout=60).returncode


@pytest.mark.slow
async def test_killed_again_and_again(folder):
    """After `kill -9` at any moment the next run loses nothing and draws the same samples."""
    kept = b""
    for mode, count in MOMENTS:
        assert run(folder.out_path, mode, count) == -signal.SIGKILL
        held = folder.out_path.read_bytes()
        assert held.startswith(kept)
        kept = held[: held.rfind(b"\n") + 1]
    assert 1 < kept.count(b"\n") < 60
    assert run(folder.out_path, "never", 0) == 0
    assert folder.out_path.read_bytes().startswith(kept)
    killed = folder.lines()
    folder.out_path.unlink()
    await folder.run(sums(60), job={"samples": 3})
    assert killed == folder.lines()
    assert len(killed) == 60
