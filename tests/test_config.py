"""Settings: where they come from, which wins, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.config import (
    Serving,
    Settings,
    format_program,
    load_settings,
    parse_ordering,
    parse_policy,
    parse_program,
)
from dynasor.core.config import OrderingSpec, SchedulerConfig
from dynasor.core.errors import ConfigError, UnknownName
from dynasor.core.types import PolicySpec, ProgramSpec
from dynasor.engines.http import HttpEngine
from dynasor.engines.judge import Judge
from dynasor.engines.llamacpp import SHIPPED_JUDGE, LlamaCppEngine
from dynasor.wiring import make_engines

pytestmark = pytest.mark.usefixtures("no_settings")


def write(text, name="dynasor.toml"):
    """Write a settings file."""
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def refused(kind, match, *args, **flags):
    """Loading must raise one line."""
    with pytest.raises(kind, match=match) as caught:
        load_settings(*args, **flags)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


# Where settings come from.


def test_defaults():
    """Without anything given the settings are the defaults."""
    assert load_settings() == Settings()
    assert Settings().engine == ["embedded"]
    assert (Settings().policy, Settings().ordering, Settings().lock) == ("beta", "gang", True)


def test_precedence(monkeypatch):
    """A flag wins over the environment, that over the file, that over the default."""
    write("cap = 1\nlive = 2\nworkers = 3\n")
    monkeypatch.setenv("DYNASOR_CAP", "10")
    monkeypatch.setenv("DYNASOR_LIVE", "20")
    settings = load_settings(cap=100)
    assert (settings.cap, settings.live, settings.workers) == (100, 20, 3)
    assert settings.max_tokens == Settings().max_tokens


def test_flags_that_are_none():
    """A flag that is None was not given; one that is false was."""
    write("cap = 7\nlock = true\n")
    settings = load_settings(cap=None, lock=False)
    assert (settings.cap, settings.lock) == (7, False)


def test_named_file():
    """A file that is named is read instead of dynasor.toml."""
    write("cap = 1\n")
    other = write("cap = 2\n", "other.toml")
    assert load_settings(other).cap == 2
    assert load_settings().cap == 1


def test_environment(monkeypatch):
    """Numbers, switches and lists are read from the environment, whatever its letters' case."""
    for name, value in {
        "DYNASOR_SLOTS": "8",
        "DYNASOR_LOCK": "false",
        "DYNASOR_TEMPERATURE": "0.5",
        "DYNASOR_ENGINE": "http://a:1, http://b:2",
        "DYNASOR_policy": 'threshold:at={"entropy":0.5},detect=3',
        "OTHER_CAP": "3",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert (settings.slots, settings.lock, settings.temperature) == (8, False, 0.5)
    assert settings.engine == ["http://a:1", "http://b:2"]
    assert settings.policy_spec().params == {"at": {"entropy": 0.5}, "detect": 3}
    assert settings.cap == 20


@pytest.mark.parametrize("engine", ["http://a:1", ["http://a:1"]])
def test_one_engine(engine):
    """One engine may be given as text or as a list."""
    assert load_settings(engine=engine).engine == ["http://a:1"]


def test_file_of_any_script():
    """A settings file is UTF-8."""
    write('model = "модель-模型"\n')
    assert load_settings().model == "модель-模型"


def test_key_is_not_shown():
    """The API key does not stand in what is printed of the settings."""
    assert "s3cret" not in repr(Settings(api_key="s3cret"))


# Unknown names.


def test_unknown_key_in_the_file():
    """An unknown key in a file is refused with the file, the known ones and the nearest."""
    write("kap = 3\n")
    refused(
        UnknownName, r"unknown setting in dynasor.toml: 'kap' \(known: .*\); did you mean 'cap'"
    )


def test_table_in_the_file():
    """A table in a file is an unknown key like any other."""
    write("[scheduler]\ncap = 3\n")
    refused(UnknownName, r"unknown setting in dynasor.toml: 'scheduler' \(known: aging_factor, .*")


def test_unknown_key_in_the_environment(monkeypatch):
    """An unknown key in the environment is refused with the known ones and the nearest."""
    monkeypatch.setenv("DYNASOR_POLICIES", "even")
    refused(
        UnknownName,
        r"in the environment \(DYNASOR_...\): 'policies' \(known: .*\); did you mean 'policy'",
    )


def test_unknown_flag():
    """An unknown flag is refused with the known ones and the nearest."""
    refused(UnknownName, r"unknown setting 'sed' \(known: .*\); did you mean 'seed'", sed=3)


# Bad values.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cap", 0),
        ("cap", "many"),
        ("cap", 1.5),
        ("slots", 0),
        ("threads", -1),
        ("engine_seconds", 0),
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("max_tokens", 0),
        ("aging_factor", -1),
        ("patience_seconds", 0),
        ("live", 0),
        ("workers", 0),
        ("lock", "perhaps"),
        ("seed", "x"),
        ("seed", 2**63),
        ("policy", 3),
        ("engine", 3),
        ("temperature", float("nan")),
    ],
)
def test_bad_value(name, value):
    """A value that cannot be used is refused with its name and itself."""
    refused(ConfigError, rf"setting '{name}' is ", **{name: value})


def test_bad_value_in_the_file():
    """A bad value from a file says so."""
    write("cap = 0\n")
    refused(ConfigError, r"setting 'cap' in dynasor.toml is 0: .*greater than or equal to 1")


def test_bad_value_in_the_environment(monkeypatch):
    """A bad value from the environment says so, with the variable."""
    monkeypatch.setenv("DYNASOR_CAP", "")
    refused(ConfigError, r"setting 'cap' in the environment \(DYNASOR_CAP\) is ''")


def test_bad_value_that_is_overruled(monkeypatch):
    """A bad value that a flag overrules does no harm."""
    monkeypatch.setenv("DYNASOR_CAP", "x")
    assert load_settings(cap=3).cap == 3


def test_missing_file():
    """A named file that is not there is refused with the reason."""
    refused(ConfigError, "settings file no.toml cannot be read: No such file", Path("no.toml"))


def test_folder_as_file(tmp_path):
    """A folder is no settings file."""
    refused(ConfigError, "cannot be read: Is a directory", tmp_path)


@pytest.mark.parametrize("content", [b"cap = \n", b"cap 3\n", b"\xff\xfe\n", b"cap = 1\ncap = 2\n"])
def test_no_toml(content):
    """A file that is no TOML is refused with its name."""
    Path("dynasor.toml").write_bytes(content)
    refused(ConfigError, "settings file dynasor.toml is not TOML")


def test_frozen():
    """Settings do not change under way."""
    with pytest.raises(Exception, match="frozen"):
        Settings().cap = 3


# The table [serve].


def test_serve_precedence(monkeypatch):
    """Settings of the table come from the same places, and win one by one."""
    write("[serve]\nport = 1\nqueue = 2\nhost = 'a'\n")
    monkeypatch.setenv("DYNASOR_SERVE_PORT", "10")
    monkeypatch.setenv("DYNASOR_SERVE_QUEUE", "20")
    serve = load_settings(serve={"port": 100, "host": None}).serve
    assert (serve.port, serve.queue, serve.host) == (100, 20, "a")
    assert serve.drain_seconds == Serving().drain_seconds


def test_serve_as_a_whole():
    """A `Serving` as a flag says what was chosen in it, no more."""
    write("[serve]\nport = 1\nqueue = 2\n")
    serve = load_settings(serve=Serving(port=3)).serve
    assert (serve.port, serve.queue) == (3, 2)


def test_serve_is_shown_short():
    """What is printed of the table is what was chosen."""
    assert repr(Serving()) == "Serving()"
    assert repr(Serving(port=3, host="::")) == "Serving(host='::', port=3)"


def test_unknown_key_of_the_table(monkeypatch):
    """An unknown key of the table is refused with the table, the place and the nearest."""
    match = r"of \[serve\]{}: 'ports' \(known: algorithm, .*\); did you mean 'port'"
    with pytest.raises(UnknownName, match=r"setting of \[serve\] 'ports' .* mean 'port'"):
        load_settings(serve={"ports": 3})
    monkeypatch.setenv("DYNASOR_SERVE_PORTS", "3")
    refused(UnknownName, match.format(r" in the environment \(DYNASOR_...\)"))
    monkeypatch.delenv("DYNASOR_SERVE_PORTS")
    write("[serve]\nports = 3\n")
    refused(UnknownName, match.format(" in dynasor.toml"))


def test_bad_value_of_the_table(monkeypatch):
    """A bad value of the table is refused with the table and the place."""
    write("[serve]\nport = 70000\n")
    refused(ConfigError, r"setting 'serve.port' in dynasor.toml is 70000: .*65535")
    monkeypatch.setenv("DYNASOR_SERVE_PORT", "x")
    refused(
        ConfigError,
        r"setting 'serve.port' in the environment \(DYNASOR_SERVE_PORT\) is 'x'",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_body_bytes", 0),
        ("body_seconds", 0),
        ("request_seconds", float("inf")),
        ("queue", 0),
        ("drain_seconds", -1),
        ("log", "xml"),
        ("metrics", "all"),
        ("kept_programs", -1),
        ("algorithm", "mcts:cap=3"),
        ("shadow", "beta:confidence"),
    ],
)
def test_bad_value_of_serve(name, value):
    """A value of the table that cannot be used is refused with its name and itself."""
    refused(ConfigError, rf"setting 'serve.{name}' is ", serve={name: value})


def test_no_table():
    """What is no table where one belongs is refused, whatever is set elsewhere."""
    write('[[serve]]\nkeys = "k.jsonl"\n')
    refused(ConfigError, "setting 'serve' in dynasor.toml is .*expected a table", serve={"port": 1})
    write("serve = 3\n")
    refused(ConfigError, "setting .serve. in dynasor.toml is 3; expected a table")


def test_table_in_the_environment(monkeypatch):
    """The environment has no tables: the message says how to write one setting of it."""
    monkeypatch.setenv("DYNASOR_SERVE", "yes")
    refused(ConfigError, "DYNASOR_SERVE is set, and 'serve' is a table: set DYNASOR_SERVE_PORT")


def test_braces_in_the_name_of_the_file():
    """The name of a settings file is shown as it is, whatever stands in it."""
    refused(ConfigError, r"setting 'cap' in \{0\}.toml is 0", write("cap = 0\n", "{0}.toml"))


def test_every_setting_of_serve_is_documented():
    """docs/configuration.md has a row for every setting of the table, with its default."""
    text = (Path(__file__).parents[1] / "docs" / "configuration.md").read_text()
    for name, field in Serving.model_fields.items():
        assert f"| `{name}` | `{field.default!r}` | {field.description} |" in text


# Policies and orderings.


@pytest.mark.parametrize(
    ("text", "name", "params"),
    [
        ("even", "even", {}),
        (" even ", "even", {}),
        ("even:", "even", {}),
        ("beta:confidence=0.9", "beta", {"confidence": 0.9}),
        ("beta:confidence=0.9,in_flight=4", "beta", {"confidence": 0.9, "in_flight": 4}),
        ("beta: confidence = 1 , in_flight = null", "beta", {"confidence": 1, "in_flight": None}),
        ("beta:order=finish", "beta", {"order": "finish"}),
        ('beta:order="finish"', "beta", {"order": "finish"}),
        ("x:on=true,off=false", "x", {"on": True, "off": False}),
        (
            'threshold:at={"entropy":0.5,"reward":0.7},detect=3',
            "threshold",
            {"at": {"entropy": 0.5, "reward": 0.7}, "detect": 3},
        ),
        ("x:list=[1,2,[3,4]],y=1", "x", {"list": [1, 2, [3, 4]], "y": 1}),
        ("x:url=http://a:1/b?c=d", "x", {"url": "http://a:1/b?c=d"}),
        ("x:a=1,,b=2,", "x", {"a": 1, "b": 2}),
        (r'x:a="\\boxed{, \"",b=1', "x", {"a": '\\boxed{, "', "b": 1}),
        ('x:a=5",b=1', "x", {"a": '5"', "b": 1}),
        ("x:a=", "x", {"a": ""}),
        ("x:a={not json}", "x", {"a": "{not json}"}),
        ("x:a=" + "9" * 5000, "x", {"a": "9" * 5000}),
        ("x:a=" + "[" * 100_000, "x", {"a": "[" * 100_000}),
    ],
    ids=lambda value: str(value)[:30],
)
def test_parse_policy(text, name, params):
    """A policy is NAME or NAME:key=value,...; values are JSON where they can be, else text."""
    assert parse_policy(text) == PolicySpec(name, params)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("beta:confidence", "expected NAME:key=value,key=value, got 'confidence'"),
        ("beta:=3", "got '=3'"),
        ("beta:a=1, =3", "got ' =3'"),
        ("beta:a=1,a=2", "'a' is given twice"),
    ],
)
def test_parse_bad_policy(text, message):
    """What is no policy is refused with the text and the part that is wrong."""
    with pytest.raises(ConfigError, match=message) as caught:
        parse_policy(text)
    assert repr(text) in str(caught.value)


def test_lock():
    """The lock is the policy's unless it is switched off."""
    assert Settings().policy_spec() == PolicySpec("beta", {}, has_lock=True)
    assert Settings(lock=False).policy_spec() == PolicySpec("beta", {}, has_lock=False)


def test_policy_for_a_program():
    """A program's usual policy holds where none was chosen; a chosen lock goes before its own."""
    usual = PolicySpec("even", {"in_flight": 2}, has_lock=False)
    assert Settings().policy_for(usual) == usual
    assert Settings().policy_for(None) == PolicySpec("beta")
    assert Settings(policy="beta").policy_for(usual) == PolicySpec("beta")
    assert Settings(lock=True).policy_for(usual) == PolicySpec("even", {"in_flight": 2})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["width", "probe", "at"]), VALUES))
def test_program_round_trip(params):
    """A program that is written is read again as it was, whatever its parameters hold."""
    spec = ProgramSpec("mcts", params)
    assert parse_program(format_program(spec)) == spec


@pytest.mark.parametrize("name", ["question", "messages", "task", "cap"])
def test_program_with_what_is_said_elsewhere(name):
    """What is asked, and how far, is no parameter of a program."""
    with pytest.raises(ConfigError, match=f"'{name}' .*; leave it out"):
        parse_program(f"mcts:width=3,{name}=1")


def test_program_from_everywhere(monkeypatch):
    """The program is a setting like any other: file, environment, flag."""
    assert load_settings().program_spec() == ProgramSpec("self-consistency")
    write("program = 'mcts:width=3'\n")
    assert load_settings().program_spec() == ProgramSpec("mcts", {"width": 3})
    monkeypatch.setenv("DYNASOR_PROGRAM", "rebase")
    assert load_settings().program_spec() == ProgramSpec("rebase")
    assert load_settings(program="beam").program_spec() == ProgramSpec("beam")


def test_parse_ordering():
    """An ordering is written like a policy, and takes the aging factor along."""
    assert parse_ordering("sjf", 3.0) == OrderingSpec("sjf", {}, 3.0)
    assert parse_ordering("x:a=1", 0.0) == OrderingSpec("x", {"a": 1}, 0.0)
    with pytest.raises(ConfigError, match="ordering 'x:a'"):
        parse_ordering("x:a", 0.0)


def test_scheduler_config():
    """The scheduler gets the seed and the ordering."""
    settings = Settings(seed=4, ordering="sjf", aging_factor=2, patience_seconds=30)
    expected = SchedulerConfig(seed=4, ordering=OrderingSpec("sjf", {}, 2.0, 30.0))
    assert settings.scheduler_config() == expected


def test_who_orders():
    """Where the engine orders, it is sent many more calls than it has slots, with hints."""
    config = Settings(engine_order="engine").scheduler_config()
    assert (config.has_hints, config.window_slack) == (True, 15.0)
    assert Settings(hints=True).scheduler_config() == SchedulerConfig(has_hints=True)


def judge_of(**flags: object) -> Judge:
    (engine,) = make_engines(load_settings(**flags))
    assert isinstance(engine, HttpEngine | LlamaCppEngine)
    assert engine.judge is not None
    return engine.judge


def test_judge_is_what_the_engine_needs():
    """The embedded model judges without settings; another model is told only what they say."""
    assert judge_of() == SHIPPED_JUDGE
    assert judge_of(engine="other.gguf") == judge_of(engine="http://there:1") == Judge()
    assert judge_of(engine="http://there:1", judge_mark="?") == Judge(mark="?")
    assert judge_of(judge_instruction="Judge.") == Judge("Judge.", SHIPPED_JUDGE.mark)
