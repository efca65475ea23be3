"""Which vLLM the plug-in has been tested with."""

from __future__ import annotations

from dynasor.core.errors import ConfigError

__all__ = ["NEWER", "OLDEST", "check_version"]

OLDEST = (0, 32)
NEWER = (0, 33)
"""The first version that nobody has tried: the scheduler's inside changes with most of them."""


def check_version(found: str) -> None:
    """Raise `ConfigError` for a version of vLLM that the plug-in does not know."""
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdecimal())
    if OLDEST <= numbers < NEWER:
        return
    oldest, newer = (".".join(map(str, version)) for version in (OLDEST, NEWER))
    raise ConfigError(
        f"vLLM {found} found, but dynasor.plugins.vllm knows vllm>={oldest},<{newer}: "
        "install one of those, or start vLLM without --scheduler-cls"
    )
