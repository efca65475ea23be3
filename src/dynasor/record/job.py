"""What is to be recorded: the questions, what runs for each of them, and where it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dynasor.config import MOST_BRANCHES
from dynasor.core.errors import ConfigError
from dynasor.core.types import PolicySpec, ProgramSpec
from dynasor.datasets.questions import QuestionLine
from dynasor.programs import SelfConsistency

__all__ = ["RecordJob"]

MOST_SEARCHES = 100
"""More runs of one question are a slip of the pen: each may have thousands of steps."""

SAMPLES = ProgramSpec(SelfConsistency.name)


@dataclass(frozen=True, slots=True)
class RecordJob:
    """`samples` of every question, 1 to 1,000, to be written to the trace `out_path`.

    `workload` is what the trace calls the questions; `top_p` in (0, 1] is part of the sampling.
    `has_logprobs` None asks for log-probabilities where all engines give them; searches and
    chains never do. `program` says what runs, with its parameters. Of one that searches or thinks
    `samples` is the cap (width, iterations, rounds), and every question is given `searches` of
    its runs, 1 to 100. `policy` says in which grants the cap is spent; None is what suits the
    program.
    """

    questions: Sequence[QuestionLine]
    workload: str
    out_path: Path
    samples: int = 20
    top_p: float = 1.0
    has_logprobs: bool | None = None
    program: ProgramSpec = SAMPLES
    searches: int = 1
    policy: PolicySpec | None = None

    def __post_init__(self) -> None:
        """Check the numbers; raises `ConfigError`."""
        if not 1 <= self.samples <= MOST_BRANCHES:
            raise ConfigError(f"samples is {self.samples}; expected 1 to {MOST_BRANCHES:,}")
        if not 1 <= self.searches <= MOST_SEARCHES:
            raise ConfigError(f"searches is {self.searches}; expected 1 to {MOST_SEARCHES}")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p is {self.top_p}; expected a number above 0, up to 1")
