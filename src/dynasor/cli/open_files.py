"""How many connections this process may hold: a shell usually allows a thousand."""

from __future__ import annotations

import contextlib

__all__ = ["raise_open_files"]

ENOUGH = 65_536
"""More than all clients and all windows together. macOS calls its hard limit infinite, and refuses
that as a soft one."""


def raise_open_files() -> None:
    """Raise the soft limit of open files as far as it goes, where the system has such a thing."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - Unix only

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
