"""A recording that kills itself: OUT MODE COUNT; run as a process of its own."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the toys

from toys.killing import arm
from toys.recordings import seeded_engine, sums
from toys.watchers import Heard

from dynasor.config import Settings
from dynasor.record import RecordJob, record


def main(out_path, mode, count):
    """Record until the moment comes."""
    job = RecordJob(sums(60), "sums", Path(out_path), samples=3)
    engines = [seeded_engine(arm(mode, int(count)))]
    asyncio.run(record(job, Settings(live=8), Heard(), engines))


if __name__ == "__main__":
    main(*sys.argv[1:])
