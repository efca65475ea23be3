"""What `dynasor bench` shows: a tally while it runs, facts for people at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from dynasor.cli.long_run import Quiet
from dynasor.load import Outcome
from dynasor.load.outcome import FAILED
from dynasor.runtime import Clock, MonotonicClock
from dynasor.tally import RunTally

__all__ = ["LoadTally", "ProgramLines", "facts", "warnings"]

LINE_SECONDS = 10.0
"""How often a log gets a line."""


@dataclass(slots=True)
class LoadTally(RunTally):
    """Programs of a load; `answered` have ended well, or at their deadline."""

    answered: int = 0

    @property
    def ended(self) -> int:
        """Programs that ended, however they went."""
        return self.answered + self.failed

    def add(self, outcome: Outcome) -> None:
        """Count one that ended."""
        self.prompt_tokens += outcome.usage.prompt_tokens
        self.completion_tokens += outcome.usage.completion_tokens
        if outcome.status == FAILED:
            self.failed += 1
        else:
            self.answered += 1


class ProgramLines(Quiet):
    """Prints one plain line every ten seconds at most."""

    def __init__(self, console: Console, clock: Clock | None = None) -> None:
        super().__init__(console)
        self._clock = clock or MonotonicClock()
        self._next = LINE_SECONDS

    def moved(self, tally: RunTally) -> None:
        """Print the state if it is time."""
        if self._clock.now() < self._next:
            return
        self._next = self._clock.now() + LINE_SECONDS
        self.console.print(
            f"{tally.done:,} of {tally.total:,} programs, {tally.failed:,} failed, "
            f"{tally.completion_tokens:,} tokens",
            markup=False,
            highlight=False,
        )


def facts(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the figures in words, for a table."""
    rows = {
        "server": f"{found['url']}, {found['model']}",
        "asked": found["asked"],
        "programs": _programs(found),
        "rate": _rates(found),
        "attainment": _attainment(found),
        "latency": _times(found["latency_seconds"]),
        "first event": _times(found["first_event_seconds"]),
        "tokens": _tokens(found),
        "accuracy": _accuracy(found),
        "errors": ", ".join(f"{count:,} {kind}" for kind, count in found["errors"].items()),
    }
    return {name: row for name, row in rows.items() if row}


def warnings(found: Mapping[str, Any]) -> list[str]:
    """Return what makes the figures doubtful."""
    said = []
    if found["has_fallen_behind"]:
        late = found["lag_seconds"]["p99"]
        said.append(
            f"the generator itself fell behind: one program in a hundred left {late:.3f} s late or "
            "later; latencies count that as waiting. Lower the rate, or run it on a machine of "
            "its own"
        )
    if found["last_error"]:
        said.append(f"{found['failed']:,} programs failed, the last one: {found['last_error']}")
    return said


def _programs(found: Mapping[str, Any]) -> str:
    counts = {
        "answered": found["answered"],
        "ended by their deadline": found["ended_by_deadline"],
        "failed": found["failed"],
        "not ended": found["unfinished"],
    }
    parts = [f"{count:,} {what}" for what, count in counts.items() if count]
    return f"{found['programs']:,}: {', '.join(parts) or 'none ended'}"


def _rates(found: Mapping[str, Any]) -> str:
    rates = {"offered": found["offered_rate"], "achieved": found["achieved_rate"]}
    known = [f"{rate:.3f} {what}" for what, rate in rates.items() if rate is not None]
    return f"{', '.join(known)} (programs a second)" if known else ""


def _attainment(found: Mapping[str, Any]) -> str:
    if found["attainment"] is None:
        return ""
    solo = found["solo_seconds"]
    alone = "" if solo is None else f", alone a program takes {solo:.3f} s"
    return f"{found['attainment']:.1%} within {found['deadline_seconds']:.3f} s{alone}"


def _times(values: Mapping[str, float] | None) -> str:
    if values is None:
        return ""
    names = {"mean": "mean", "p50": "median", "p90": "P90", "p99": "P99", "max": "most"}
    return ", ".join(f"{word} {values[name]:.3f} s" for name, word in names.items())


def _tokens(found: Mapping[str, Any]) -> str:
    each = found["completion_tokens_a_program"]
    if each is None:
        return ""
    guessed = found["estimated_programs"]
    words = f"{found['completion_tokens']:,} generated, {each:,.1f} a program"
    pace = found["completion_tokens_a_second"]
    if pace is not None:
        words += f", {pace:,.0f} a second"
    return f"{words}; estimated for {guessed:,} programs" if guessed else words


def _accuracy(found: Mapping[str, Any]) -> str:
    if found["accuracy"] is None:
        return ""
    return f"{found['accuracy']:.1%} of {found['judged']:,} answers that are known"
