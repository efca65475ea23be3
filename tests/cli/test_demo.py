"""The demo's tables, drawn without an engine."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from dynasor.api import Result
from dynasor.cli.demo import zones_table
from dynasor.core.types import Spending
from dynasor.evaluate import Judged, Trial


def judged(number: int, knob: int, right: int) -> Judged:
    """One problem of which so many of `knob` branches were right."""
    answer = "1" if right else "2"
    result = Result(
        program=f"heldout-0-{number}",
        question="q",
        status="answered",
        reason="cap",
        answer=answer,
        text=answer,
        certaindex={},
        votes={},
        knob=knob,
        cap=20,
        spending=Spending(),
        calls=knob,
        aborted_calls=0,
        failed_attempts=0,
        grouping_failures=0,
        seconds=0.0,
        closed_seconds=0.0,
    )
    return Judged(result.program, result, right > 0, right, knob)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_zones_are_readable_with_many_problems(width: int) -> None:
    """Every zone's name, count, branches and right answers are whole on a narrow terminal."""
    even = Trial(tuple(judged(n, 20, (20, 7, 0)[n % 3]) for n in range(240)), 1.0)
    ours = Trial(tuple(judged(n, 5, (5, 2, 0)[n % 3]) for n in range(240)), 1.0)
    console = Console(file=StringIO(), width=width)
    console.print(zones_table(even, ours))
    drawn = console.file.getvalue()
    rows = {line.split()[1]: line for line in drawn.splitlines() if "→" in line}
    assert set(rows) == {"easy", "hard", "hopeless"}
    assert all("80" in row and "20.0 → 5.0" in row for row in rows.values())
    assert "80 → 80" in rows["easy"]
    assert "0 → 0" in rows["hopeless"]
