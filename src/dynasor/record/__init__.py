"""Recording: samples, searches or thoughts of every question of a data set, in a trace, resumable.

Knows nothing of terminals: `dynasor.cli.record` shows what `Watcher` hears.
"""

from dynasor.record.job import RecordJob
from dynasor.record.run import Tally, record
from dynasor.tally import Watcher

__all__ = ["RecordJob", "Tally", "Watcher", "record"]
