"""Workloads: which programs arrive, how fast, and what they are promised; in Python or as TOML.

docs/workloads.md has the file's format for people. This file knows nothing of engines: a rate
that is a fraction of a capacity stays one until somebody has measured it and says `with_rate`.
"""

from __future__ import annotations

from math import inf, isfinite
from typing import Any, ClassVar

from msgspec import Struct
from msgspec.structs import replace

from dynasor.config import MOST_BRANCHES, parse_policy
from dynasor.core.allocation import make_policy
from dynasor.core.catalog import Catalog
from dynasor.core.errors import UnknownName, UserError
from dynasor.core.types import PolicySpec

__all__ = [
    "Arrivals",
    "Deadline",
    "Part",
    "Poisson",
    "Timetable",
    "Together",
    "Workload",
    "WorkloadError",
    "check_names",
    "with_rate",
    "with_scale",
]


class WorkloadError(UserError):
    """A workload that is impossible: the message names the key and says what it should be."""


class Deadline(Struct, frozen=True, forbid_unknown_fields=True):
    """How long programs may take: `scale * factor * base_seconds` from their arrival.

    `factors` are those of questions that a vote at the full cap always gets right, now and then,
    and never (paper, section 6.1; the paper's values are not in its text, these are ours).
    `judged_at` is another cap for that vote, from 1 to the samples of every question, so that
    programs with different caps can have the same deadlines. All are positive; the part that they
    belong to checks that.
    """

    base_seconds: float
    scale: float = 1.0
    factors: tuple[float, float, float] = (1.0, 1.5, 2.0)
    judged_at: int | None = None

    @property
    def is_graded(self) -> bool:
        """Whether it matters how hard a question is."""
        return len(set(self.factors)) > 1

    def seconds(self, factor: float) -> float:
        """Return the time that a question of this factor has."""
        return self.scale * factor * self.base_seconds


class Part(Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of program in the mix.

    `trace` is the path of its recording, empty where the questions are handed over as they are;
    `share` its weight among the parts. `program` with its `params` is what runs, at a knob of at
    most `cap`. `policy` (as `NAME:key=value,...`) and `lock` go before
    those of the run. A prompt has `shared_tokens` of instructions, the same for all programs of
    the part, and `prompt_tokens` of its own: None estimates them from the question's characters.
    """

    name: str
    trace: str = ""
    share: float = 1.0
    cap: int = 20
    program: str = "self-consistency"
    params: dict[str, Any] = {}
    tenant: str = ""
    policy: str | None = None
    lock: bool = True
    prompt_tokens: int | None = None
    shared_tokens: int = 0
    deadline: Deadline | None = None

    def __post_init__(self) -> None:
        """Raise `WorkloadError` for a value out of range."""
        if not self.name or "/" in self.name:
            raise WorkloadError(f"the name of a part is {self.name!r}; give some text without '/'")
        place = f"part {self.name!r}: "
        _check_positive(f"{place}share", self.share)
        _check_count(f"{place}cap", self.cap, most=MOST_BRANCHES)
        _check_count(f"{place}shared_tokens", self.shared_tokens, least=0)
        if self.prompt_tokens is not None:
            _check_count(f"{place}prompt_tokens", self.prompt_tokens)
        if self.policy is None and not self.lock:
            raise WorkloadError(f"{place}lock is false without a policy; name the policy too")
        if self.deadline is not None:
            _check_deadline(place, self.deadline)
        try:
            self.policy_spec()
        except UserError as exc:
            raise WorkloadError(f"{place}{exc}") from exc

    def policy_spec(self) -> PolicySpec | None:
        """Return the part's own policy; None where the run's holds."""
        if self.policy is None:
            return None
        name = self.policy.partition(":")[0].strip()
        if name.endswith("+lock"):  # as the command line writes it
            raise WorkloadError(
                f"policy is {self.policy!r}; leave out '+lock' and say lock = true, the default"
            )
        return parse_policy(self.policy, has_lock=self.lock)


class Poisson(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="poisson"):
    """Programs arrive independently of each other: gaps are exponential.

    One of `rate` (programs a second) and `load` (a fraction of even's measured capacity).
    """

    rate: float | None = None
    load: float | None = None

    def __post_init__(self) -> None:
        """Raise `WorkloadError` unless one of the two is given and positive."""
        if _given(rate=self.rate, load=self.load) is None:
            raise WorkloadError("arrivals: neither rate nor load is given; give one of them")


class Timetable(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="recorded"):
    """Programs arrive as somebody's did: `t` (seconds) in each line of a JSON-lines file.

    The first one arrives at once. At most one of `speed` (2: twice as fast as it was), `rate`
    (programs a second, on average over the whole file) and `load` (as for `Poisson`). The file
    begins again after its end when there are more programs.
    """

    path: str
    speed: float | None = None
    rate: float | None = None
    load: float | None = None

    def __post_init__(self) -> None:
        """Raise `WorkloadError` for two of the three, or one that is not positive."""
        _given(speed=self.speed, rate=self.rate, load=self.load)


class Together(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="together"):
    """All programs are there at the beginning."""

    rate: ClassVar[None] = None
    load: ClassVar[None] = None


Arrivals = Poisson | Timetable | Together


class Workload(Struct, frozen=True, forbid_unknown_fields=True):
    """What arrives: parts mixed by their shares.

    It ends after `programs` programs or before `duration_seconds`, whichever comes first; one of
    them must be given. `seed` draws the mix, the questions, the gaps and the samples.
    """

    parts: tuple[Part, ...]
    arrivals: Arrivals
    programs: int | None = None
    duration_seconds: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise `WorkloadError` for a workload without parts or without an end."""
        names = [part.name for part in self.parts]
        if not names:
            raise WorkloadError("parts is empty; a workload has at least one part")
        for name in names:
            if names.count(name) > 1:
                raise WorkloadError(f"two parts are called {name!r}; give each its own name")
        _check_count("seed", self.seed, least=-(2**63), most=2**63 - 1)
        if self.programs is not None:
            _check_count("programs", self.programs)
        if self.duration_seconds is not None:
            _check_positive("duration_seconds", self.duration_seconds)
        if self.programs is None and self.duration_seconds is None:
            raise WorkloadError("neither programs nor duration_seconds is given; it has no end")
        if self.programs is None and isinstance(self.arrivals, Together):
            raise WorkloadError("programs that arrive together never end; say how many (programs)")


def with_rate(workload: Workload, rate: float) -> Workload:
    """Return the workload at so many programs a second, instead of its rate, load or speed.

    Raises `WorkloadError` where all programs arrive together.
    """
    match workload.arrivals:
        case Poisson():
            return replace(workload, arrivals=Poisson(rate=rate))
        case Timetable(path=path):
            return replace(workload, arrivals=Timetable(path, rate=rate))
        case Together():
            raise WorkloadError(
                f"the rate {rate:g} cannot be set: all programs arrive together; choose arrivals "
                "of another kind"
            )


def with_scale(workload: Workload, scale: float) -> Workload:
    """Return the workload with this scale in every deadline; raises `WorkloadError` without any."""
    if all(part.deadline is None for part in workload.parts):
        raise WorkloadError(f"the scale {scale:g} cannot be set: no part has a deadline")
    parts = tuple(
        part
        if part.deadline is None
        else replace(part, deadline=replace(part.deadline, scale=scale))
        for part in workload.parts
    )
    return replace(workload, parts=parts)


def check_names(workload: Workload, catalog: Catalog) -> None:
    """Raise `WorkloadError` for a program or a policy that nobody registered."""
    for part in workload.parts:
        try:
            if part.program not in catalog.programs:
                raise UnknownName("program", part.program, catalog.programs)
            spec = part.policy_spec()
            if spec is not None:
                make_policy(spec, catalog.policies)
        except UserError as exc:
            raise WorkloadError(f"part {part.name!r}: {exc}") from exc


def _check_deadline(place: str, deadline: Deadline) -> None:
    _check_positive(f"{place}deadline.base_seconds", deadline.base_seconds)
    _check_positive(f"{place}deadline.scale", deadline.scale)
    for factor in deadline.factors:
        _check_positive(f"{place}one of deadline.factors", factor)
    if deadline.judged_at is not None:
        _check_count(f"{place}deadline.judged_at", deadline.judged_at)


def _check_positive(name: str, value: float) -> None:
    if not (isfinite(value) and value > 0):
        raise WorkloadError(f"{name} is {value}; give a number above 0")


def _check_count(name: str, value: int, least: int = 1, most: float = inf) -> None:
    if not least <= value <= most:
        wanted = f"from {least}" if most == inf else f"from {least} to {most}"
        raise WorkloadError(f"{name} is {value}; give a whole number {wanted}")


def _given(**values: float | None) -> str | None:
    """Return which one of these was given; raise `WorkloadError` where more are."""
    named = {name: value for name, value in values.items() if value is not None}
    if len(named) > 1:
        raise WorkloadError(f"arrivals: {' and '.join(named)} are given; give one of them")
    for name, value in named.items():
        _check_positive(f"arrivals: {name}", value)
    return next(iter(named), None)
