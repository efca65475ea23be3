"""One replica of a pool: how many calls it holds, how many it may, and whether it may any."""

from __future__ import annotations

from math import ceil

from dynasor.core.types import Replica
from dynasor.core.window import Window

__all__ = ["ReplicaState"]


class ReplicaState:
    """What a pool knows of a replica.

    It is sent up to `window` calls, needed ones beyond `slots`; both are 0 while it drains.
    `learnt` is None where the slots are known. `pauses` counts failures to reach it since the last
    success; while `is_paused` it gets nothing, and `is_down` says that this is because it could not
    be reached, not because it was busy. `ills` counts the observations since it was last healthy.
    """

    __slots__ = (
        "held",
        "ills",
        "is_down",
        "is_paused",
        "learnt",
        "name",
        "pauses",
        "slots",
        "told",
        "window",
    )

    def __init__(self, told: Replica, slack: float) -> None:
        self.name = told.name
        self.held = 0
        self.is_paused = False
        self.is_down = False
        self.pauses = 0
        self.ills = 0
        self.learnt: Window | None = None
        self.told = told
        self.tell(told, slack)

    def __repr__(self) -> str:
        return f"<ReplicaState {self.name} {self.held}/{self.window} held>"

    def tell(self, told: Replica, slack: float) -> None:
        """Change what is known; `slack` is the fraction sent beyond the slots.

        What was learnt is kept unless it is to begin elsewhere.
        """
        if not told.is_learnt:
            self.learnt = None
        elif self.learnt is None or told.slots != self.told.slots:
            self.learnt = Window(told.slots)
        self.told = told
        self.resize(slack)

    def resize(self, slack: float) -> None:
        """Bring slots and window up to date: a learnt window has its slack in itself."""
        if self.told.is_draining:
            self.slots = self.window = 0
        elif self.learnt is not None:
            self.slots = self.window = self.learnt.size
        else:
            self.slots = self.told.slots
            self.window = self.slots + ceil(self.slots * slack)
