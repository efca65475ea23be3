"""The journal: every event with its time, from which a scheduler can be replayed.

A JSON-lines file: a header (format, build, seed and configuration), then one line an event with
the digest of the commands it caused. A replay feeds the events to a fresh scheduler of the same
build and compares the digests, so it proves that the same commands came in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from dynasor.core.catalog import Catalog
from dynasor.core.commands import Answered, Closed, Command
from dynasor.core.config import SchedulerConfig
from dynasor.core.errors import IllegalTransition, JournalError
from dynasor.core.events import Event
from dynasor.core.scheduler import Scheduler

__all__ = [
    "Entry",
    "Header",
    "JournalWriter",
    "Replay",
    "read_journal",
    "refuse_existing",
    "replay",
]

FORMAT = 1


class Header(Struct, frozen=True, forbid_unknown_fields=True):
    """The first line: what a replay must start from.

    The answers of the task `task` were sorted by the grouping `grouping`.
    """

    journal: int
    build: str
    config: SchedulerConfig
    task: str = "math"
    grouping: str = "task"


class _Format(Struct, frozen=True):
    """What headers of all formats have."""

    journal: int


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """One line: an event, when it came (seconds), and the digest of the commands it caused."""

    now: float
    event: Event
    commands: str


class Replay(Struct, frozen=True):
    """What a replay found; `first_difference` is a line number, None when all is the same.

    `is_torn` says that the journal's last line was cut off (its writer was killed).
    """

    events: int
    commands: int
    programs: int
    tokens: int
    first_difference: int | None
    is_torn: bool


def refuse_existing(path: Path) -> None:
    """Raise `JournalError` for a file that exists: a journal is never written over."""
    if path.exists():
        raise JournalError(f"journal {path} exists already; name a new file")


class JournalWriter:
    """Writes a journal while a scheduler runs; flushed whenever a program is closed.

    A journal that can no longer be written ends there; the run goes on, and `close` says so.
    """

    def __init__(self, path: Path, header: Header) -> None:
        """Create the file; raises `JournalError` where that is impossible."""
        refuse_existing(path)
        try:
            self._file: BinaryIO = path.open("xb")
        except OSError as exc:
            raise JournalError(f"journal {path} cannot be written: {exc.strerror}") from exc
        self._path = path
        self._encoder = msgspec.json.Encoder()
        self._trouble: JournalError | None = None
        self._write(header)

    def record(self, now: float, event: Event, commands: list[Command]) -> None:
        """Write one event and the digest of its commands."""
        if self._trouble is not None:
            return
        try:
            self._write(Entry(now, event, digest(commands)))
            if any(isinstance(command, Closed) for command in commands):
                self._file.flush()
        except (OSError, UnicodeEncodeError) as exc:
            self._fail(exc)

    def close(self) -> None:
        """Finish the file; safe to call twice; raises `JournalError` if it is not whole."""
        try:
            self._file.close()
        except OSError as exc:
            self._fail(exc)
        if self._trouble is not None:
            raise self._trouble

    def _fail(self, exc: OSError | UnicodeEncodeError) -> None:
        why = exc.strerror if isinstance(exc, OSError) else str(exc)
        self._trouble = self._trouble or JournalError(
            f"journal {self._path} could not be written to its end: {why}"
        )

    def _write(self, line: Header | Entry) -> None:
        self._file.write(self._encoder.encode(line) + b"\n")


def digest(commands: list[Command]) -> str:
    """Return a short digest of commands and their order, empty for none."""
    if not commands:
        return ""
    return blake2b(msgspec.json.encode(commands), digest_size=8).hexdigest()


def read_journal(path: Path) -> tuple[Header, Iterator[Entry | None]]:
    """Return the header and an iterator over the entries; None stands for a torn last line.

    Raises `JournalError` with the line's number for anything that is not a journal.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as exc:
        raise JournalError(f"journal {path} cannot be read: {exc.strerror}") from exc
    try:
        found = msgspec.json.decode(lines[0], type=_Format).journal
        if found != FORMAT:
            raise JournalError(f"{path} has journal format {found}; this build reads {FORMAT}")
        header = msgspec.json.decode(lines[0], type=Header)
    except msgspec.MsgspecError as exc:
        raise JournalError(f"{path} is no journal: its first line is no header ({exc})") from exc
    return header, _entries(path, lines)


def replay(path: Path, catalog: Catalog) -> Replay:
    """Feed a journal to a fresh scheduler and compare the commands, event by event."""
    header, entries = read_journal(path)
    scheduler = Scheduler(header.config, catalog)
    events = commands = programs = tokens = 0
    first_difference: int | None = None
    is_torn = False
    for number, entry in enumerate(entries, start=2):
        if entry is None:
            is_torn = True
            break
        try:
            caused = scheduler.handle(entry.event, entry.now)
        except IllegalTransition as exc:
            raise JournalError(f"{path}, line {number}: {exc}") from exc
        if digest(caused) != entry.commands and first_difference is None:
            first_difference = number
        events += 1
        commands += len(caused)
        programs += sum(isinstance(command, Answered) for command in caused)
        tokens += sum(c.spending.completion_tokens for c in caused if isinstance(c, Closed))
    return Replay(events, commands, programs, tokens, first_difference, is_torn)


def _entries(path: Path, lines: list[bytes]) -> Iterator[Entry | None]:
    decoder = msgspec.json.Decoder(Entry)
    for number, line in enumerate(lines[1:], start=2):
        is_last = number == len(lines)
        if is_last and not line:
            return
        try:
            yield decoder.decode(line)
        except msgspec.MsgspecError as exc:
            if is_last:  # no newline after it: the writer was killed in the middle
                yield None
                return
            raise JournalError(f"{path}, line {number} is no event: {exc}") from exc
