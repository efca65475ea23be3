"""What other packages bring along: entry points of the groups `dynasor.policies` and so on.

    [project.entry-points."dynasor.policies"]
    mine = "my_package:Mine"

A policy, ordering or program is its class, a task is called without arguments for an instance, a
grouping is called with a task and returns one. What is named here works in every command.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from dynasor.core.errors import ConfigError

__all__ = ["KINDS", "installed"]

KINDS = ("policies", "orderings", "programs", "tasks", "groupings")


def installed(kind: str) -> dict[str, Any]:
    """Return what the installed packages register as one of `KINDS`, by name.

    Raises `ConfigError`, naming the package, for what cannot be imported and for a name that two
    packages use.
    """
    found: dict[str, Any] = {}
    owners: dict[str, str] = {}
    for point in entry_points(group=f"dynasor.{kind}"):
        package = point.dist.name if point.dist is not None else "an unnamed package"
        if point.name in found:
            raise ConfigError(
                f"{owners[point.name]} and {package} both register {point.name!r} in "
                f"dynasor.{kind}; uninstall one of them"
            )
        owners[point.name] = package
        try:
            found[point.name] = point.load()
        except Exception as exc:
            raise ConfigError(
                f"{point.name!r} in dynasor.{kind} of {package} cannot be loaded: "
                f"{type(exc).__name__}: {exc}"
            ) from exc
    return found
