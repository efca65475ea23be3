"""Workers start from any script, and do not hear Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dynasor.workers.spawning import SpawnWithoutMain, held_interrupts

SCRIPT = r"""
import asyncio
from dynasor.workers import Workers

print("begins")

async def main():
    async with Workers() as workers:
        print(await workers.compare("math", (r"\frac{\sqrt{2}}{2}",), (r"\frac{1}{\sqrt 2}",)))

asyncio.run(main())
"""


@pytest.mark.process
def test_a_script_without_a_guard_is_run_once(tmp_path: Path) -> None:
    """A script without `if __name__ == "__main__"` runs once, and its comparison is made."""
    script = tmp_path / "unguarded.py"
    script.write_text(SCRIPT)
    ran = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=100, check=True
    )
    assert ran.stdout.splitlines() == ["begins", "((0,), 0)"]


def test_held_interrupts():
    """Ctrl-C waits for the end of what must not be left half done, and is not lost."""
    done = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - where it is raised is the point
        with held_interrupts():
            signal.raise_signal(signal.SIGINT)
            done.append("all")
        done.append("too much")
    assert done == ["all"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_nothing_held():
    """Without Ctrl-C nothing is raised and all is as before."""
    with held_interrupts():
        pass
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


async def test_held_in_a_thread():
    """In a thread, which Ctrl-C never interrupts, the mask alone is set and taken back."""

    def masks():
        with held_interrupts():
            inside = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        return signal.SIGINT in inside, signal.SIGINT in signal.pthread_sigmask(
            signal.SIG_BLOCK, ()
        )

    assert await asyncio.to_thread(masks) == (True, False)


@pytest.mark.process
def test_a_process_does_not_hear() -> None:
    """A process lives on through Ctrl-C: its parent ends it."""
    process = SpawnWithoutMain().Process(target=signal.raise_signal, args=(signal.SIGINT,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
