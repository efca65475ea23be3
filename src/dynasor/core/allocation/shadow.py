"""A policy that is asked and not obeyed: what it would have saved, and whether the answer differs.

`shadow` runs a program as `even` does. After every settled unit it asks another policy, and notes
where that would have stopped. The other one must see what it would have seen: units that it had
granted, in the order of their launch, and not the crowd that even allocation has on its way. So
votes are counted anew, one launch after the other; a program that does not vote shows what it has
at every unit that it settles.

What this cannot know: other signals than `entropy` are those of the moment; a tree search or a
chain of thought would have gone another way with fewer units side by side (`in_flight` brings that
near); and the load is the one that even allocation makes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field

from dynasor.core.allocation.grants import Count
from dynasor.core.allocation.policies import Even
from dynasor.core.allocation.policy import Grant, Policy, Stop, View
from dynasor.core.certaindex import Votes
from dynasor.core.errors import DynasorError
from dynasor.core.types import Answer

__all__ = ["Onlooker", "Shadow", "Shadowing"]


class Shadow(Struct, frozen=True, forbid_unknown_fields=True):
    """Give every program its whole cap, and ask `policy` with `params` what it would have done.

    The lock, where it is on, belongs to the policy that is asked. `in_flight` is how many units
    run at once, None for all.
    """

    policy: str = "beta"
    params: dict[str, Any] = field(default_factory=dict)
    in_flight: Count | None = None

    def decide(self, view: View) -> Grant | Stop:
        """Grant up to the cap; stop when all of it is settled."""
        return Even(self.in_flight).decide(view)


class Shadowing(Struct, frozen=True):
    """`Shadow` with the policy that it names."""

    shadow: Shadow
    inner: Policy

    def decide(self, view: View) -> Grant | Stop:
        """Decide as `shadow` does; `Onlooker` asks `inner`."""
        return self.shadow.decide(view)


class Onlooker:
    """Asks a policy about one program, until it would have stopped.

    `stop` is its decision, with `reason` and `winner`, None so far; `knob` is where, `granted` what
    it had granted by then, `leader` the class that would have won; `early` is the answer of a
    program that does not vote. `error` says why it cannot be asked, empty as long as it can: it
    must never harm the program.
    """

    __slots__ = ("_cap", "_policy", "_votes", "early", "error", "granted", "knob", "leader", "stop")

    def __init__(self, policy: Policy, cap: int) -> None:
        self._policy = policy
        self._cap = cap
        self._votes: Votes | None = None
        self.granted = 0
        self.knob = 0
        self.leader: int | None = None
        self.early: Answer | None = None
        self.stop: Stop | None = None
        self.error = ""

    def look(self, view: View, answer: Callable[[], Answer | None]) -> None:
        """Ask about all units settled by now; `answer` gives the program's best so far."""
        if self.stop is not None or self.error:
            return
        try:
            if view.votes is None:
                self._ask(view, view.knob, view.certaindex, None)
                if self._has_stopped():
                    self.early = answer()
            else:
                self._recount(view, view.votes)
        except DynasorError as exc:
            self.error = str(exc)
        except Exception as exc:  # noqa: BLE001 - a policy's own code raised it
            self.error = f"{type(exc).__name__}: {exc}"

    def _recount(self, view: View, votes: Votes) -> None:
        """Ask after each vote that the first launches have cast since the last look."""
        mine = self._votes
        if mine is None:
            mine = self._votes = Votes(votes.max_weight)
            self._ask(view, 0, view.certaindex, mine)
        mine.lost = votes.lost
        settled = len(votes.sequence)
        while not self._has_stopped() and len(mine.sequence) < settled:
            place = len(mine.sequence)
            mine.record(mine.launch(), votes.sequence[place], votes.weights[place])
            certaindex = dict(view.certaindex)
            if "entropy" in certaindex:
                certaindex["entropy"] = mine.settled.certaindex()
            self._ask(view, place + 1, certaindex, mine)

    def _has_stopped(self) -> bool:
        return self.stop is not None

    def _ask(
        self, view: View, knob: int, certaindex: Mapping[str, float], votes: Votes | None
    ) -> None:
        share = knob / view.knob if view.knob else 0.0
        decision = self._policy.decide(
            View(
                cap=self._cap,
                granted=max(self.granted, knob),
                speculative=0,
                knob=knob,
                certaindex=certaindex,
                votes=votes,
                tokens=round(view.tokens * share),
                busy=view.busy,
                slots=view.slots,
                rounds=view.rounds,
            )
        )
        self.knob = knob
        if isinstance(decision, Grant):
            self.granted = min(self._cap, max(self.granted, knob) + max(0, decision.needed))
            if decision.cap is not None:
                self._cap = max(self.granted, min(self._cap, decision.cap))
            if knob < self.granted:
                return
            decision = Stop("nothing granted")
        self.stop = decision
        if votes is not None:
            votes.choice = decision.winner
            self.leader = votes.leader()
