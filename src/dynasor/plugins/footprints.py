"""What programs leave behind in an engine's cache, as the hashes of its blocks.

A block's hash covers all tokens before it, so an equal hash in two programs is a prompt that both
began with: such a block is nobody's own, and is never offered.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Footprints"]

SHARED = ""
"""The owner of a block that several programs used; no program is called that."""
MOST = 1 << 20
"""Blocks remembered; a cache of a thousand gigabytes has about that many."""


class Footprints:
    """Which cached blocks only one program used."""

    def __init__(self) -> None:
        self._owners: dict[bytes, str] = {}
        self._blocks: dict[str, dict[bytes, None]] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def add(self, program: str, hashes: Iterable[bytes]) -> None:
        """Note the blocks that a request of a program has used."""
        if len(self._owners) > MOST:  # without owners nothing is offered, which does no harm
            self._owners.clear()
            self._blocks.clear()
        owners = self._owners
        blocks = self._blocks.setdefault(program, {})
        for block in hashes:
            owner = owners.setdefault(block, program)
            if owner == program:
                blocks[block] = None
            elif owner:
                owners[block] = SHARED

    def take(self, program: str) -> list[bytes]:
        """Return and forget what only this program used, the ends of its texts first."""
        own = []
        for block in reversed(self._blocks.pop(program, {})):
            if self._owners.get(block) == program:
                del self._owners[block]
                own.append(block)
        return own
