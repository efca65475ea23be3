"""Allocation policies: what a program may still spend.

`policies()` is the table of those that ship; `make_policy` builds one from its description.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from dynasor.core.allocation.policies import Beta, Even, Lock, Stepwise, Threshold, posterior
from dynasor.core.allocation.policy import Grant, Policy, Stop, View
from dynasor.core.allocation.priced import Priced
from dynasor.core.allocation.published import Esc, Length, Skyline
from dynasor.core.allocation.sequential import Sequential
from dynasor.core.allocation.shadow import Onlooker, Shadow, Shadowing
from dynasor.core.errors import ConfigError, UnknownName
from dynasor.core.types import PolicySpec

__all__ = [
    "EVEN",
    "Beta",
    "Esc",
    "Even",
    "Grant",
    "Length",
    "Lock",
    "Onlooker",
    "Policy",
    "PolicyShelf",
    "Priced",
    "Sequential",
    "Shadow",
    "Shadowing",
    "Skyline",
    "Stepwise",
    "Stop",
    "Threshold",
    "View",
    "make_policy",
    "policies",
    "posterior",
]

EVEN = PolicySpec("even", has_lock=False)
"""Every program its whole cap, and nothing else: what savings are measured against."""

T = TypeVar("T")
SHELF_SIZE = 256
"""Distinct policies kept; a client that sends a new one each time must not fill the memory."""


def policies() -> dict[str, type[Policy]]:
    """Return the policies that ship, by name."""
    return {
        "even": Even,
        "threshold": Threshold,
        "stepwise": Stepwise,
        "beta": Beta,
        "sequential": Sequential,
        "priced": Priced,
        "esc": Esc,
        "length": Length,
        "skyline": Skyline,
        "shadow": Shadow,
    }


def make_policy(spec: PolicySpec, known: Mapping[str, type[Policy]]) -> Policy:
    """Build a policy from its description.

    Raises `UnknownName` for a name that is not in `known`, `ConfigError` for a parameter that is
    unknown, of the wrong type or out of range.
    """
    policy = build("policy", spec.name, spec.params, known)
    if isinstance(policy, Shadow):  # a lock would act
        return Shadowing(policy, make_policy(_asked(policy, spec.has_lock), known))
    return Lock(policy) if spec.has_lock else policy


def _asked(shadow: Shadow, has_lock: bool) -> PolicySpec:
    if shadow.policy == "shadow":
        raise ConfigError("policy 'shadow' cannot ask itself; name another as its policy")
    return PolicySpec(shadow.policy, shadow.params, has_lock)


class PolicyShelf:
    """Policies by description: equal descriptions share one object, for policies hold no state."""

    __slots__ = ("_known", "_made")

    def __init__(self, known: Mapping[str, type[Policy]]) -> None:
        self._known = known
        self._made: dict[bytes, Policy] = {}

    def get(self, spec: PolicySpec) -> Policy:
        """Return the policy of a description; raises as `make_policy` does."""
        key = msgspec.json.encode(spec)
        policy = self._made.get(key)
        if policy is None:
            if len(self._made) >= SHELF_SIZE:
                self._made.clear()
            policy = self._made[key] = make_policy(spec, self._known)
        return policy


def build(kind: str, name: str, params: dict[str, Any], known: Mapping[str, type[T]]) -> T:
    """Build the struct registered as `name` from JSON values; one-line errors."""
    if name not in known:
        raise UnknownName(kind, name, known)
    try:
        return msgspec.convert(params, known[name])
    except msgspec.ValidationError as exc:
        fields = ", ".join(known[name].__annotations__)
        raise ConfigError(f"{kind} {name!r}: {exc} (its parameters: {fields})") from exc
