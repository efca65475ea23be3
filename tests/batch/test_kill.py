"""Runs that are killed, again and again."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("killed.py")
MOMENTS = [("call", 1), ("write", 1), ("call", 40), ("write", 12), ("write", 2), ("call", 25)]


def run(folder, mode, count):
    """Run until killed; return the exit status."""
    command = [sys.executable, SCRIPT, folder.in_path, folder.out_path, mode, str(count)]
    return subprocess.run(command, check=False, timeout=60).returncode


def answers(folder):
    """What the output says, by custom_id; each stands there once."""
    records = folder.records()
    names = [one["custom_id"] for one in records]
    assert len(names) == len(set(names))
    return {
        one["custom_id"]: one["response"]["body"]["dynasor"]["answer"]
        for one in records
        if one["response"] is not None
    }


@pytest.mark.slow
async def test_killed_again_and_again(folder):
    """After `kill -9` at any moment the next run loses nothing and repeats nothing."""
    folder.questions(60)
    kept = b""
    for mode, count in MOMENTS:
        assert run(folder, mode, count) == -signal.SIGKILL
        held = folder.out_path.read_bytes()
        assert held.startswith(kept)
        kept = held[: held.rfind(b"\n") + 1]
    assert 0 < kept.count(b"\n") < 60
    assert run(folder, "never", 0) == 0
    assert folder.out_path.read_bytes().startswith(kept)
    killed = answers(folder)
    folder.out_path.unlink()
    await folder.run()
    assert killed == answers(folder) == {f"q{n}": str(n + 1) for n in range(60)}
