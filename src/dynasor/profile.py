"""Profiles: a calibrated policy, and what was measured when it was calibrated.

A profile is a small JSON file that every command accepts (`--profile FILE`, or the setting
`profile`). It says which policy to use, for which task, workload and model it was chosen, what it
saved and cost on questions that it was not chosen on, and how its programs behaved then, so that
`dynasor drift` can tell when it no longer fits. docs/calibration.md has the format for people.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from dynasor.core.errors import UserError
from dynasor.core.types import PolicySpec
from dynasor.stored import Kind, read, write

__all__ = ["VERSION", "Behaviour", "Measured", "Profile", "ProfileError", "Range", "read_profile"]

VERSION = 1

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=1)]


class ProfileError(UserError):
    """A profile that cannot be used: the message names the file and says what is wrong."""


class Range(Struct, frozen=True):
    """An estimate with its 95 % interval."""

    estimate: float
    low: float
    high: float


class Measured(Struct, frozen=True):
    """What the policy did on questions that it was not chosen on.

    `saved` is the share of even allocation's tokens at the same cap, `accuracy_change` its
    accuracy minus even's. `fitted_on` and `judged_on` count questions, `shuffles` the seeds.
    `splits_saved` and `splits_accuracy_change` are the same figures over several random halves,
    each with parameters of its own: how much the choice depends on the questions at hand.
    """

    fitted_on: Count
    judged_on: Count
    shuffles: Count
    accuracy: Range
    accuracy_change: Range
    saved: Range
    splits_saved: tuple[float, ...] = ()
    splits_accuracy_change: tuple[float, ...] = ()


class Behaviour(Struct, frozen=True):
    """How programs behaved under the policy, one value a judged question, on one shuffle.

    `certaindex` when it stopped, `knob` as a share of the cap, `tokens_per_knob` of finished
    branches.
    """

    certaindex: tuple[Share, ...]
    knob: tuple[Share, ...]
    tokens_per_knob: tuple[Annotated[float, Meta(ge=0.0)], ...]


class Profile(Struct, frozen=True, kw_only=True):
    """A calibrated policy.

    `loss` is the accuracy that the calibration was allowed to lose, `labels` what said which
    answers are good, `grouping` which of them were the same, `width` the branches in flight it was
    measured with (None: all), `trace` the SHA-256 of the recording, `made` the day in ISO 8601.
    """

    dynasor_profile: int = VERSION
    task: str
    workload: str
    model: str
    program: str = "self-consistency"
    policy: str
    params: dict[str, Any] = field(default_factory=dict)
    lock: bool = True
    cap: Count
    width: Count | None = None
    loss: Share
    labels: str
    grouping: str = "task"
    measured: Measured
    behaviour: Behaviour
    trace: str
    made: str

    def policy_spec(self) -> PolicySpec:
        """Return the policy."""
        return PolicySpec(self.policy, dict(self.params), self.lock)

    def misfits(
        self,
        *,
        model: str | None = None,
        task: str | None = None,
        workload: str | None = None,
        grouping: str | None = None,
        program: str | None = None,
    ) -> list[str]:
        """Return a sentence for each of these that the profile was not made for.

        Each names both: what the profile was made for, and what it is used for. Of a program the
        name alone is compared.
        """
        given = (
            ("model", self.model, model),
            ("task", self.task, task),
            ("workload", self.workload, workload),
            ("grouping", self.grouping, grouping),
            ("program", self.program.partition(":")[0], program),
        )
        return [
            f"the profile was made for the {what} {own!r} and is used for {other!r}"
            for what, own, other in given
            if other is not None and other != own
        ]

    def write(self, path: Path) -> None:
        """Write the profile, replacing what stands there at once; raises `ProfileError`."""
        write(KIND, path, self)


KIND = Kind(
    "profile", "dynasor_profile", VERSION, "dynasor calibrate", "calibrate again", ProfileError
)


def read_profile(path: Path) -> Profile:
    """Read a profile; raises `ProfileError` for a file that is none, or of another version."""
    return read(KIND, path, Profile)
