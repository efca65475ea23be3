"""How fast the simulator is: an hour at even's capacity, and how its memory grows.

    scripts/bench simulated_hour --json docs/online/simulated_hour.json

28,800 programs of 20 calls under even allocation (none is spared by a policy), arriving at the rate
that the cluster just carries (load 1). For math500 that is 11 replicas, on which it takes a little
more than an hour; one replica carries svamp's short calls at that rate, in somewhat less. The table
has the time simulated. Smaller runs stand beside it: 500 programs, and a quarter of the whole, in
which memory would be a quarter too if it were held for every program.

Every run has a process of its own, and one core. Memory is the process's most, and how much more
that is than before the run: questions and code are there before. An event is whatever the scheduler
handles. Wall time depends on what else the machine does; with several seeds the slowest run counts.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise, product
from math import nan
from pathlib import Path
from typing import Any

from msgspec import structs

from _figures import figure, save
from _online import Online, arguments, finish, make_system, open_online
from dynasor.online.capacity import at_load
from dynasor.online.measures import live_between
from dynasor.online.run import simulate

REPLICAS = {"svamp-codex": 1, "math500-llama3.1-8b": 11}
SYSTEMS = ("fcfs", "gang", "sjf")
WHOLE = 28_800
SIZES = (500, WHOLE // 4, WHOLE)
ASKED_SECONDS = 180
"""What the whole may take."""


@dataclass(frozen=True, slots=True)
class Task:
    """One run: a system, so many programs."""

    system: str
    programs: int
    seed: int


def timed(online: Online, task: Task) -> dict[str, Any]:
    """Make a run, and return how long it took, what it held, and what was in it."""
    experiment = at_load(online.experiment, 1.0, online.capacity)
    workload = structs.replace(experiment.workload, programs=task.programs, duration_seconds=None)
    experiment = structs.replace(experiment, workload=workload)
    before, begin, worked = most_mib(), time.perf_counter(), time.process_time()
    found = simulate(experiment, make_system(task.system), task.seed)
    wall, worked = time.perf_counter() - begin, time.process_time() - worked
    totals = found.totals
    if totals.broken_promises:
        raise SystemExit(f"the promise of aging was broken {totals.broken_promises} times")
    return {
        "wall_seconds": wall,
        "processor_seconds": worked,
        "simulated_seconds": totals.end,
        "programs": len(found),
        "calls": int(found.knob.sum()),
        "events": totals.decisions,
        "event_us": 1e6 * wall / totals.decisions,
        "scheduler_share": totals.scheduler_seconds / wall,
        "steps": totals.steps,
        "tokens": totals.generated_tokens,
        "memory_mib": most_mib(),
        "grown_mib": most_mib() - before,
        "live_mean": live_between(found, 0.0, totals.end),
        "live_most": float(found.course.live.max()),
    }


def most_mib() -> float:
    """Return the most memory that this process has held.

    From Linux's `VmHWM`, where there is one: `ru_maxrss` begins with what the parent held.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def alone(online: Online, task: Task) -> dict[str, Any]:
    """Return `timed`, out of a process that has done nothing else."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(timed, online, task).result()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run every size with every system, one after the other."""
    most = options.programs or WHOLE
    sizes = sorted({min(size, most) for size in SIZES})
    settings = []
    for name in [name for name in REPLICAS if name in (options.setting or REPLICAS)]:
        (online,) = open_online(options, names=(name,), replicas=REPLICAS[name]).values()
        rows = [
            {"system": system, **slowest(online, system, size, options.seeds)}
            for system, size in product(SYSTEMS, sizes)
        ]
        settings.append(
            {
                "setting": name,
                "title": online.title,
                "replicas": REPLICAS[name],
                "capacity": online.capacity,
                "rows": rows,
            }
        )
    return {"seeds": options.seeds, "settings": settings}


def slowest(online: Online, system: str, programs: int, seeds: int) -> dict[str, Any]:
    """Return the run that took longest, of one a seed."""
    runs = [alone(online, Task(system, programs, seed)) for seed in range(seeds)]
    return max(runs, key=lambda one: one["wall_seconds"])


def show(found: dict[str, Any]) -> None:
    """Print one table a setting, and whether the whole was fast enough."""
    for one in found["settings"]:
        print(
            f"\n{one['title']} on {one['replicas']} replicas: {one['capacity']:.2f} programs/s, "
            f"slowest of {found['seeds']} seeds"
        )
        print("\n".join(table(one["rows"])))
        print(f"{bytes_a_program(one['rows']):,.0f} bytes more for every further program, at most")
    whole = [row for one in found["settings"] for row in one["rows"] if row["programs"] == WHOLE]
    if whole:
        slow = max(row["wall_seconds"] for row in whole)
        print(f"\n{WHOLE:,} programs: {slow:.0f} s at most, of {ASKED_SECONDS} s that it may take")


def bytes_a_program(rows: list[dict[str, Any]]) -> float:
    """Return by how much the largest run outgrew the next one, for each program more.

    The greatest of all systems; nan where there is one size alone.
    """
    found = []
    for system in SYSTEMS:
        sizes = sorted(
            (row["programs"], row["grown_mib"]) for row in rows if row["system"] == system
        )
        for (fewer, less), (programs, more) in list(pairwise(sizes))[-1:]:
            found.append(2**20 * (more - less) / (programs - fewer))
    return max(found, default=nan)


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of one setting."""
    yield (
        f"{'':<6} {'programs':>8} {'calls':>9} {'simulated s':>11} {'wall s':>7} {'cpu s':>7} "
        f"{'events':>9} {'µs each':>7} {'sched %':>7} {'MiB':>6} {'grown':>6} "
        f"{'live':>6} {'most':>6}"
    )
    for row in rows:
        yield (
            f"{row['system']:<6} {row['programs']:>8,} {row['calls']:>9,} "
            f"{row['simulated_seconds']:>11,.0f} {row['wall_seconds']:>7.1f} "
            f"{row['processor_seconds']:>7.1f} "
            f"{row['events']:>9,} {row['event_us']:>7.1f} {100 * row['scheduler_share']:>7.0f} "
            f"{row['memory_mib']:>6.0f} {row['grown_mib']:>6.1f} "
            f"{row['live_mean']:>6.0f} {row['live_most']:>6.0f}"
        )


def draw(found: dict[str, Any], target: Path) -> None:
    """Draw wall time and memory over the number of programs."""
    drawn, (wall, memory) = figure(columns=2, size=(8.6, 3.4))
    for one, line in zip(found["settings"], ("-", "--"), strict=False):
        for place, system in enumerate(SYSTEMS):
            rows = [row for row in one["rows"] if row["system"] == system]
            across = [row["programs"] for row in rows]
            look = {"color": f"C{place}", "linestyle": line, "marker": "."}
            seconds = [row["wall_seconds"] for row in rows]
            wall.plot(across, seconds, label=f"{one['title']}, {system}", **look)
            memory.plot(across, [row["memory_mib"] for row in rows], **look)
    wall.set(xlabel="programs", ylabel="wall time, s", ylim=(0, None))
    memory.set(xlabel="programs", ylabel="most memory, MiB", ylim=(0, None))
    drawn.legend(loc="outside lower center", ncols=2, frameon=False)
    save(drawn, target)


def main() -> None:
    """Measure, print, write and draw."""
    options = arguments((__doc__ or "").split("\n", 1)[0], seeds=1).parse_args()
    finish(options, measure(options), show, draw)


if __name__ == "__main__":
    main()
