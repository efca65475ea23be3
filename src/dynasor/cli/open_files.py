"""How many connections this process may hold: a shell usually allows a thousand."""

from __future__ import annotations

import contextlib

__all__ = ["raise_open_files"]


def raise_open_files() -> None:
    """Raise the soft limit of open files to the hard one, where the system has such a thing."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - Unix only

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
