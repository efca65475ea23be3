"""A batch run that kills itself: IN OUT MODE COUNT; run as a process of its own."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the toys

from toys.batches import sums_engine
from toys.killing import arm
from toys.watchers import Heard

from dynasor.batch import BatchJob, run_batch
from dynasor.config import Settings


def main(in_path, out_path, mode, count):
    """Run the batch until the moment comes."""
    settings = Settings(cap=3, policy="even", lock=False, live=8)
    engines = [sums_engine(arm(mode, int(count)))]
    asyncio.run(run_batch(BatchJob(Path(in_path), Path(out_path)), settings, Heard(), engines))


if __name__ == "__main__":
    main(*sys.argv[1:])
