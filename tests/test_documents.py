"""The documents say what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynasor.config import Settings
from dynasor.core.allocation import policies
from dynasor.core.commands import Command
from dynasor.core.events import Event
from dynasor.core.ordering import orderings

ROOT = Path(__file__).parents[1]


def test_every_setting_is_documented_with_its_default() -> None:
    """docs/configuration.md has a row for every setting, with the default that the code has."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    for name, field in Settings.model_fields.items():
        assert f"| `{name}` | `{field.default!r}` | {field.description} |" in text


@pytest.mark.parametrize("name", [*policies(), *orderings()])
def test_every_policy_and_ordering_is_documented(name: str) -> None:
    """docs/policies.md has a row for every policy and every ordering that ships."""
    text = (ROOT / "docs" / "policies.md").read_text()
    assert f"| `{name}`" in text


@pytest.mark.parametrize("kind", [*Event.__args__, *Command.__args__])
def test_every_event_and_command_stands_in_the_architecture(kind: type) -> None:
    """ARCHITECTURE.md has a row for every event and every command."""
    assert f"| `{kind.__name__}` |" in (ROOT / "ARCHITECTURE.md").read_text()
