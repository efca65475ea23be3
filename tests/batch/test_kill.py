"""Runs that are killed, again and again."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys.killing import run_until_killed

SCRIPT = Path(__file__).with_name("killed.py")
MOMENTS = [("call", 1), ("write", 1), ("call", 40), ("write", 12), ("write", 2), ("call", 25)]


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
    kept = run_until_killed(SCRIPT, [folder.in_path, folder.out_path], MOMENTS)
    assert 0 < len(kept) < 60
    killed = answers(folder)
    folder.out_path.unlink()
    await folder.run()
    assert killed == answers(folder) == {f"q{n}": str(n + 1) for n in range(60)}
