"""What policies share: refilling what is in flight, and comparing certaindex with thresholds."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dynasor.core.allocation.policy import Grant, View
from dynasor.core.certaindex import Tally, Votes
from dynasor.core.errors import ConfigError

__all__ = [
    "Count",
    "Extra",
    "Share",
    "is_boundary",
    "is_certain",
    "refill",
    "signal_of",
    "tally_of",
    "votes_of",
]

Count = Annotated[int, Meta(ge=1)]
Extra = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]


def refill(view: View, end: int, in_flight: int | None, speculative: int = 0) -> Grant:
    """Grant so that `in_flight` units run, none of them beyond `end`."""
    wanted = min(end, view.cap)
    if in_flight is not None:
        wanted = min(wanted, view.knob + in_flight)
    needed = max(0, wanted - view.granted)
    if not speculative:
        return Grant(needed)
    still_speculative = max(0, view.speculative - needed)  # the others become needed ones
    extra = min(speculative, view.cap - view.granted - needed) - still_speculative
    return Grant(needed, max(0, extra))


def is_boundary(view: View, every: int) -> bool:
    """Say whether all that was granted is settled, and that is a multiple of `every`."""
    return view.knob == view.granted and view.knob > 0 and view.knob % every == 0


def is_certain(view: View, at: float | dict[str, float]) -> bool:
    """Say whether every named signal reaches its threshold; a number is for `entropy`.

    Raises `ConfigError` for a signal that the program does not have.
    """
    thresholds = at if isinstance(at, dict) else {"entropy": at}
    return all(signal_of(view, signal) >= least for signal, least in thresholds.items())


def signal_of(view: View, signal: str) -> float:
    """Return a signal's certaindex; raise `ConfigError` where the program does not have it."""
    if signal not in view.certaindex:
        known = ", ".join(view.certaindex) or "none"
        raise ConfigError(f"the policy needs the signal {signal!r}; the program has: {known}")
    return view.certaindex[signal]


def votes_of(view: View, policy: str) -> Votes:
    """Return the program's votes; raise `ConfigError` where it does not vote."""
    if view.votes is None:
        raise ConfigError(f"the policy {policy!r} needs votes, and this program does not vote")
    return view.votes


def tally_of(view: View, policy: str, order: Literal["launch", "finish"]) -> Tally:
    """Return the votes that a policy reads; raises as `votes_of` does."""
    votes = votes_of(view, policy)
    return votes.settled if order == "launch" else votes.finished
