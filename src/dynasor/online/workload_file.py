"""Workload files: TOML with the fields of `Workload`; paths count from the file's folder."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from dynasor.core.catalog import Catalog
from dynasor.core.errors import UnknownName, UserError
from dynasor.online.workload import (
    Deadline,
    Part,
    Poisson,
    Timetable,
    Together,
    Workload,
    WorkloadError,
    check_names,
)
from dynasor.wiring import make_catalog

__all__ = ["read_workload"]

KINDS: dict[str, type[Struct]] = {
    "poisson": Poisson,
    "recorded": Timetable,
    "together": Together,
}


def read_workload(path: Path, catalog: Catalog | None = None) -> Workload:
    """Read a workload; its programs and policies must be in the catalog, that of all installed.

    Raises `WorkloadError` in one line that names the file and the key.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise WorkloadError(f"workload {path} cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise WorkloadError(f"workload {path} is not TOML: {exc}") from exc
    try:
        _refuse_unknown_keys(values)
        workload = msgspec.convert(values, Workload)
        check_names(workload, catalog or make_catalog())
        return _from_folder(workload, path.parent)
    except msgspec.ValidationError as exc:
        raise WorkloadError(f"workload {path}: {_told(exc)}") from exc
    except UserError as exc:
        raise WorkloadError(f"workload {path}: {exc}") from exc


def _refuse_unknown_keys(values: dict[str, Any]) -> None:
    """Raise `UnknownName` for the first key that nobody knows; types are checked later."""
    _refuse(values, Workload.__struct_fields__, "key")
    arrivals = values.get("arrivals")
    if isinstance(arrivals, dict) and isinstance(arrivals.get("kind"), str):
        kind = arrivals["kind"]
        _refuse([kind], KINDS, "kind of arrivals")
        _refuse(arrivals, ("kind", *KINDS[kind].__struct_fields__), f"key of {kind} arrivals")
    parts = values.get("parts")
    for place, part in enumerate(parts if isinstance(parts, list) else ()):
        if isinstance(part, dict):
            where = f"parts[{place}]"
            _refuse(part, Part.__struct_fields__, f"key of {where}")
            deadline = part.get("deadline")
            if isinstance(deadline, dict):
                _refuse(deadline, Deadline.__struct_fields__, f"key of {where}.deadline")


def _refuse(names: Collection[str], known: Collection[str], kind: str) -> None:
    for name in names:
        if name not in known:
            raise UnknownName(kind, name, known)


def _from_folder(workload: Workload, folder: Path) -> Workload:
    """Return the workload with its paths as they are to be opened."""
    parts = []
    for part in workload.parts:
        if not part.trace:
            raise WorkloadError(f"part {part.name!r} has no trace; name the file of its recording")
        parts.append(replace(part, trace=str(folder / part.trace)))
    arrivals = workload.arrivals
    if isinstance(arrivals, Timetable):
        arrivals = replace(arrivals, path=str(folder / arrivals.path))
    return replace(workload, parts=tuple(parts), arrivals=arrivals)


def _told(exc: msgspec.ValidationError) -> str:
    """Say where a value stands before what is wrong with it, in the words of TOML."""
    text = str(exc).replace("`", "").replace(" | null", "")
    wrong, _, place = (
        text.replace("Object", "table").replace("object", "table").partition(" - at $")
    )
    key = place.removeprefix(".") or "the file"
    return f"{key}: {wrong[:1].lower()}{wrong[1:]}"
