"""Runs that are killed at chosen moments, again and again, and what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

__all__ = ["arm", "run_until_killed"]


def arm(mode, count):
    """Let this process kill itself; return what an engine must call before each answer.

    `call N` is killed at the Nth engine call, `write N` in the middle of the Nth line, `never 0`
    runs to the end.
    """
    calls, writes, real = [], [], os.pwrite

    def before(question):
        calls.append(question)
        if mode == "call" and len(calls) == count:
            _die()

    def pwrite(fd, data, offset):
        writes.append(data)
        if mode == "write" and len(writes) == count:
            real(fd, data[: len(data) // 2], offset)
            _die()
        return real(fd, data, offset)

    os.pwrite = pwrite
    return before


def _die():
    """End at once, as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def run_until_killed(script, paths, moments):
    """Run a script `PATH... MODE COUNT` until it is killed at each moment, then to its end.

    The last path is what it writes: whole lines that were there once must stay. Returns the
    lines that were there before the last run.
    """
    kept = b""
    for mode, count in moments:
        assert _run(script, *paths, mode, count) == -signal.SIGKILL
        held = paths[-1].read_bytes()
        assert held.startswith(kept)
        kept = held[: held.rfind(b"\n") + 1]
    assert _run(script, *paths, "never", 0) == 0
    assert paths[-1].read_bytes().startswith(kept)
    return kept.splitlines()


def _run(script, *arguments):
    command = [sys.executable, script, *map(str, arguments)]
    return subprocess.run(command, check=False, timeout=60).returncode
