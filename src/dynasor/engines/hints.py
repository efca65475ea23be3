"""What an engine is told of the program behind a call, in its own words.

Sessions travel as headers, so that a client's own body stays untouched. Our hints are flat
scalars, since vLLM takes no others: `dynasor_workload`, `dynasor_knob_left`,
`dynasor_tokens_per_knob` and `dynasor_slack_seconds` (counted from when it is sent; the latest
call's hold for its program).
"""

from __future__ import annotations

from typing import Any

from dynasor.core.types import Hints
from dynasor.engines.dialects import Dialect, Priority

__all__ = ["hint_fields", "hint_headers", "priority_of"]

NO_HEADERS: dict[str, str] = {}


def hint_fields(dialect: Dialect, hints: Hints | None, *, has_priority: bool) -> dict[str, Any]:
    """Return the fields that a body gets; `has_priority`: the engine schedules by priority."""
    fields: dict[str, Any] = {}
    if hints is None:
        return fields
    if dialect.hints:
        fields[dialect.hints] = _flat(hints)
    if has_priority and dialect.priority is not None:
        fields["priority"] = priority_of(dialect.priority, hints.rank)
    return fields


def hint_headers(
    dialect: Dialect, hints: Hints | None, *, has_priority: bool, is_relayed: bool = False
) -> dict[str, str]:
    """Return the headers that a request gets; a relayed one has its priority there."""
    if hints is None:
        return NO_HEADERS
    headers = {dialect.session: hints.program} if dialect.session else {}
    if is_relayed and has_priority and dialect.priority_header and dialect.priority is not None:
        headers[dialect.priority_header] = str(priority_of(dialect.priority, hints.rank))
    return headers


def priority_of(priority: Priority, rank: int) -> int | float:
    """Return a rank (0 is first) as an engine's priority.

    On TensorRT-LLM's scale neighbours differ by one part in `rank`: 32 bits tell apart the first
    ten million programs.
    """
    if priority == "lower first":
        return rank
    return -rank if priority == "higher first" else 1.0 / (1.0 + rank)


def _flat(hints: Hints) -> dict[str, str | float]:
    flat: dict[str, str | float] = {
        "dynasor_workload": hints.workload,
        "dynasor_knob_left": hints.knob_left,
        "dynasor_tokens_per_knob": hints.tokens_per_knob,
    }
    if hints.slack_seconds is not None:
        flat["dynasor_slack_seconds"] = hints.slack_seconds
    return flat
