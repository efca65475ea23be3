"""From the body of a question to a program that asks it."""

from __future__ import annotations

from typing import Any

from dynasor.api.choosing import build_program, chosen_params
from dynasor.batch.body import ChatBody
from dynasor.config import Settings
from dynasor.core.catalog import Catalog
from dynasor.core.errors import UnknownName
from dynasor.core.program import Program
from dynasor.core.types import ProgramSpec

__all__ = ["make_program"]


def make_program(body: ChatBody, settings: Settings, catalog: Catalog) -> Program:
    """Return the program; what the body leaves open is the settings' choice.

    The parameters of the settings' program hold for lines that name it or none. Raises
    `UserError` for an algorithm or task that nobody registered, and for a parameter that the
    algorithm does not have.
    """
    extras = body.extras
    spec = settings.program_spec()
    if extras.algorithm not in (None, spec.name):
        spec = ProgramSpec(extras.algorithm)
    if spec.name not in catalog.programs:
        raise UnknownName("algorithm", spec.name, catalog.programs)
    kind = catalog.programs[spec.name]
    conversation = body.conversation()
    sampling = {
        "max_tokens": body.branch_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
    }
    given: dict[str, Any] = {
        "question": body.question(),
        "cap": body.cap(chosen_params(kind, settings).get("cap", kind.cap)),
        **{name: value for name, value in sampling.items() if value is not None},
        **extras.params,
    }
    if extras.task is not None:
        given["task"] = extras.task
    if [message.role for message in conversation] != ["user"]:
        given["messages"] = conversation
    return build_program(spec, given, settings, catalog)
