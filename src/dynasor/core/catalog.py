"""What is chosen by name: programs, tasks, policies, orderings; and how programs are built."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import msgspec

from dynasor.core.allocation import Policy
from dynasor.core.errors import ConfigError, DynasorError, ProgramFailed, UnknownName
from dynasor.core.ordering import Ordering
from dynasor.core.program import Program
from dynasor.core.task import Task
from dynasor.core.types import ProgramSpec

__all__ = ["Catalog", "describe_program"]


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything that a name can stand for; programs may be added while it is in use."""

    programs: dict[str, type[Program]]
    tasks: Mapping[str, Task]
    policies: Mapping[str, type[Policy]]
    orderings: Mapping[str, type[Ordering]]

    def build_program(self, spec: ProgramSpec) -> Program:
        """Build a fresh program from its description.

        Raises `UnknownName` for a program or task nobody registered, `ConfigError` for a
        parameter that is unknown, missing, of the wrong type or out of range, `ProgramFailed`
        where the program's own code raises.
        """
        if spec.name not in self.programs:
            raise UnknownName("program", spec.name, self.programs)
        kind = self.programs[spec.name]
        known = _parameters(kind)
        for name in spec.params:
            if name not in known:
                raise UnknownName(f"parameter of program {spec.name!r}:", name, known)
        try:
            program: Program = msgspec.convert(spec.params, kind)
        except msgspec.ValidationError as exc:
            raise ConfigError(f"program {spec.name!r}: {exc}") from exc
        except DynasorError:
            raise
        except Exception as exc:  # of the program's own code
            raise ProgramFailed(f"program {spec.name!r}: {type(exc).__name__}: {exc}") from exc
        if program.task not in self.tasks:
            raise UnknownName("task", program.task, self.tasks)
        if program.cap < 1:
            raise ConfigError(f"program {spec.name!r}: cap is {program.cap}; at least 1 is needed")
        return program


def describe_program(program: Program) -> ProgramSpec:
    """Return the description from which `Catalog.build_program` makes an equal program."""
    params = {name: getattr(program, name) for name in _parameters(type(program))}
    return ProgramSpec(program.name, msgspec.to_builtins(params))


@cache
def _parameters(kind: type[Program]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind) if field.init)
