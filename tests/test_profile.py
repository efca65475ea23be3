"""Profiles as files and as settings."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.profiles import profile

from dynasor import Dynasor
from dynasor.config import Settings, format_policy, load_settings, parse_policy
from dynasor.core.errors import ConfigError
from dynasor.core.types import PolicySpec
from dynasor.engines.scripted import ScriptedEngine
from dynasor.profile import VERSION, ProfileError, read_profile

pytestmark = pytest.mark.usefixtures("no_settings")

PATH = Path("p.json")


def write(**rest):
    """Write a profile to the working folder; return its path."""
    profile(**rest).write(PATH)
    return PATH


def changed(**fields):
    """Write a profile's JSON with these fields, None takes one away."""
    values = {**json.loads(write().read_text()), **fields}
    PATH.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    return PATH


# Files.


def test_round_trip():
    """What is written is read again."""
    assert read_profile(write()) == profile()


def test_written_over():
    """A profile replaces what stood there, and leaves nothing else behind."""
    PATH.write_text("old")
    assert read_profile(write()) == profile()
    assert [one.name for one in Path().iterdir()] == [PATH.name]


def test_cannot_be_written():
    """A folder that is not there is named."""
    with pytest.raises(ProfileError, match="profile no/p.json cannot be written: No such file"):
        profile().write(Path("no/p.json"))


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"policy = 'beta'", b"[]", b"5", b"null", b"\xff\xfe{}", b"[" * 100_000],
)
def test_no_json(data):
    """A file that is no JSON object is named."""
    PATH.write_bytes(data)
    with pytest.raises(ProfileError, match="^profile p.json is not a JSON object: ") as caught:
        read_profile(PATH)
    assert "\n" not in str(caught.value)


def test_absent():
    """A file that is not there, or a folder, is named."""
    with pytest.raises(ProfileError, match="profile p.json cannot be read: No such file"):
        read_profile(PATH)
    with pytest.raises(ProfileError, match=r"profile \. cannot be read: Is a directory"):
        read_profile(Path())


def test_no_version():
    """Another JSON file says how profiles are made."""
    PATH.write_text('{"policy": "beta"}')
    with pytest.raises(ProfileError, match=r"p\.json is no profile: .*dynasor calibrate"):
        read_profile(PATH)


@pytest.mark.parametrize("version", [0, VERSION + 1, "1", [], 1.5])
def test_other_version(version):
    """A profile of another version names both."""
    with pytest.raises(ProfileError, match=f"has version .* this build reads {VERSION}"):
        read_profile(changed(dynasor_profile=version))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cap", 0),
        ("cap", "ten"),
        ("width", 0),
        ("loss", 2),
        ("params", []),
        ("policy", None),
        ("model", None),
        ("measured", {}),
        ("behaviour", {"certaindex": [2], "knob": [], "tokens_per_knob": []}),
        ("lock", "yes"),
    ],
)
def test_wrong_types(field, value):
    """A field that is missing, of the wrong type or out of range is named with the file."""
    with pytest.raises(ProfileError, match=f"^profile p.json: .*{field}") as caught:
        read_profile(changed(**{field: value}))
    assert "\n" not in str(caught.value)


def test_later_fields():
    """A field that a later build adds is ignored."""
    assert read_profile(changed(colour="red")) == profile()


# Misfits.


def test_misfits():
    """Each misfit names what the profile was made for and what it is used for."""
    one = profile()
    assert one.misfits(model="toy", task="math", workload="sums") == []
    assert one.misfits() == []
    model, workload = one.misfits(model="other", task="math", workload="gsm")
    assert "'toy'" in model
    assert "'other'" in model
    assert "'sums'" in workload
    assert "'gsm'" in workload
    (grouping,) = one.misfits(grouping="meaning")
    assert grouping == "the profile was made for the grouping 'task' and is used for 'meaning'"
    assert profile(program="mcts:width=3").misfits(program="mcts") == []
    (program,) = one.misfits(program="mcts")
    assert "the program 'self-consistency' and is used for 'mcts'" in program


# Settings.


def test_precedence(monkeypatch):
    """A profile beats the file and the environment; flags beat the profile."""
    Path("dynasor.toml").write_text('policy = "even"\ncap = 3\nlock = false\nlive = 7\n')
    monkeypatch.setenv("DYNASOR_CAP", "4")
    settings = load_settings(profile=write())
    assert (settings.cap, settings.lock, settings.task, settings.live) == (10, True, "math", 7)
    assert settings.policy_spec() == profile().policy_spec()
    settings = load_settings(profile=PATH, cap=5, lock=False, policy="esc")
    assert (settings.cap, settings.lock, settings.policy) == (5, False, "esc")


@pytest.mark.parametrize("place", ["file", "environment"])
def test_named_elsewhere(place, monkeypatch):
    """The file and the environment can name the profile too."""
    write(cap=6)
    if place == "file":
        Path("dynasor.toml").write_text('profile = "p.json"\ncap = 3\n')
    else:
        monkeypatch.setenv("DYNASOR_PROFILE", "p.json")
    settings = load_settings()
    assert (settings.cap, settings.profile) == (6, PATH)


def test_flag_names_another(monkeypatch):
    """Of two profiles the flag's one holds."""
    monkeypatch.setenv("DYNASOR_PROFILE", "absent.json")
    assert load_settings(profile=write(cap=8)).cap == 8


def test_bad_profile_among_settings():
    """A profile that cannot be used is the settings' one error."""
    with pytest.raises(ProfileError, match=r"profile p\.json cannot be read"):
        load_settings(profile=PATH)
    with pytest.raises(ConfigError, match=r"setting 'cap' in the profile p\.json is 5000"):
        load_settings(profile=write(cap=5000))


CURVES = [[[0.25, 20], [1.0, 5]], []]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"curves": CURVES, "detect": 5, "signal": "reward"},
        {"at": {"entropy": 0.5, "reward": 0.25}, "every": 1},
        {"in_flight": None, "confidence": 0.975},
    ],
)
def test_nested_params(params):
    """Nested parameters survive being written as text, and as a profile."""
    spec = PolicySpec("skyline", params, has_lock=False)
    assert parse_policy(format_policy(spec), has_lock=False) == spec
    settings = load_settings(profile=write(policy="skyline", params=params, lock=False))
    assert settings.policy_spec() == spec


names = st.text("abcdefgh_", min_size=1, max_size=8)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(names, json_values, max_size=4))
def test_any_params(params):
    """Any JSON values survive, but for texts with commas and brackets."""
    spec = PolicySpec("mine", params)
    assert parse_policy(format_policy(spec)) == spec


# Live.


async def start(engine, **flags):
    async with Dynasor(engine, **flags):
        pass


def warnings(caplog):
    return [one.getMessage() for one in caplog.records if one.name == "dynasor"]


async def test_wrong_model(caplog):
    """A profile of another model starts with a warning that names both."""
    with caplog.at_level(logging.WARNING):
        await start(ScriptedEngine(lambda work: "1"), profile=write())
    (line,) = warnings(caplog)
    assert "model 'toy'" in line
    assert "'scripted'" in line
    assert "p.json" in line


async def test_wrong_task(caplog):
    """A profile that is used for another task says so."""
    with caplog.at_level(logging.WARNING):
        await start(
            ScriptedEngine(lambda work: "1"), profile=write(model="scripted"), task="choice"
        )
    (line,) = warnings(caplog)
    assert "task 'math' and is used for 'choice'" in line


async def test_right_model(caplog):
    """A profile of this model starts in silence."""
    with caplog.at_level(logging.WARNING):
        await start(ScriptedEngine(lambda work: "1"), profile=write(model="scripted"))
    assert warnings(caplog) == []


def test_no_profile():
    """Without a profile the settings are the defaults."""
    assert load_settings() == Settings()
    assert Settings().profile is None
