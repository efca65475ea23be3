"""API keys: who may come in, with what share of the engines and how many tokens.

A file holds one key a line as JSON (`dynasor keys` writes it), or is TOML with one `[[keys]]` a
key, written by hand:

    {"name": "app", "hash": "<SHA-256 of the secret, in hexadecimal>", "weight": 2.0}

Secrets are random and 256 bits long, so one round of SHA-256 hides them: there is nothing to guess
that a slow hash would have to protect.
"""

from __future__ import annotations

import hmac
import logging
import os
import secrets
import tomllib
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal, TypedDict, Unpack

import msgspec
from msgspec import Meta, Struct

from dynasor.core.errors import ConfigError, UnknownName
from dynasor.locked import LockedFile
from dynasor.runtime.clock import wall_clock

__all__ = ["PERIODS", "Key", "Keys", "Limits", "Period", "list_keys", "new_key", "remove_key"]

Period = Literal["minute", "hour", "day", "week"]
PERIODS: dict[Period, int] = {"minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
"""Seconds of each period; periods begin at multiples of them in Unix time."""
MARK = "dyn-"
"""What a secret begins with, so that scanners for leaked secrets can know it."""
SECRET_BYTES = 32
SUFFIX = ".toml"
REFRESH_SECONDS = 1
"""A key that was removed is refused this soon after."""


class Key(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One API key.

    `name` is what logs, metrics and shares call its owner; `hash` is the SHA-256 of its secret in
    hexadecimal. `weight`, positive, is its share of the engines beside the others'. `concurrency`
    is how many of its requests may wait or run at once, `tokens` how many tokens (of prompts and
    completions) it may spend in a `period`; None: as many as there are. An `operator` may take
    engines out and in again (`/v1/replicas`).
    """

    name: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][\w.@-]*\Z")]
    hash: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    weight: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    concurrency: Annotated[int, Meta(ge=1)] | None = None
    tokens: Annotated[int, Meta(ge=1)] | None = None
    period: Period = "day"
    operator: bool = False


class Limits(TypedDict, total=False):
    """What may be said of a new key, as in `Key`."""

    weight: float
    concurrency: int | None
    tokens: int | None
    period: Period
    operator: bool


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    """What a TOML file of keys holds."""

    keys: tuple[Key, ...]


class Keys:
    """The keys of a file, found by their secrets in a time that tells nothing about them.

    The file is looked at again every second, so that a key that was added or removed needs no
    restart; one that can no longer be read changes nothing and is warned of. `on_change` is called
    whenever the keys are others than before.
    """

    def __init__(self, keys: Sequence[Key], path: Path | None = None) -> None:
        """Raise `ConfigError` where two keys have one name."""
        _refuse_doubles(keys, path)
        self._path = path
        self._seen = None if path is None else _state_of(path)
        self._looked_at = wall_clock()
        self.on_change: Callable[[], None] = lambda: None
        self._take(keys)

    @classmethod
    def load(cls, path: Path) -> Keys:
        """Read a file; raises `ConfigError` for one that is missing, or that holds no keys."""
        return cls(_read(path), path)

    def __repr__(self) -> str:
        return f"<Keys: {', '.join(self._keys) or 'none'}>"

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, secret: str) -> Key | None:
        """Return the key with this secret, None without one.

        Every key is compared, each in constant time, so the answer's delay says nothing about them.
        """
        self._refresh()
        given = _hash(secret)
        found: Key | None = None
        for key in self._keys.values():
            if hmac.compare_digest(key.hash, given):
                found = key
        return found

    def shares(self) -> dict[str, float]:
        """Return each key's weight by its name, for the ordering."""
        return {name: key.weight for name, key in self._keys.items()}

    def _take(self, keys: Sequence[Key]) -> None:
        self._keys = {key.name: key for key in keys}

    def _refresh(self) -> None:
        now = wall_clock()
        if self._path is None or abs(now - self._looked_at) < REFRESH_SECONDS:
            return
        self._looked_at = now
        state = _state_of(self._path)
        if state == self._seen:
            return
        self._seen = state
        try:
            keys = _read(self._path)
            _refuse_doubles(keys, self._path)
        except ConfigError as exc:
            logging.getLogger("dynasor").warning("warning: %s; the keys stay as they were", exc)
            return
        self._take(keys)
        self.on_change()


def new_key(path: Path, name: str, **limits: Unpack[Limits]) -> str:
    """Add a key to a file, which is made if there is none, and return its secret.

    The secret is written nowhere: whoever loses it needs another key. Raises `ConfigError` for a
    name that is taken, a value out of range, or a file that is no JSON lines or cannot be written.
    """
    secret = MARK + secrets.token_urlsafe(SECRET_BYTES)
    key = Key(name, _hash(secret), **limits)
    try:
        msgspec.convert(msgspec.to_builtins(key), Key)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"key {name!r} cannot be made: {exc}") from exc

    def added(keys: list[Key]) -> list[Key]:
        if any(key.name == name for key in keys):
            raise ConfigError(f"keys file {path} has a key {name!r} already; remove it first")
        return [*keys, key]

    _edit(path, added)
    return secret


def list_keys(path: Path) -> list[Key]:
    """Return the keys of a file in their order; raises `ConfigError` as `Keys.load` does."""
    return _read(path)


def remove_key(path: Path, name: str) -> None:
    """Take a key out of a file; raises `UnknownName`, or `ConfigError` as `new_key` does."""
    _read(path)  # not to make a file that is not there

    def removed(keys: list[Key]) -> list[Key]:
        if all(key.name != name for key in keys):
            raise UnknownName(f"key in {path}:", name, [key.name for key in keys])
        return [key for key in keys if key.name != name]

    _edit(path, removed)


def _edit(path: Path, change: Callable[[list[Key]], list[Key]]) -> None:
    """Put what `change` makes of a file's keys in their place, held against other editors."""
    if path.suffix == SUFFIX:
        raise ConfigError(f"keys file {path} is TOML and written by hand; edit it there")
    is_new = not path.exists()
    file = LockedFile(path, "keys file", "change", ConfigError)
    try:
        if is_new:
            path.chmod(0o600)  # hashes help nobody, but names and budgets are the owner's business
        keys = change(_read(path))
        file.rewrite(msgspec.json.encode(key) + b"\n" for key in keys)
    finally:
        file.close()


def _read(path: Path) -> list[Key]:
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"keys file {path} cannot be read: {exc.strerror}") from exc
    return _from_toml(path, data) if path.suffix == SUFFIX else _from_lines(path, data)


def _from_toml(path: Path, data: bytes) -> list[Key]:
    try:
        return list(msgspec.convert(tomllib.loads(data.decode()), _File).keys)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"keys file {path} is not TOML: {exc}") from exc
    except msgspec.ValidationError as exc:
        raise ConfigError(f"keys file {path}: {exc}") from exc


def _from_lines(path: Path, data: bytes) -> list[Key]:
    keys: list[Key] = []
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            keys.append(msgspec.json.decode(line, type=Key))
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            raise ConfigError(f"keys file {path}, line {number}: {exc}") from exc
    return keys


def _refuse_doubles(keys: Sequence[Key], path: Path | None) -> None:
    names = [key.name for key in keys]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"keys file {path} has two keys {name!r}; give each its own name")


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        state = os.stat(path)  # noqa: PTH116 - one system call; this runs in the event loop
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino


def _hash(secret: str) -> str:
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
