"""A recording that kills itself: OUT MODE COUNT; run as a process of its own.

`call N` is killed at the Nth engine call, `write N` in the middle of the Nth line, `never 0`
runs to the end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the toys

from toys.recordings import seeded_engine, sums

from dynasor.config import Settings
from dynasor.record import RecordJob, record


class Deaf:
    """A watcher that hears nothing."""

    def moved(self, tally):
        """Do nothing."""

    def warn(self, message):
        """Do nothing."""


def die():
    """End at once, as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def main():
    """Record until the moment comes."""
    out_path, mode, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    calls, writes, real = [], [], os.pwrite

    def before(question):
        calls.append(question)
        if mode == "call" and len(calls) == count:
            die()

    def pwrite(fd, data, offset):
        writes.append(data)
        if mode == "write" and len(writes) == count:
            real(fd, data[: len(data) // 2], offset)
            die()
        return real(fd, data, offset)

    os.pwrite = pwrite
    job = RecordJob(sums(60), "sums", out_path, samples=3)
    asyncio.run(record(job, Settings(live=8), Deaf(), [seeded_engine(before)]))


if __name__ == "__main__":
    main()
