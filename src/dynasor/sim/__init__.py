"""The scheduler in virtual time: a heap of events and modelled engines instead of a clock."""

from dynasor.sim.batching import BatchEngine, EngineModel, EngineTotals
from dynasor.sim.engine import Engine, Outcome, Segment, SimpleEngine
from dynasor.sim.host import VirtualHost
from dynasor.sim.step_time import StepTime

__all__ = [
    "BatchEngine",
    "Engine",
    "EngineModel",
    "EngineTotals",
    "Outcome",
    "Segment",
    "SimpleEngine",
    "StepTime",
    "VirtualHost",
]
