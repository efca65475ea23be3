"""The scheduler in virtual time: a heap of events and modelled engines instead of a clock."""

from dynasor.sim.engine import Outcome, SimpleEngine
from dynasor.sim.host import VirtualHost

__all__ = ["Outcome", "SimpleEngine", "VirtualHost"]
