"""Which program answers a question, and under which policy.

What the settings were told goes first; what nobody chose is the program's own: its defaults, and
the policy that suits it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from dynasor.config import Settings, format_policy
from dynasor.core.allocation import EVEN, Policy, View, make_policy
from dynasor.core.catalog import Catalog
from dynasor.core.errors import ConfigError
from dynasor.core.program import Program
from dynasor.core.types import PolicySpec, ProgramSpec

__all__ = ["build_program", "check_policy", "chosen_params", "suitable_policy"]

SETTINGS = ("task", "cap", "temperature", "max_tokens")
"""Settings that are parameters of programs, where they have them."""


def chosen_params(kind: type[Program], settings: Settings) -> dict[str, Any]:
    """Return the settings that were chosen and that the program has parameters for."""
    fields = {field.name for field in dataclasses.fields(kind)}
    return {
        name: getattr(settings, name)
        for name in SETTINGS
        if name in fields and name in settings.model_fields_set
    }


def build_program(
    spec: ProgramSpec, given: Mapping[str, Any], settings: Settings, catalog: Catalog
) -> Program:
    """Build a program: `given` goes before its own parameters, those before the settings.

    Raises as `Catalog.build_program` does.
    """
    kind = catalog.programs.get(spec.name)
    chosen = {} if kind is None else chosen_params(kind, settings)
    return catalog.build_program(ProgramSpec(spec.name, {**chosen, **spec.params, **given}))


def suitable_policy(program: Program, settings: Settings) -> PolicySpec:
    """Return the policy that was chosen, else what suits the program.

    Where a program does not vote and says nothing of a policy, that is even allocation: the
    default of the settings needs votes.
    """
    usual = program.usual_policy
    if usual is None and program.votes is None:
        usual = EVEN
    return settings.policy_for(usual)


def check_policy(program: Program, spec: PolicySpec, known: Mapping[str, type[Policy]]) -> None:
    """Raise `UserError` for a policy that cannot be made, or not begin with this program."""
    policy = make_policy(spec, known)
    try:
        policy.decide(View(program.cap, 0, 0, 0, {}, program.votes, slots=1))
    except ConfigError as exc:
        suits = format_policy(program.usual_policy or EVEN)
        raise ConfigError(f"program {program.name!r}: {exc}; {suits!r} suits it") from exc
    except Exception:  # noqa: BLE001 - of a user's policy: the run tells it, with its story
        return
