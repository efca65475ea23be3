"""How a script of figures begins and ends: its options, and where its figures go."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["arguments", "finish"]


def arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser with the files that figures go to."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--picture", type=Path, help="draw them into this file (SVG, PNG)")
    return parser


def finish(
    options: argparse.Namespace,
    found: dict[str, Any],
    show: Callable[[dict[str, Any]], None],
    draw: Callable[[dict[str, Any], Path], None] | None = None,
) -> None:
    """Print what was found; write it, and draw it, into the files that the options name.

    Numbers are cut to five places: more are noise, and make files that nobody can compare.
    """
    found = _rounded(found)
    show(found)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found) + "\n")
    if draw is not None and options.picture:
        options.picture.parent.mkdir(parents=True, exist_ok=True)
        draw(found, options.picture)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return round(value, 5) if isinstance(value, float) else value
