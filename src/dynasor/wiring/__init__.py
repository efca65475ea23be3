"""From settings to objects: engines, workers, catalog, scheduler, driver."""

from dynasor.wiring.catalog import build_id, grouped, make_catalog
from dynasor.wiring.engines import make_engines, make_reward_engines
from dynasor.wiring.machine import Machine

__all__ = [
    "Machine",
    "build_id",
    "grouped",
    "make_catalog",
    "make_engines",
    "make_reward_engines",
]
