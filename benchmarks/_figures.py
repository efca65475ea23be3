"""Figures for the documents: the package's look, and files that stay the same when drawn again."""

from __future__ import annotations

from dynasor.online.plots import figure, save

__all__ = ["figure", "save"]
