"""What became of the programs of one online run, as arrays; what is made of them is in `measures`.

Times are seconds of virtual time from the run's beginning, unless they say otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from dynasor.core.errors import UnknownName

__all__ = ["Course", "Flags", "Indices", "Numbers", "Simulated", "Totals", "Words"]

Numbers = np.ndarray[tuple[int], np.dtype[np.float64]]
Indices = np.ndarray[tuple[int], np.dtype[np.int64]]
Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]
Words = np.ndarray[tuple[int], np.dtype[np.str_]]


class Totals(Struct, frozen=True, kw_only=True):
    """What is counted over the whole run, all replicas together.

    `end`: seconds simulated. `steps` and `busy_seconds`: steps of engines, and the seconds that
    they took. `prefill_tokens`: prompt tokens computed, those of recomputation too;
    `cached_tokens`: prompt tokens found in the cache instead. `kv_mean`, while engines made steps,
    and `kv_max`: share of the KV blocks in use, in [0, 1]; `waiting_mean`: calls that waited, a
    mean over time. `decisions`: events that the scheduler handled; `scheduler_seconds`: wall time
    that this took. `crossings`: programs that aging raised above the others; `broken_promises`:
    calls that started before one of a program raised earlier. `refused`: prompts that no memory
    could hold. `is_cut`: the horizon ended the run while programs were live.
    """

    end: float
    last_arrival: float
    steps: int
    busy_seconds: float
    replicas: int
    generated_tokens: int
    prefill_tokens: int
    cached_tokens: int
    preemptions: int
    kv_mean: float
    kv_max: float
    waiting_mean: float
    decisions: int
    scheduler_seconds: float
    crossings: int = 0
    broken_promises: int = 0
    refused: int = 0
    is_cut: bool = False


class Course(Struct, frozen=True):
    """Samples of the run's state by rising time, one number a sample in every array.

    `live`: programs that have arrived and not ended; `waiting`: calls that wait, at the gateway
    or in an engine; `kv`: share of the KV blocks in use; `generated`: tokens generated so far.
    """

    seconds: Numbers
    live: Numbers
    waiting: Numbers
    kv: Numbers
    generated: Numbers

    @classmethod
    def of(cls, rows: Sequence[tuple[float, float, float, float, float]]) -> Course:
        """Return the course of samples `(seconds, live, waiting, kv, generated)`."""
        return cls(*np.array(rows, dtype=float).reshape(-1, 5).T)


class Simulated(Struct, frozen=True, kw_only=True):
    """What became of every program, in order of arrival: arrays of one number each, and totals.

    `part` is the program's place in `parts`, the kinds of program in the mix. `first_start` and
    `finished` are nan where that had not happened when the run ended. `status` is that of
    `dynasor.core.commands.Answered`: `answered` (it ended by itself), `deadline` (time ran out,
    also where that was before the first answer), `failed` or `withdrawn`; empty where it was live
    when the run ended. `deadline`: seconds from arrival, inf for none; `factor`: that of its
    difficulty.

    `tokens`: completion tokens, aborted ones included; `full_tokens`: what it would use at its
    full cap; `knob`: units used; `quality`: what its answer is worth, in [0, 1].
    `solo_seconds`: how long it would take alone on an idle engine, at its full cap;
    `longest_wait`: the longest time without a running call while calls waited.
    """

    parts: tuple[str, ...]
    part: Indices
    arrived: Numbers
    first_start: Numbers
    finished: Numbers
    status: Words
    deadline: Numbers
    factor: Numbers
    tokens: Numbers
    full_tokens: Numbers
    prompt_tokens: Numbers
    knob: Numbers
    quality: Numbers
    solo_seconds: Numbers
    longest_wait: Numbers
    totals: Totals
    course: Course

    def __len__(self) -> int:
        return len(self.arrived)

    @property
    def latency(self) -> Numbers:
        """Seconds from arrival to the answer; nan where the run ended before."""
        return self.finished - self.arrived

    @property
    def is_complete(self) -> Flags:
        """Whether a program ended by itself, and not by its deadline, an error or the run's end."""
        return np.equal(self.status, "answered")

    @property
    def has_ended(self) -> Flags:
        """Whether a program ended, in whatever way, before the run did."""
        return ~np.isnan(self.finished)

    @property
    def has_failed(self) -> Flags:
        """Whether a program ended without a chance of an answer: by an error, or taken back."""
        return np.isin(self.status, ("failed", "withdrawn"))

    @property
    def is_met(self) -> Flags:
        """Whether a program ended by itself within its deadline; without one: by itself."""
        return self.is_complete & (self.latency <= self.deadline)

    def where(self, chosen: Flags) -> Simulated:
        """Return the programs for which `chosen` is true; totals and course stay the run's."""
        arrays = {
            name: getattr(self, name)[chosen]
            for name in self.__struct_fields__
            if name not in ("parts", "totals", "course")
        }
        return replace(self, **arrays)

    def after(self, warm_up: float) -> Simulated:
        """Return the programs but the first ones, a share `warm_up` in [0, 1) of all."""
        return self.where(np.arange(len(self)) >= round(warm_up * len(self)))

    def of_part(self, name: str) -> Simulated:
        """Return the programs of one part; raises `UnknownName` if there is none of that name."""
        if name not in self.parts:
            raise UnknownName("part", name, self.parts)
        return self.where(self.part == self.parts.index(name))
