"""How long a replay takes, and comparing the answers before it.

    scripts/bench replay_speed [--json FILE]

- 999 questions of svamp-codex, cap 30, 20 shuffles, one policy, through the shipping scheduler:
  even allocation (every sample is a call) and `beta`.
- math500-llama3.1-8b's 4,500 answers compared and graded: cold, and from the cache.

Wall time depends on what else the machine does; processor time, of all processes, less so.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from _offline import arguments, find_trace, finish, open_settings
from dynasor.core.types import PolicySpec
from dynasor.evaluate.classes import Sorting, sort_trace
from dynasor.evaluate.replay import Job, replay_all
from dynasor.traces import read_trace

SVAMP, MATH500 = "svamp-codex", "math500-llama3.1-8b"
POLICIES = {
    "even": PolicySpec("even", {"in_flight": 1}, has_lock=False),
    "beta": PolicySpec("beta", {"in_flight": 1}, has_lock=False),
}


def timed(work: Callable[[], object]) -> dict[str, float]:
    """Return the wall and processor seconds of some work, its processes' included."""
    before, begin = processor(), time.perf_counter()
    work()
    return {"wall": time.perf_counter() - begin, "processor": processor() - before}


def processor() -> float:
    """Return the processor seconds of this process and those of its children that have ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def replays(options: Any) -> dict[str, Any]:
    """Time 20 shuffles of one policy each."""
    (setting,) = open_settings((SVAMP,), options)
    questions, seeds = setting.questions, range(options.seeds)
    return {
        f"{len(questions)} questions, cap 30, {len(seeds)} shuffles, {name}": timed(
            lambda spec=spec: replay_all(questions, [Job(spec, 30)], seeds, options.processes)
        )
        for name, spec in POLICIES.items()
    }


def sorting(options: Any) -> dict[str, Any]:
    """Time comparing and grading, cold and from the cache."""
    trace = read_trace(find_trace(MATH500), "sampling")
    answers = sum(len(line.samples) for line in trace.lines)
    with TemporaryDirectory() as folder:
        how = Sorting(cache=Path(folder), processes=options.processes)
        return {
            f"{answers} answers of math500, {state}": timed(lambda: sort_trace(trace, how))
            for state in ("cold", "cached")
        }


def show(found: dict[str, Any]) -> None:
    """Print wall and processor seconds."""
    for name, seconds in found["seconds"].items():
        print(f"{name:<52} {seconds['wall']:6.1f} s wall {seconds['processor']:6.1f} s processor")


def main() -> None:
    """Measure, print, write."""
    options = arguments((__doc__ or "").split("\n", 1)[0]).parse_args()
    seconds = {**replays(options), **sorting(options)}
    finish(options, {"processes": options.processes, "seconds": seconds}, show)


if __name__ == "__main__":
    main()
