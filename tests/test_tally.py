"""What runs over many questions count."""

from __future__ import annotations

import pytest

from dynasor import batch, record
from dynasor.core.types import Spending


@pytest.mark.parametrize(
    ("tally", "ended", "troubles"),
    [
        (batch.Tally(total=9, found=2, answered=3, failed=1, unusable=2), 6, 3),
        (record.Tally(total=9, found=2, recorded=3, failed=1), 4, 1),
    ],
)
def test_counts(tally, ended, troubles):
    """Found, ended and left make the total; troubles are among what has ended."""
    assert (tally.ended, tally.troubles) == (ended, troubles)
    assert (tally.done, tally.left) == (2 + ended, 7 - ended)
    tally.found = 10
    assert tally.left == 0, "an input that has shrunk meanwhile"


def test_bill():
    """All generated tokens of a question are billed, and nothing is known of savings."""
    tally = record.Tally()
    for _ in range(2):
        tally.bill(Spending(prompt_tokens=5, finished_tokens=3, aborted_tokens=2, failed_tokens=1))
    assert (tally.prompt_tokens, tally.completion_tokens, tally.saved_share) == (10, 12, None)
