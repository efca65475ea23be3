"""A batch run that kills itself: IN OUT MODE COUNT; run as a process of its own.

`call N` is killed at the Nth engine call, `write N` in the middle of the Nth record, `never 0`
runs to the end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the toys

from toys.batches import sums_engine

from dynasor.batch import BatchJob, run_batch
from dynasor.config import Settings


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
    """Run the batch until the moment comes."""
    in_path, out_path, mode, count = *map(Path, sys.argv[1:3]), sys.argv[3], int(sys.argv[4])
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
    settings = Settings(cap=3, policy="even", lock=False, live=8)
    engines = [sums_engine(before)]
    asyncio.run(run_batch(BatchJob(in_path, out_path), settings, Deaf(), engines))


if __name__ == "__main__":
    main()
