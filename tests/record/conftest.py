"""A trace in a folder, and a run that records into it."""

from __future__ import annotations

import pytest
from toys.recordings import seeded_engine
from toys.watchers import Heard

from dynasor.config import Settings
from dynasor.record import RecordJob, record
from dynasor.traces import read_trace


class Folder:
    """One trace and how it is recorded."""

    def __init__(self, path):
        self.out_path = path / "trace.jsonl"
        self.heard = Heard()

    async def run(self, questions, engine=None, *, workload="sums", job=None, **settings):
        """Record, four samples a question unless `job` has something else."""
        told = RecordJob(questions, workload, self.out_path, **{"samples": 4, **(job or {})})
        return await record(told, Settings(**settings), self.heard, [engine or seeded_engine()])

    def trace(self):
        """The trace, which must be whole."""
        return read_trace(self.out_path)

    def lines(self):
        """The trace's lines by their ids."""
        return {line.id: line for line in self.trace().lines}


@pytest.fixture
def folder(tmp_path):
    """An empty folder for one trace."""
    return Folder(tmp_path)
