"""A folder, an input written from plain values, a scripted engine, and a run over them."""

from __future__ import annotations

import json

import pytest
from toys.batches import line, sums_engine
from toys.watchers import Heard

from dynasor.batch import BatchJob, run_batch
from dynasor.config import Settings


class Folder:
    """An input and an output in one folder."""

    def __init__(self, path):
        self.in_path = path / "in.jsonl"
        self.out_path = path / "out.jsonl"
        self.heard = Heard()

    def write(self, *lines):
        """Write the input: values become JSON, bytes stay as they are."""
        whole = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in lines]
        self.in_path.write_bytes(b"".join(one + b"\n" for one in whole))

    def questions(self, count):
        """Write an input of that many sums, q0 to qN."""
        self.write(*(line(f"q{n}", f"{n}+1?") for n in range(count)))

    async def run(self, engine=None, *, retry_errors=False, journal=None, **settings):
        """Run the batch; cap 3, even, on an engine that can add one."""
        chosen = Settings(**{"cap": 3, "policy": "even", "lock": False, **settings})
        job = BatchJob(self.in_path, self.out_path, retry_errors, journal)
        return await run_batch(job, chosen, self.heard, [engine or sums_engine()])

    def records(self):
        """The records of the output, in order; every line must be whole."""
        data = self.out_path.read_bytes()
        assert data == b"" or data.endswith(b"\n")
        return [json.loads(one) for one in data.splitlines()]

    def record(self, custom_id):
        """The one record of a question."""
        (found,) = [one for one in self.records() if one["custom_id"] == custom_id]
        return found

    def errors(self):
        """The lines that could not be run: number to code."""
        bad = [one["error"] for one in self.records() if one["error"] is not None]
        return {one["line"]: one["code"] for one in bad}


@pytest.fixture
def folder(tmp_path):
    """An empty folder for one batch."""
    return Folder(tmp_path)
