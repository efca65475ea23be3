"""The live host: drives a scheduler with real engines, real workers and real time."""

from dynasor.runtime.clock import Clock, MonotonicClock
from dynasor.runtime.driver import Driver, Happening, Watcher
from dynasor.runtime.watch import Watch

__all__ = ["Clock", "Driver", "Happening", "MonotonicClock", "Watch", "Watcher"]
