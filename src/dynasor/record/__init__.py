"""Recording: many samples of every question of a data set, written to a trace, resumable.

Knows nothing of terminals: `dynasor.cli.record` shows what `Watcher` hears.
"""

from dynasor.record.run import RecordJob, Tally, record
from dynasor.tally import Watcher

__all__ = ["RecordJob", "Tally", "Watcher", "record"]
