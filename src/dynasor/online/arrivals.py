"""Who arrives when: a workload as programs in order of time, drawn as they are asked for.

Everything is drawn by generators of its own, seeded by name. With one seed, two rates have the
same programs with the same questions and samples, and gaps of the same proportions; a part that is
added or taken away changes nothing about the others' questions.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, count, islice, repeat, takewhile
from math import isfinite
from pathlib import Path
from random import Random

from msgspec import Struct

from dynasor.core.chance import program_seed
from dynasor.core.events import Arrived
from dynasor.core.types import PolicySpec, ProgramSpec
from dynasor.datasets.rows import file_rows
from dynasor.evaluate.coded import coded
from dynasor.evaluate.recorded import Recorded
from dynasor.evaluate.recording import RecordedTask
from dynasor.online.deadlines import Difficulty, deadline_of
from dynasor.online.outcomes import check_questions
from dynasor.online.workload import Arrivals, Part, Poisson, Timetable, Workload, WorkloadError

__all__ = ["Visit", "arrival_times", "arrived", "visits"]


class Visit(Struct, frozen=True):
    """One program that arrives at `time` (seconds).

    `program` is its id, the part's name and a number: "svamp/00017". `seed` shuffles its
    question's samples. `deadline_seconds` counts from the arrival, None where it has no deadline,
    and `factor` is the deadline's, by how hard the question is.
    """

    time: float
    program: str
    part: Part
    question: Recorded
    seed: int
    deadline_seconds: float | None = None
    factor: float = 1.0


def arrived(visit: Visit, policy: PolicySpec) -> Arrived:
    """Return the event of an arrival; `policy` is the run's, the part's own goes before it.

    The program's question is its id, by which everything else about it is found.
    """
    part = visit.part
    said = {"question": visit.program, "task": RecordedTask.name, "cap": part.cap}
    params = {**part.params, **coded(part.program), **said}
    return Arrived(
        visit.program,
        ProgramSpec(part.program, params),
        part.policy_spec() or policy,
        workload=part.name,
        tenant=part.tenant,
        deadline_seconds=visit.deadline_seconds,
    )


def visits(
    workload: Workload,
    questions: Mapping[str, Sequence[Recorded]],
    seed: int | None = None,
    difficulties: dict[str, Difficulty] | None = None,
) -> Iterator[Visit]:
    """Yield a workload's programs by rising time; `questions` are those of each part, by name.

    Questions are drawn without replacement in a seeded shuffle, and in another one when all have
    been drawn. `seed` None takes the workload's. `difficulties` keeps what was found out about
    questions by part, for other runs of the same parts; it is filled here.

    Raises `WorkloadError`, before the first program, for questions that do not suit their part,
    and for a load that nobody has turned into a rate.
    """
    seed = workload.seed if seed is None else seed
    kept = {} if difficulties is None else difficulties
    urns = []
    for part in workload.parts:
        found = questions.get(part.name, ())
        check_questions(part, found)
        judged_at = part.cap if part.deadline is None else part.deadline.judged_at or part.cap
        if part.name not in kept or kept[part.name].cap != judged_at:
            kept[part.name] = Difficulty(judged_at)
        urns.append(_Urn(part, found, seed, kept[part.name]))
    times = arrival_times(workload.arrivals, seed)
    end = workload.duration_seconds
    if end is not None:
        times = takewhile(lambda time: time < end, times)
    return _mixed(urns, islice(times, workload.programs), Random(f"{seed}/mix"))


def arrival_times(arrivals: Arrivals, seed: int) -> Iterator[float]:
    """Yield times in seconds that never fall, without an end.

    Raises `WorkloadError` at once for a load, and for a timetable that cannot be read.
    """
    if arrivals.load is not None:
        raise WorkloadError(
            f"arrivals: the load {arrivals.load:g} is a fraction of a capacity that is not known "
            "here; measure it, and set the rate"
        )
    if isinstance(arrivals, Poisson):
        assert arrivals.rate is not None  # it is that or a load
        return _exponential(arrivals.rate, Random(f"{seed}/gaps"))
    return _recorded(arrivals) if isinstance(arrivals, Timetable) else repeat(0.0)


class _Urn:
    """One part's questions, drawn without replacement; full again when it is empty."""

    def __init__(
        self, part: Part, questions: Sequence[Recorded], seed: int, difficulty: Difficulty
    ) -> None:
        self.part = part
        self._questions = questions
        self._seed = seed
        self._difficulty = difficulty
        self._random = Random(f"{seed}/{part.name}/questions")
        self._left: list[int] = []
        self._numbers = count()

    def draw(self, time: float) -> Visit:
        """Return the part's next program."""
        if not self._left:
            self._left = list(range(len(self._questions)))
            self._random.shuffle(self._left)
        question = self._questions[self._left.pop()]
        program = f"{self.part.name}/{next(self._numbers):05}"
        return Visit(
            time,
            program,
            self.part,
            question,
            program_seed(self._seed, program),
            *deadline_of(self.part, question, self._difficulty),
        )


def _mixed(urns: Sequence[_Urn], times: Iterator[float], random: Random) -> Iterator[Visit]:
    """Yield a program of some part at each time, by the parts' shares."""
    *bounds, total = accumulate(urn.part.share for urn in urns)
    for time in times:
        yield urns[bisect(bounds, random.random() * total)].draw(time)


def _exponential(rate: float, random: Random) -> Iterator[float]:
    gaps = iter(lambda: random.expovariate(1.0), None)
    return (time / rate for time in accumulate(gaps))


def _recorded(timetable: Timetable) -> Iterator[float]:
    times = _read_times(Path(timetable.path))
    first, span = times[0], times[-1] - times[0]
    # The next lap begins one mean gap after the last arrival: the rate is the same in all laps.
    lap = span * len(times) / (len(times) - 1)
    pace = 1 / (timetable.speed or 1.0)
    if timetable.rate is not None:
        pace = len(times) / lap / timetable.rate
    return ((number * lap + time - first) * pace for number in count() for time in times)


def _read_times(path: Path) -> list[float]:
    """Return the file's `t`, in order; at least two that differ."""
    if not path.is_file():
        raise WorkloadError(
            f"arrivals: there is no file {path}; name a JSON-lines file whose lines have a t"
        )
    times: list[float] = []
    for where, row in file_rows(path):
        time = row.get("t")
        if isinstance(time, bool) or not isinstance(time, int | float) or not isfinite(time):
            raise WorkloadError(f"{where}: t is {time!r}; expected a number of seconds")
        if times and time < times[-1]:
            raise WorkloadError(f"{where}: t is {time}, before {times[-1]}; sort the lines by t")
        times.append(time)
    if not times or times[0] == times[-1]:
        raise WorkloadError(f"arrivals: {path} has no two different times; a rate needs them")
    return times
