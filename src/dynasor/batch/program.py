"""From the body of a question to a program that asks it."""

from __future__ import annotations

import dataclasses
from typing import Any

from dynasor.batch.body import ChatBody
from dynasor.config import Settings
from dynasor.core.catalog import Catalog
from dynasor.core.errors import UnknownName
from dynasor.core.program import Program
from dynasor.core.types import ProgramSpec

__all__ = ["make_program"]


def make_program(body: ChatBody, settings: Settings, catalog: Catalog) -> Program:
    """Return the program; what the body leaves open is the settings' choice.

    Raises `UserError` for an algorithm or task that nobody registered, and for sampling that the
    algorithm does not offer.
    """
    extras = body.extras
    if extras.algorithm not in catalog.programs:
        raise UnknownName("algorithm", extras.algorithm, catalog.programs)
    conversation = body.conversation()
    params: dict[str, Any] = {
        "question": body.question(),
        "task": extras.task or settings.task,
        "cap": body.cap(settings.cap),
        **_sampling(body, settings, catalog.programs[extras.algorithm]),
    }
    if [message.role for message in conversation] != ["user"]:
        params["messages"] = conversation
    return catalog.build_program(ProgramSpec(extras.algorithm, params))


def _sampling(body: ChatBody, settings: Settings, kind: type[Program]) -> dict[str, Any]:
    """Return the sampling that was given, and the settings' where the program has such a field."""
    fields = {field.name for field in dataclasses.fields(kind)}
    chosen = {"max_tokens": settings.max_tokens, "temperature": settings.temperature}
    given = {
        "max_tokens": body.branch_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
    }
    return {
        **{name: value for name, value in chosen.items() if name in fields},
        **{name: value for name, value in given.items() if value is not None},
    }
