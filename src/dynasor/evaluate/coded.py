"""Which program made a trace, and how it is replayed: parameters, and the codes of its texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from dynasor.config import MOST_BRANCHES, parse_policy
from dynasor.core.errors import UserError
from dynasor.core.types import PolicySpec, ProgramSpec
from dynasor.evaluate.recorded import Recorded
from dynasor.evaluate.search_tape import STEP_END
from dynasor.evaluate.thought_tape import CLOSED, PROBE
from dynasor.programs import Beam, Mcts, Rebase, SelfConsistency
from dynasor.programs.chain_of_thought import ChainOfThought
from dynasor.traces import Trace

__all__ = ["Made", "check_recorded", "coded", "made_by"]

# Whatever the rewards came from, a replay reads those that were recorded.
_STEPS: dict[str, Any] = {"step_end": STEP_END, "rewards": "model"}
# A recorded chain ends where it ended: at its own end, or where it was cut.
_THOUGHTS: dict[str, Any] = {
    "max_tokens": 1 << 30,
    "think_start": "",
    "think_end": CLOSED,
    "probe": PROBE,
}
_CODES = {
    Rebase.name: _STEPS,
    Beam.name: _STEPS,
    Mcts.name: _STEPS,
    ChainOfThought.name: _THOUGHTS,
}


class Made(Struct, frozen=True):
    """How a trace was made: by which program, and under which policy.

    `cap` is the largest knob that it can be replayed at and `policy` what granted its units; both
    None for samples, which have no order. `every` is the tokens of a round of thought.
    """

    program: ProgramSpec
    cap: int | None = None
    policy: PolicySpec | None = None
    every: int = 1

    @property
    def step_end(self) -> str:
        """What ended the steps of a search."""
        return str(self.program.params.get("step_end", STEP_END))

    @property
    def in_flight(self) -> int | None:
        """The units that were in flight at once; None for as many as the rule allowed."""
        width = None if self.policy is None else self.policy.params.get("in_flight")
        return width if isinstance(width, int) else None

    @property
    def detect(self) -> int | None:
        """The units of the first of two rounds; None where all were granted at once."""
        first = None if self.policy is None else self.policy.params.get("detect")
        return first if isinstance(first, int) else None


def made_by(trace: Trace) -> Made:
    """Say how a trace was made; raises `UserError` for searches that do not say it."""
    header = trace.header
    name = header.sampling.get("program")
    if header.kind == "sampling":
        return Made(ProgramSpec(name if isinstance(name, str) else SelfConsistency.name))
    params, cap = header.sampling.get("params"), header.sampling.get("samples")
    policy = header.sampling.get("policy")
    if not (isinstance(name, str) and isinstance(params, dict) and isinstance(cap, int)):
        raise UserError(
            f"{trace.path} is a trace of kind {header.kind!r} that does not say which program made "
            "it; record one with `dynasor record --program`"
        )
    return Made(
        program=ProgramSpec(name, params),
        cap=min(MOST_BRANCHES, cap * int(params.get("chains", 1))),
        policy=parse_policy(policy, has_lock=False) if isinstance(policy, str) else None,
        every=int(params.get("every", 1)),
    )


def coded(program: str) -> dict[str, Any]:
    """Return the parameters with which a program reads and writes a recording's codes."""
    return dict(_CODES.get(program, {}))


def check_recorded(program: str, questions: Iterable[Recorded]) -> None:
    """Raise `UserError` where a search or a chain of thought is to run on other recordings."""
    if program not in _CODES:
        return
    wants = "thoughts" if program == ChainOfThought.name else "searches"
    for question in questions:
        if not getattr(question, wants):
            raise UserError(
                f"program {program!r} needs recorded {wants}, and question {question.id!r} has "
                f"none; record some with `dynasor record --program {program}`"
            )
