"""Whose turn it is: tenants whose calls wait share a pool by weight.

Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996): a tenant's *start tag* is the service
that it has had, divided by its weight, and whoever has the least goes next. A tenant that begins to
wait starts where those stand that wait already, so that nobody saves up credit by being idle.

Service is completion tokens. Nobody knows a call's when it starts, so a running one counts with the
mean of its tenant's ended calls, and with what it took once it has ended; as in Sheng et al.,
Fairness in Serving Large Language Models (OSDI 2024), from which the lift of those that come back
is, too. Two tenants that wait all the time are then never further apart than about what their
running calls come to, divided by their weights.

This file must not know of programs, queues or replicas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf

__all__ = ["Shares"]

MEMORY = 64
"""Calls over which a tenant's mean length is kept."""


class _Account:
    """What one tenant has had: `lift` is its tag's distance from the service that it really had."""

    __slots__ = ("ended", "lift", "mean", "running", "tokens", "weight")

    def __init__(self, weight: float, mean: float) -> None:
        self.weight = weight
        self.mean = mean
        self.ended = 0
        self.lift = 0.0
        self.running = 0
        self.tokens = 0

    @property
    def start(self) -> float:
        """The start tag of its next call."""
        return self.settled + self.running * self.mean / self.weight

    @property
    def settled(self) -> float:
        """The start tag of the calls that run."""
        return self.lift + self.tokens / self.weight


class Shares:
    """The accounts of all tenants in one pool.

    `weights` are above 0; tenants that it does not name weigh 1. `tokens` is what a call is taken
    to come to until one has ended.
    """

    def __init__(self, weights: Mapping[str, float], tokens: float) -> None:
        self._weights = dict(weights)
        self._tokens = tokens
        self._accounts: dict[str, _Account] = {}
        self._last: _Account | None = None

    def __repr__(self) -> str:
        tags = {tenant: round(account.start, 1) for tenant, account in self._accounts.items()}
        return f"<Shares {tags}>"

    def weigh(self, weights: Mapping[str, float]) -> None:
        """Change the weights; nobody's tag moves, so what was had stays had."""
        self._weights = dict(weights)
        for tenant, account in self._accounts.items():
            start = account.start
            account.weight = self._weights.get(tenant, 1.0)
            account.lift += start - account.start

    def arrive(self, tenant: str, waiting: Iterable[str]) -> None:
        """Note that a tenant begins to wait, beside those that wait already."""
        account = self._of(tenant)
        account.lift += max(0.0, self._now(waiting, account.settled) - account.settled)

    def in_turn(self, waiting: Iterable[str]) -> list[str]:
        """Return these tenants, whose turn it is first; of equals, the one named first."""
        return sorted(waiting, key=lambda tenant: self._of(tenant).start)

    def begin(self, tenant: str) -> None:
        """Note that a call of a tenant starts."""
        account = self._last = self._of(tenant)
        account.running += 1

    def end(self, tenant: str, tokens: int) -> None:
        """Note that a call of a tenant has ended, well or not, after so many tokens.

        A call without tokens counts one: embedding and scoring are not free.
        """
        account = self._of(tenant)
        account.running -= 1
        account.ended = min(account.ended + 1, MEMORY)
        account.mean += (tokens - account.mean) / account.ended
        account.tokens += max(1, tokens)

    def forget_idle(self, waiting: Iterable[str]) -> list[str]:
        """Drop and return the tenants of whom nothing runs or waits and nothing is held against.

        One that has had more than those who wait stays, or it would gain by coming back.
        """
        here = set(waiting)
        now = self._now(here, -inf)
        gone = [
            tenant
            for tenant, account in self._accounts.items()
            if tenant not in here and not account.running and account.settled <= now
        ]
        for tenant in gone:
            del self._accounts[tenant]
        return gone

    def _now(self, waiting: Iterable[str], otherwise: float) -> float:
        """Return the virtual time: where those stand that wait, or the last one that was served.

        That is the tag with which the calls began that run now, so nobody who comes pays for what
        they are only expected to take.
        """
        last = otherwise if self._last is None else self._last.settled
        return min((self._of(tenant).settled for tenant in waiting), default=last)

    def _of(self, tenant: str) -> _Account:
        account = self._accounts.get(tenant)
        if account is None:
            weight = self._weights.get(tenant, 1.0)
            account = self._accounts[tenant] = _Account(weight, self._tokens)
        return account
