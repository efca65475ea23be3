"""What the scheduler inside an engine is told."""

import math

import pytest

from dynasor.core.errors import ConfigError, UnknownName
from dynasor.plugins.rescue import Rescue
from dynasor.plugins.settings import Hinted, PluginSettings, read_hints, read_settings


def test_defaults():
    """Nothing said means the defaults, whatever else the engine's configuration holds."""
    assert read_settings({}, {}) == PluginSettings()
    assert read_settings({"other": 1}, {"PATH": "/"}) == PluginSettings()
    assert read_settings(object(), {}) == PluginSettings()
    assert isinstance(PluginSettings().make_ordering(), Rescue)


def test_environment_goes_before_configuration():
    """The environment, where it says something, replaces the engine's configuration."""
    given = {"dynasor": {"ordering": "gang", "aging_factor": 3}}
    assert read_settings(given, {}) == PluginSettings(ordering="gang", aging_factor=3)
    environment = {"DYNASOR_VLLM": '{"ordering": "sjf"}'}
    assert read_settings(given, environment) == PluginSettings(ordering="sjf")


@pytest.mark.parametrize(
    ("given", "environment", "words"),
    [
        ({"dynasor": {"order": "sjf"}}, {}, "unknown field `order`"),
        ({"dynasor": {"aging_factor": -1}}, {}, "aging_factor"),
        ({"dynasor": "sjf"}, {}, "--additional-config"),
        ({}, {"DYNASOR_VLLM": "{"}, r"\$DYNASOR_VLLM"),
        ({}, {"DYNASOR_VLLM": "[]"}, "give a JSON object"),
    ],
)
def test_bad_settings(given, environment, words):
    """What cannot be used is refused with one line that says where it stood and what is known."""
    with pytest.raises(ConfigError, match=words) as caught:
        read_settings(given, environment)
    assert "\n" not in str(caught.value)


def test_unknown_ordering():
    """An unknown ordering names those that there are, `rescue` among them."""
    with pytest.raises(UnknownName, match=r"rescue, sjf\); did you mean 'sjf'"):
        PluginSettings(ordering="sfj").make_ordering()


def test_patience_without_aging():
    """Patience bounds aging: where there is none it is refused, as it is before the engine."""
    with pytest.raises(ConfigError, match="patience is set and aging is 0"):
        PluginSettings(aging_factor=0.0, patience_seconds=9.0).make_ordering()


def test_hints_are_read_among_other_arguments():
    """Hints are taken from among a request's extra arguments; without any there is None."""
    extra = {"dynasor_knob_left": 3, "dynasor_slack_seconds": -1.5, "kv_transfer_params": {}}
    assert read_hints(extra) == Hinted(knob_left=3, slack_seconds=-1.5)
    assert read_hints({"top": 1}) is None
    assert read_hints(None) is None


@pytest.mark.parametrize(
    "extra",
    [
        {"dynasor_knob_left": "3"},
        {"dynasor_knob_left": -1},
        {"dynasor_tokens_per_knob": 0},
        {"dynasor_tokens_per_knob": math.nan},
        {"dynasor_slack_seconds": math.inf},
        {"dynasor_workload": 7},
    ],
)
def test_bad_hints(extra):
    """A hint of the wrong type or out of range is an error that says which."""
    with pytest.raises(ConfigError, match="hints of a request"):
        read_hints(extra)
