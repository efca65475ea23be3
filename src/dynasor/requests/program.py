"""From the body of a question to a program that asks it."""

from __future__ import annotations

import dataclasses
from typing import Any

from dynasor.api.choosing import build_program, chosen_params
from dynasor.config import Settings
from dynasor.core.catalog import Catalog
from dynasor.core.errors import UnknownName
from dynasor.core.program import Program
from dynasor.core.types import ProgramSpec
from dynasor.programs.pass_through import PassThrough
from dynasor.requests.body import ChatBody, Refused

__all__ = ["algorithms", "make_program"]


def algorithms(catalog: Catalog) -> list[str]:
    """Return the names that a request may ask for, in order."""
    return sorted(name for name, kind in catalog.programs.items() if kind is not PassThrough)


def make_program(
    body: ChatBody, settings: Settings, catalog: Catalog, place: str = "body"
) -> Program:
    """Return the program; what the body leaves open is the settings' choice.

    The parameters of the settings' program hold for lines that name it or none. Raises `Refused`
    for an algorithm, task or profile that nobody registered, and `UserError` for a parameter that
    the algorithm does not have. `place` is as in `read_body`.
    """
    extras, at = body.extras, f"{place}." if place else ""
    spec = settings.program_spec()
    if extras.algorithm not in (None, spec.name):
        spec = ProgramSpec(extras.algorithm)
    if spec.name not in algorithms(catalog):
        unknown = UnknownName("algorithm", spec.name, algorithms(catalog))
        raise Refused(f"{at}dynasor.algorithm", str(unknown))
    if extras.task is not None and extras.task not in catalog.tasks:
        raise Refused(
            f"{at}dynasor.task", str(UnknownName("task", extras.task, sorted(catalog.tasks)))
        )
    _check_profile(extras.profile, settings, f"{at}dynasor.profile")
    kind = catalog.programs[spec.name]
    if body.stops and "stop" not in {field.name for field in dataclasses.fields(kind)}:
        raise Refused(
            f"{at}stop",
            f"{at}stop is not supported: {spec.name!r} ends its branches itself; leave it out",
        )
    conversation = body.conversation()
    sampling = {
        "max_tokens": body.branch_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "stop": body.stops or None,
        "task": extras.task,
    }
    given: dict[str, Any] = {
        "question": body.question(),
        "cap": body.cap(chosen_params(kind, settings).get("cap", kind.cap)),
        **{name: value for name, value in sampling.items() if value is not None},
        **extras.params,
    }
    if [message.role for message in conversation] != ["user"]:
        given["messages"] = conversation
    return build_program(spec, given, settings, catalog)


def _check_profile(name: str | None, settings: Settings, place: str) -> None:
    """Refuse a profile other than the one that the settings have already."""
    known = [] if settings.profile is None else [settings.profile.stem]
    if name is not None and name not in known:
        raise Refused(place, str(UnknownName("profile", name, known)))
