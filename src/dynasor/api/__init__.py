"""The Python front door.

    async with Dynasor(policy="beta:confidence=0.95") as dynasor:
        result = await dynasor.run(SelfConsistency("What is 12 * 12?", cap=20))
        print(result.answer, result.certaindex, result.reason)

`SyncDynasor` is the same without `async`.
"""

from dynasor.api.dynasor import Dynasor, Extensions, RunOptions
from dynasor.api.handle import Handle, OnProgress, Result
from dynasor.api.sync import SyncDynasor

__all__ = ["Dynasor", "Extensions", "Handle", "OnProgress", "Result", "RunOptions", "SyncDynasor"]
