"""API keys: made, found, listed, removed, and files that hold none."""

from __future__ import annotations

import hmac
import logging
import stat
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.serving import serving

from dynasor.core.errors import ConfigError, UnknownName
from dynasor.gateway import keys as module
from dynasor.gateway.keys import Key, Keys, list_keys, new_key, remove_key


@pytest.fixture
def path(tmp_path):
    """Where keys are kept."""
    return tmp_path / "keys.jsonl"


@pytest.fixture
def seconds(monkeypatch):
    """The wall clock, in a list of one."""
    now = [1_000]
    monkeypatch.setattr(module, "wall_clock", lambda: now[0])
    return now


def hashed(secret):
    return sha256(secret.encode()).hexdigest()


def test_a_new_key_is_found_by_its_secret(path):
    """A secret is given once, and finds its key with everything that was said of it."""
    secret = new_key(path, "app", weight=2.0, concurrency=3, tokens=4, period="hour")
    assert Keys.load(path).find(secret) == Key("app", hashed(secret), 2.0, 3, 4, "hour")
    assert Keys.load(path).find(secret + "x") is None
    assert Keys.load(path).find("") is None


def test_no_secret_is_written(path):
    """The file holds the hash of a secret, never the secret, and is its owner's alone."""
    secret = new_key(path, "app")
    assert secret not in path.read_text()
    assert hashed(secret) in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_secrets_differ(path):
    """No two keys have one secret, and each is long enough never to be guessed."""
    made = [new_key(path, f"k{number}") for number in range(5)]
    assert len(set(made)) == 5
    assert min(map(len, made)) > 40


def test_list_and_remove(path):
    """Keys stand in the order they were made; one that is removed is refused, the others stay."""
    first, second = new_key(path, "a"), new_key(path, "b")
    assert [key.name for key in list_keys(path)] == ["a", "b"]
    remove_key(path, "a")
    keys = Keys.load(path)
    assert (keys.find(first), keys.find(second).name) == (None, "b")


def test_shares(path):
    """Each key's weight is its share, 1 where nothing was said."""
    new_key(path, "a")
    new_key(path, "b", weight=2.5)
    assert Keys.load(path).shares() == {"a": 1.0, "b": 2.5}


def test_toml(tmp_path):
    """Keys may be written by hand in TOML, and are not changed by commands there."""
    path = tmp_path / "keys.toml"
    path.write_text(f'[[keys]]\nname = "a"\nhash = "{hashed("s")}"\ntokens = 5\n')
    assert Keys.load(path).find("s") == Key("a", hashed("s"), tokens=5)
    with pytest.raises(ConfigError, match="is TOML and written by hand"):
        new_key(path, "b")
    with pytest.raises(ConfigError, match="is TOML and written by hand"):
        remove_key(path, "a")


def test_a_name_is_taken(path):
    """Two keys never have one name."""
    new_key(path, "a")
    with pytest.raises(ConfigError, match="has a key 'a' already; remove it first"):
        new_key(path, "a")
    path.write_text(path.read_text() * 2)
    with pytest.raises(ConfigError, match="has two keys 'a'"):
        Keys.load(path)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("", {}),
        ("a b", {}),
        ("-a", {}),
        ("a" * 65, {}),
        ("a\n", {}),
        ("a", {"weight": 0.0}),
        ("a", {"weight": float("nan")}),
        ("a", {"concurrency": 0}),
        ("a", {"tokens": 0}),
        ("a", {"period": "year"}),
    ],
)
def test_a_key_that_cannot_be_made(path, name, options):
    """A name or a limit that cannot be used is refused, and no file is left."""
    with pytest.raises(ConfigError, match=r"key '.*' cannot be made"):
        new_key(path, name, **options)
    assert not path.exists()


def test_remove_what_is_not_there(path):
    """An unknown key is refused with the known ones; a missing file is not made."""
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        remove_key(path, "a")
    assert not path.exists()
    new_key(path, "app")
    with pytest.raises(UnknownName, match=r"unknown key in .*: 'ap' \(known: app\); did you mean"):
        remove_key(path, "ap")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("keys.jsonl", '{"name": "a"}\n', r"keys.jsonl, line 1: .*missing required field `hash`"),
        ("keys.jsonl", "\n\nsecret\n", "line 3: JSON is malformed"),
        ("keys.jsonl", '{"name": "a", "hash": "x"}\n', "line 1: .*hash"),
        ("keys.toml", "keys = 3\n", r"keys.toml: .*keys"),
        ("keys.toml", "[key]\n", r"keys.toml: .*key"),
        ("keys.toml", "keys\n", "is not TOML"),
    ],
)
def test_no_file_of_keys(tmp_path, name, text, message):
    """A file that holds something else is refused with its name and the place."""
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        Keys.load(path)
    assert "\n" not in str(caught.value)


def test_changes_are_seen_while_serving(path, seconds):
    """A key that is added or removed is so for a running server, a second later at most."""
    first = new_key(path, "a")
    keys = Keys.load(path)
    second = new_key(path, "b")
    assert keys.find(second) is None
    seconds[0] += 1
    assert keys.find(second).name == "b"
    remove_key(path, "a")
    seconds[0] += 1
    assert keys.find(first) is None


async def test_weights_that_change_while_serving(path, seconds):
    """A new weight is the scheduler's share with the first request that comes after it."""
    secret = new_key(path, "a")
    async with serving(serve={"keys": path}) as served:
        scheduler = served.service.dynasor.machine.driver.scheduler
        assert scheduler.config.shares == {"a": 1.0}
        remove_key(path, "a")
        again = new_key(path, "a", weight=3.0)
        seconds[0] += 1
        for given, status in ((secret, 401), (again, 200)):
            answer = await served.ask("GET", "/v1/models", Authorization=f"Bearer {given}")
            assert answer.status == status
        assert scheduler.config.shares == {"a": 3.0}
        assert scheduler.config.has_shares


@pytest.mark.parametrize("text", ["not keys\n", None])
def test_a_file_that_breaks_while_serving(path, seconds, caplog, text):
    """A file that can no longer be read shuts nobody out, and is warned of once."""
    secret = new_key(path, "a")
    keys = Keys.load(path)
    path.unlink() if text is None else path.write_text(text)
    with caplog.at_level(logging.WARNING, logger="dynasor"):
        for _ in range(3):
            seconds[0] += 1
            assert keys.find(secret).name == "a"
    assert len(caplog.records) == 1
    assert "the keys stay as they were" in caplog.text


@given(st.lists(st.text(), min_size=1, max_size=5, unique=True), st.data())
def test_every_key_is_compared(secrets, data):
    """Whatever is asked for, each key is compared once, in constant time; the right one wins."""
    compared, compare_digest = [], hmac.compare_digest

    def compare(left, right):
        compared.append(left)
        return compare_digest(left, right)

    keys = Keys([Key(f"k{n}", _hash(one)) for n, one in enumerate(secrets)])
    asked = data.draw(st.sampled_from(secrets) | st.text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.hmac, "compare_digest", compare)
        found = keys.find(asked)
    expected = f"k{secrets.index(asked)}" if asked in secrets else None
    assert (found and found.name) == expected
    assert compared == [_hash(one) for one in secrets]


def _hash(secret):
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
