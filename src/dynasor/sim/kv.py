"""The KV cache of a modelled engine: pages, prompts shared by path, eviction.

Memory is counted in blocks of `block_tokens` tokens. A prompt is a path of segments from its
beginning; a segment's whole blocks are kept once, however many calls use them, and stay cached
when nobody does, until memory is needed. As in vLLM, only whole blocks are shared, what calls
leave behind is evicted from its end, and a prompt finds its cached beginning up to the first
block that is missing.

Eviction is least recently used first; `idle-first` takes the blocks of programs that have no
more calls to make before those of all others (paper, section 5.3). A segment is the program's
that asked for it last: instructions that many share are not idle when one of these ends. What a
finished call generated is nobody's unless it has a key; it stands in the same order and is
dropped in its turn.

This file must not know of time, steps or attempts.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from dynasor.sim.engine import Segment

__all__ = ["Eviction", "Holding", "PagedCache"]

Eviction = Literal["lru", "idle-first"]
Path = tuple[Segment, ...]


class _Piece:
    """One segment's whole blocks: `resident` of them, from its beginning, are in memory."""

    __slots__ = ("key", "owner", "resident", "users")

    def __init__(self, key: str) -> None:
        self.key = key
        self.owner = ""
        self.resident = 0
        self.users = 0


class Holding:
    """The blocks that one running call keeps: shared `pieces`, and what follows them alone.

    `shared` blocks are those of the pieces together; `before` says of each piece how many blocks
    come before it and how many of its own had been in memory before the call came.
    """

    __slots__ = ("before", "pieces", "shared")

    def __init__(self, pieces: list[_Piece], before: list[tuple[int, int]], shared: int) -> None:
        self.pieces = pieces
        self.before = before
        self.shared = shared


class PagedCache:
    """Blocks in use, blocks kept for later, blocks free: together always `blocks`.

    `kept` counts blocks that nobody uses and a later prompt may find again; `available` is what a
    call can get: those and the free ones.
    """

    def __init__(self, blocks: int, block_tokens: int = 16, eviction: Eviction = "lru") -> None:
        self.blocks = blocks
        self.block_tokens = block_tokens
        self.free = blocks
        self.kept = 0
        self._is_idle_first = eviction == "idle-first"
        self._pieces: dict[str, _Piece] = {}
        self._idle: OrderedDict[str | int, _Piece | int] = OrderedDict()
        self._live: OrderedDict[str | int, _Piece | int] = OrderedDict()
        self._owned: dict[str, dict[str, _Piece]] = {}  # as given back; those in use anywhere
        self._newest_waste: int | None = None
        self._serial = 0

    def __repr__(self) -> str:
        return f"<PagedCache {self.used} of {self.blocks} blocks used, {self.kept} kept>"

    @property
    def used(self) -> int:
        """Blocks that running calls hold."""
        return self.blocks - self.free - self.kept

    @property
    def available(self) -> int:
        """Blocks that a call can get, by eviction where need be."""
        return self.free + self.kept

    def blocks_of(self, tokens: int) -> int:
        """Return how many blocks so many tokens fill or begin."""
        return -(-tokens // self.block_tokens)

    def found(self, path: Path) -> int:
        """Return how many tokens of a prompt are in memory, from its beginning, in whole blocks."""
        tokens = first = found = 0
        for segment in path:
            tokens += segment.tokens
            end = tokens // self.block_tokens
            if end > first:
                piece = self._pieces.get(segment.key)
                resident = 0 if piece is None else min(piece.resident, end - first)
                found = first + resident
                if found < end:
                    break
                first = end
        return found * self.block_tokens

    def hold(self, path: Path, tokens: int, owner: str, spare: int = 0) -> Holding | None:
        """Get the blocks for `tokens` tokens that begin with a path; None where they lack.

        `spare` blocks must be left available.
        """
        pieces, sizes, before, first, end = [], [], [], 0, 0
        for segment in path:
            end += segment.tokens
            last = end // self.block_tokens
            if last > first:
                piece = self._pieces.get(segment.key) or _Piece(segment.key)
                pieces.append(piece)
                before.append((first, piece.resident))
                sizes.append(last - first)
                first = last
        lacking = self.blocks_of(tokens) - first
        pinned = 0
        for piece, size in zip(pieces, sizes, strict=True):
            lacking += max(0, size - piece.resident)
            if not piece.users:
                pinned += piece.resident
        if lacking + spare > self.available - pinned:
            return None
        for piece in pieces:
            self._pin(piece, owner)
        self.grow(lacking)
        for piece, size in zip(pieces, sizes, strict=True):
            piece.resident = max(size, piece.resident)
        return Holding(pieces, before, first)

    def grow(self, blocks: int) -> None:
        """Take so many blocks, which must be available."""
        if blocks > self.free:
            self._evict(blocks - self.free)
        self.free -= blocks

    def forget(self, holding: Holding, tokens: int) -> None:
        """Note, before a release, that only so many tokens of the prompt were ever computed.

        Nobody is to find the others, which until then had been on their way.
        """
        whole = tokens // self.block_tokens
        for piece, (first, resident) in zip(holding.pieces, holding.before, strict=True):
            if piece.users == 1:
                lost = piece.resident - max(resident, min(piece.resident, whole - first))
                piece.resident -= lost
                holding.shared -= lost

    def release(self, holding: Holding, tokens: int, key: str = "", owner: str = "") -> None:
        """Give back what a call holds that has computed `tokens` tokens, its end first.

        With a key, the whole blocks that follow the shared ones stay, to be found as that segment.
        """
        alone = self.blocks_of(tokens) - holding.shared
        whole = tokens // self.block_tokens - holding.shared
        if key and whole > 0 and key not in self._pieces:
            self._waste(alone - whole)
            piece = self._pieces[key] = _Piece(key)
            piece.resident = whole
            self._own(piece, owner)
            self._keep(piece)
        else:
            self._waste(alone)
        for piece in reversed(holding.pieces):
            piece.users -= 1
            if not piece.users:
                self._keep(piece)

    def retire(self, program: str) -> None:
        """Let a program's segments go before those of others (`idle-first`)."""
        for key, piece in self._owned.pop(program, {}).items():
            piece.owner = ""
            if self._live.pop(key, None) is not None:
                self._idle[key] = piece
                self._newest_waste = None

    def _pin(self, piece: _Piece, owner: str) -> None:
        if not piece.users:
            self._pieces[piece.key] = piece
            self.kept -= piece.resident
            self._line_of(piece).pop(piece.key, None)
        piece.users += 1
        self._own(piece, owner)

    def _own(self, piece: _Piece, owner: str) -> None:
        """Let a piece be the program's that has asked for it last: only `idle-first` needs it."""
        if self._is_idle_first and owner:
            self._disown(piece)
            piece.owner = owner
            self._owned.setdefault(owner, {})[piece.key] = piece

    def _disown(self, piece: _Piece) -> None:
        if piece.owner:
            owned = self._owned[piece.owner]
            del owned[piece.key]
            if not owned:
                del self._owned[piece.owner]

    def _keep(self, piece: _Piece) -> None:
        """Let a piece wait for a later prompt, or to be evicted; one without blocks is gone."""
        if not piece.resident:
            self._disown(piece)
            del self._pieces[piece.key]
            return
        self.kept += piece.resident
        line = self._line_of(piece)
        line[piece.key] = piece
        if line is self._idle:
            self._newest_waste = None
        if piece.owner:
            self._own(piece, piece.owner)  # behind what was given back before it

    def _line_of(self, piece: _Piece) -> OrderedDict[str | int, _Piece | int]:
        return self._live if piece.owner else self._idle

    def _waste(self, blocks: int) -> None:
        """Keep blocks that nobody will look for, in the order in which all are given back."""
        if blocks <= 0:
            return
        self.kept += blocks
        if self._newest_waste is None:
            self._serial += 1
            self._newest_waste = self._serial
            self._idle[self._serial] = 0
        self._idle[self._newest_waste] += blocks  # type: ignore[operator]  # waste is a number

    def _evict(self, blocks: int) -> None:
        self.kept -= blocks
        self.free += blocks
        while blocks:
            line = self._idle or self._live
            key, entry = next(iter(line.items()))
            if isinstance(entry, _Piece):
                taken = min(blocks, entry.resident)
                entry.resident -= taken
                if not entry.resident:
                    self._disown(entry)
                    del line[key], self._pieces[entry.key]
            else:
                taken = min(blocks, entry)
                line[key] = entry - taken
                if taken == entry:
                    del line[key]
                    if key == self._newest_waste:
                        self._newest_waste = None
            blocks -= taken
