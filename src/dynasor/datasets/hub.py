"""Data sets of the Hugging Face hub, by the package `datasets`, which is optional.

What it has fetched once it keeps, and reads without the hub.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

import msgspec

from dynasor.datasets.rows import DatasetError, Row

__all__ = ["hub_rows"]

SPLITS = ("test", "validation", "train")
"""What splits are called, those first that models were least trained on."""


def hub_rows(name: str) -> Iterator[Row]:
    """Yield the rows of `OWNER/NAME[:config][:split]`.

    One word behind the name is a split if it is one of `SPLITS`, else a configuration. Without a
    split the first of `SPLITS` that the data set has is taken, else its own first one. Columns
    that JSON has no form for (images) are left out. Raises `DatasetError` where the package is
    missing, the hub cannot be reached, or there is no such data set.
    """
    path, config, split = _parts(name)
    library = _library(name)
    with _translated(name):
        if split is None:
            had = library.get_dataset_split_names(path, config)
            split = next((one for one in SPLITS if one in had), had[0])
        for number, row in enumerate(library.load_dataset(path, config, split=split), start=1):
            yield f"hf:{name}, row {number} of {split}", _plain(row)


def _parts(name: str) -> tuple[str, str | None, str | None]:
    path, *rest = name.split(":")
    if not path or len(rest) > 2:
        raise DatasetError(f"data set hf:{name}: expected hf:OWNER/NAME[:config][:split]")
    if len(rest) == 1:
        rest = ["", *rest] if rest[0] in SPLITS else [*rest, ""]
    config, split = rest or ("", "")
    return path, config or None, split or None


def _library(name: str) -> ModuleType:
    try:
        return import_module("datasets")
    except ImportError as exc:
        raise DatasetError(
            f"data set hf:{name} needs the package `datasets`: pip install datasets, or give a "
            "JSONL file"
        ) from exc


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Turn whatever the package raises into one line: its own errors and those of three others."""
    try:
        yield
    except Exception as exc:
        # A ValueError speaks of what was named; everything else has to do with fetching it.
        hint = (
            "name another one"
            if isinstance(exc, ValueError)
            else "check the name and the connection to the hub, or give a JSONL file"
        )
        said = " ".join(str(exc).split()).rstrip(".") or type(exc).__name__
        raise DatasetError(f"data set hf:{name}: {said}; {hint}") from exc


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as JSON values."""
    plain = {}
    for name, value in row.items():
        try:
            plain[name] = msgspec.json.decode(msgspec.json.encode(value))
        except TypeError:  # an image, a sound: no question, and a trace cannot hold it
            continue
    return plain
