"""What the core asks of a task beyond its protocol."""

from __future__ import annotations

import pytest
from toys.words import Words

from dynasor.core.task import takes_any_text


class Anything(Words):
    """A task that takes any text for an answer."""

    takes_any_text = True


class Nothing(Words):
    """A task that says of itself that it does not."""

    takes_any_text = False


@pytest.mark.parametrize(
    ("task", "takes"), [(Words(), False), (Anything(), True), (Nothing(), False)]
)
def test_takes_any_text(task, takes):
    """A task takes any text for an answer only where it says so."""
    assert takes_any_text(task) is takes
