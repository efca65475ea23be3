"""Where settings come from: a TOML file, the environment, a profile, flags."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dynasor.config.serving import Serving
from dynasor.config.settings import Settings
from dynasor.config.written import format_policy
from dynasor.core.errors import ConfigError, UnknownName
from dynasor.profile import read_profile

__all__ = ["load_settings"]

PREFIX = "DYNASOR_"
NOT_SETTINGS = frozenset({"DYNASOR_TRACES"})
"""Where benchmarks and tests look for recordings: it stands in the same shells."""
DEFAULT_FILE = "dynasor.toml"
TABLES: dict[str, Iterable[str]] = {"serve": Serving.model_fields}
"""Settings that are tables, with what may stand in them."""


class _Merged:
    """Values from weak to strong places, each with where it came from."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._places: dict[str, str] = {}

    def add(self, values: Mapping[str, Any], place: str) -> None:
        """Let `values` win; a table wins key by key. `{}` in a place takes the setting's name."""
        for name, value in values.items():
            old = self.values.get(name)
            if name in TABLES and isinstance(value, dict) and isinstance(old, dict):
                self.values[name] = {**old, **value}
            else:
                self.values[name] = value
            inner = value if name in TABLES and isinstance(value, dict) else ()
            for key in (name, *(f"{name}.{one}" for one in inner)):
                self._places[key] = place.format(key.replace(".", "_").upper())

    def place(self, name: str) -> str:
        """Return where a setting, or one of a table, came from."""
        outer = name.partition(".")[0]
        return self._places.get(name, self._places.get(outer, ""))


def load_settings(path: Path | None = None, **flags: Any) -> Settings:
    """Return the settings; flags that are None were not given.

    From weak to strong: defaults, the file, the environment, the profile, flags. The flag `serve`
    is a dict of settings of that table, or a `Serving`. `path` None reads `dynasor.toml` of the
    working folder if there is one. Raises `ConfigError` or `UnknownName` in one line that says
    where the setting stands.
    """
    if path is None and Path(DEFAULT_FILE).is_file():
        path = Path(DEFAULT_FILE)
    merged = _Merged()
    if path is not None:
        merged.add(_from_file(path), f" in {path}".replace("{", "{{").replace("}", "}}"))
    merged.add(_from_environment(), f" in the environment ({PREFIX}{{}})")
    given = _from_flags(flags)
    profile = given.get("profile") or merged.values.get("profile")
    if profile:
        place = f" in the profile {profile}".replace("{", "{{").replace("}", "}}")
        merged.add(_from_profile(Path(profile)), place)
    merged.add(given, "")
    for name in ("engine", "reward_engine"):
        if isinstance(merged.values.get(name), str):
            merged.values[name] = [part.strip() for part in merged.values[name].split(",")]
    return _validated(merged)


def _validated(merged: _Merged) -> Settings:
    try:
        return Settings.model_validate(merged.values)
    except ValidationError as exc:
        first = exc.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        shown = "unusable" if name.endswith("api_key") else repr(first["input"])
        place = merged.place(name)
        raise ConfigError(f"setting {name!r}{place} is {shown}: {first['msg']}") from exc


def _from_file(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"settings file {path} cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"settings file {path} is not TOML: {exc}") from exc
    _refuse_unknown(values, "setting", f" in {path}:")
    return values


def _from_profile(path: Path) -> dict[str, Any]:
    profile = read_profile(path)
    return {
        "program": profile.program,
        "policy": format_policy(profile.policy_spec()),
        "lock": profile.lock,
        "cap": profile.cap,
        "task": profile.task,
    }


def _from_environment() -> dict[str, Any]:
    """Return what the environment sets: `DYNASOR_SERVE_PORT` is `port` of the table `serve`."""
    values: dict[str, Any] = {}
    for variable, value in os.environ.items():
        if not variable.startswith(PREFIX) or variable in NOT_SETTINGS:
            continue
        name = variable.removeprefix(PREFIX).lower()
        table, _, key = name.partition("_")
        if table in TABLES and key:
            values.setdefault(table, {})[key] = value
        elif name in TABLES:
            raise ConfigError(
                f"{variable} is set, and {name!r} is a table: set {variable}_PORT and so on"
            )
        else:
            values[name] = value
    _refuse_unknown(values, "setting", f" in the environment ({PREFIX}...):")
    return values


def _from_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags that were given, those of tables too."""
    given = {name: value for name, value in flags.items() if value is not None}
    for name in given.keys() & TABLES.keys():
        if isinstance(given[name], Serving):
            given[name] = given[name].model_dump(exclude_unset=True)
        if isinstance(given[name], dict):
            given[name] = {key: value for key, value in given[name].items() if value is not None}
    _refuse_unknown(given, "setting", "")
    return given


def _refuse_unknown(values: Mapping[str, Any], kind: str, place: str) -> None:
    for name, value in values.items():
        if name not in Settings.model_fields:
            raise UnknownName(f"{kind}{place}", name, Settings.model_fields)
        if name in TABLES and not isinstance(value, dict):
            # Or what comes later would take its place unseen: with its keys an open server.
            where = place.removesuffix(":")
            raise ConfigError(
                f"{kind} {name!r}{where} is {value!r}; expected a table: [{name}] and its keys"
            )
        for key in value if name in TABLES else ():
            if key not in TABLES[name]:
                raise UnknownName(f"{kind} of [{name}]{place}", key, TABLES[name])
