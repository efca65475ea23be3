"""Batches: a file of questions in OpenAI's batch format in, a file of answers out, resumable.

Knows nothing of terminals: `dynasor.cli.batch` shows what `Watcher` hears.
"""

from dynasor.batch.output import OutputError
from dynasor.batch.run import BatchJob, run_batch
from dynasor.batch.tally import Tally
from dynasor.tally import Watcher

__all__ = ["BatchJob", "OutputError", "Tally", "Watcher", "run_batch"]
