"""Everything that is chosen by name: what ships, what other packages register, the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from dynasor.core.allocation import Policy, policies
from dynasor.core.catalog import Catalog
from dynasor.core.errors import UnknownName
from dynasor.core.ordering import Ordering, orderings
from dynasor.core.program import Program
from dynasor.installed import installed
from dynasor.programs import programs
from dynasor.programs.pass_through import PassThrough
from dynasor.tasks import tasks
from dynasor.tasks.groupings import groupings

__all__ = ["build_id", "grouped", "make_catalog"]


def build_id() -> str:
    """Return the installed version: journals replay exactly only within one build."""
    try:
        return version("dynasor-serve")
    except PackageNotFoundError:
        return "source"


def make_catalog(
    extra_programs: Mapping[str, type[Program]] | None = None,
    extra_policies: Mapping[str, type[Policy]] | None = None,
    extra_orderings: Mapping[str, type[Ordering]] | None = None,
) -> Catalog:
    """Return everything that ships, what other packages register, and the user's own."""
    return Catalog(
        programs={
            PassThrough.name: PassThrough,
            **programs(),
            **installed("programs"),
            **(extra_programs or {}),
        },
        tasks=tasks(),
        policies={**policies(), **installed("policies"), **(extra_policies or {})},
        orderings={**orderings(), **installed("orderings"), **(extra_orderings or {})},
    )


def grouped(catalog: Catalog, task: str, grouping: str) -> Catalog:
    """Return the catalog whose task of that name sorts answers as the grouping says.

    Raises `UnknownName` for a grouping that nobody registered, and whatever the grouping raises
    for a task that it cannot sort.
    """
    known = {**groupings(), **installed("groupings")}
    if grouping not in known:
        raise UnknownName("grouping", grouping, known)
    return replace(catalog, tasks={**catalog.tasks, task: known[grouping](catalog.tasks[task])})
