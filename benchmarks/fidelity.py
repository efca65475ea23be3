"""How well the simulator foretells a real vLLM: fitted at one load, judged at others.

    scripts/bench fidelity --json docs/vllm/fidelity.json --picture docs/vllm/fidelity.svg

vLLM serves the embedded model on the CPU with 64 slots. What `dynasor fit-engine` does gives the
seconds of a step: calls that are sent together, with nothing else to do. Then programs arrive at
random, as in `vllm_orderings`: 4 to 16 calls each, four side by side, of lengths that are forced.
Dynasor sends them, least remaining work first. Each load of `--load` (arrivals over what the
fitted engine carries) is run `--runs` times: how far two live runs of the same programs are from
each other is what no simulation can do better than. The engine is measured before every run and
after the last, and all of that is fitted, so that a machine that is slower at times is so for both.
`others` says what part of the machine other processes took meanwhile: the fewer the better.

The simulator gets the arrivals, each when it really came, the length of every prompt and
completion, and the fitted engine; the scheduler and its settings are those of the live run. What
is compared is each program's latency, from its arrival to its answer: the error is the
distance of the simulated from the measured one, as a share of the measured one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _figures import figure, save
from _script import arguments, finish
from _vllm_server import make_model, serve
from dynasor import Dynasor
from dynasor.calibrate.cache_size import CacheSize, cache_size
from dynasor.calibrate.loads import Bench, Plan, TimedLoad
from dynasor.calibrate.step_time import FittedStep, fit_step_time
from dynasor.config import load_settings
from dynasor.core.catalog import Catalog
from dynasor.core.commands import Answered, Command, Submit
from dynasor.core.config import SchedulerConfig
from dynasor.core.events import Arrived, Event, Finished
from dynasor.core.scheduler import Scheduler
from dynasor.core.types import Call, Generate, Generated, Usage
from dynasor.runtime import MonotonicClock
from dynasor.sim import BatchEngine, EngineModel, VirtualHost
from dynasor.sim.engine import Outcome, Segment
from vllm_orderings import SLOTS, ForcedEngine, Job, jobs

BUDGET = 2048
"""Tokens of one step: vLLM's own default on a CPU, said so that the model has the same."""
FIT_PROMPT, FIT_COMPLETION = 96, 128
"""The longest of the loads that are fitted; the programs' calls have 18 and 480."""
PERCENTILES = (50, 90)

Latencies = dict[str, float]
Numbers = NDArray[np.float64]


@dataclass
class Witness:
    """What came of programs, by what a scheduler was told: seconds of its host's clock.

    `prompts` has the tokens of a program's prompt, which is the same for all of its calls.
    """

    arrivals: list[tuple[float, Arrived]] = field(default_factory=list)
    ends: dict[str, float] = field(default_factory=dict)
    prompts: dict[str, int] = field(default_factory=dict)
    _programs: dict[str, str] = field(default_factory=dict)

    def record(self, now: float, event: Event, commands: list[Command]) -> None:
        """Note one event with what followed."""
        if isinstance(event, Arrived):
            self.arrivals.append((now, event))
        elif isinstance(event, Finished) and isinstance(event.output, Generated):
            self.prompts[self._programs[event.call]] = event.output.usage.prompt_tokens
        for command in commands:
            if isinstance(command, Submit):
                self._programs[command.call.id] = command.call.program
            elif isinstance(command, Answered):
                self.ends[command.program] = now

    @property
    def latencies(self) -> Latencies:
        """Seconds from arrival to answer, by program, in order of arrival."""
        return {one.program: self.ends[one.program] - at for at, one in self.arrivals}


@dataclass(frozen=True, slots=True)
class Measured:
    """A live run: what was seen of it, and the scheduler's settings and names."""

    witness: Witness
    config: SchedulerConfig
    catalog: Catalog


class Machine:
    """What others take of this machine's processors, as Linux counts it (proc(5): stat)."""

    def __init__(self) -> None:
        self.ticks: dict[str, list[int]] = {}

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Count over a part of the benchmark."""
        before = self._read()
        yield
        parts = self.ticks.setdefault(what, [0, 0])
        for place, (now, then) in enumerate(zip(self._read(), before, strict=True)):
            parts[place] += now - then

    def others(self) -> dict[str, float]:
        """Return the share of all processors' time that others used, part by part."""
        return {what: max(0.0, used / whole) for what, (used, whole) in self.ticks.items()}

    def _read(self) -> tuple[int, int]:
        """Return the ticks that others have used, and all there were, since the machine began."""
        times = [int(one) for one in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        idle = times[3] + times[4]
        return sum(times) - idle - own_ticks(os.getpid()), sum(times)


def own_ticks(pid: int) -> int:
    """Return the ticks of a process, of its children, and of the sessions that they lead."""
    rows = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = stat.read_text().rpartition(")")[2].split()
            ticks = sum(int(one) for one in fields[11:15])  # its own, and its dead children's
            rows.append((int(stat.parent.name), int(fields[1]), int(fields[3]), ticks))
    family = {pid} | {one for one, parent, _, _ in rows if parent == pid}
    return sum(ticks for one, _, session, ticks in rows if one in family or session in family)


async def time_loads(url: str, seed: int) -> tuple[list[TimedLoad], CacheSize]:
    """Send an idle server every load once, as `dynasor fit-engine` does."""
    engine = ForcedEngine(url, slots=SLOTS)
    try:
        description = await engine.start()
        plan = Plan(SLOTS, FIT_PROMPT, FIT_COMPLETION, 1, seed)
        timed = await Bench(engine, MonotonicClock(), seed).run(plan)
        held = await cache_size(engine, description)
    finally:
        await engine.close()
    if held is None:
        raise SystemExit("vLLM does not say what its KV cache holds")
    return timed, held


def modelled(fitted: FittedStep, held: CacheSize) -> EngineModel:
    """Return the engine that was fitted."""
    return EngineModel(
        step=fitted.step,
        kv_blocks=held.tokens // held.block_tokens,
        block_tokens=held.block_tokens,
        max_running=SLOTS,
        token_budget=BUDGET,
        call_seconds=fitted.fit.call_seconds,
    )


async def measure(url: str, ordering: str, work: list[Job]) -> Measured:
    """Run programs on the server."""
    settings = load_settings(ordering=ordering, policy="even", lock=False)
    engine = ForcedEngine(url, slots=SLOTS, seconds_limit=900)
    witness = Witness()
    async with Dynasor(engine, settings=settings) as dynasor:
        driver = dynasor.machine.driver
        driver.record_in(witness)
        begun = driver.clock.now()

        async def one(job: Job) -> None:
            await asyncio.sleep(begun + job.at - driver.clock.now())
            result = await dynasor.run(job.program(), workload=job.workload)
            tokens = result.spending.completion_tokens
            if tokens != sum(job.lengths):
                raise SystemExit(f"{tokens} tokens came of {sum(job.lengths)} that were forced")

        await asyncio.gather(*map(one, work))
        return Measured(witness, driver.scheduler.config, dynasor.machine.catalog)


def simulate(measured: Measured, model: EngineModel) -> Witness:
    """Run the same programs, each arriving when it did, on a modelled engine."""
    prompts = measured.witness.prompts

    def outcome(call: Call, attempt: int) -> Outcome:
        assert isinstance(call.work, Generate)  # forced programs generate only
        tokens, prompt = call.work.sampling.max_tokens, prompts[call.program]
        path = (Segment(call.program, prompt),)
        return Outcome(Generated("", Usage(prompt, tokens)), tokens, path=path)

    witness = Witness()

    def watch(event: Event, commands: list[Command], now: float) -> None:
        witness.record(now, event, commands)

    scheduler = Scheduler(measured.config, measured.catalog)
    host = VirtualHost(scheduler, outcome, _never_compare, watch=watch)
    host.add_pool("generate", {"modelled": BatchEngine(model)})
    begun = measured.witness.arrivals[0][0]
    host.feed(iter([(at - begun, event) for at, event in measured.witness.arrivals]))
    host.run()
    return witness


def _never_compare(*question: object) -> tuple[int, ...]:
    raise AssertionError(f"texts of modelled calls are empty: {question}")


def carried(model: EngineModel, prompt: int, mean_length: float) -> float:
    """Return the tokens a second of a modelled engine whose slots are all taken.

    Of calls with that prompt: each brings its prompt once, and reads its context at every step.
    """
    step, running = model.step, model.max_running
    decoding = step.of(0, running, round(running * (prompt + mean_length / 2)))
    beginning = step.per_prefill_token * prompt + model.call_seconds
    return 1.0 / (decoding / running + beginning / mean_length)


def distance(real: Latencies, other: Latencies) -> Numbers:
    """Return |other - real| / real, program by program."""
    return np.array([abs(other[program] - one) / one for program, one in real.items()])


def spread(values: Numbers) -> dict[str, float]:
    """Return the mean and the percentiles."""
    found = np.percentile(values, PERCENTILES)
    named = {f"p{rank}": float(one) for rank, one in zip(PERCENTILES, found, strict=True)}
    return {"mean": float(np.mean(values)), **named}


def compare(measured: list[Latencies], simulated: list[Latencies]) -> dict[str, Any]:
    """Return how far simulated latencies are from measured ones, over all runs of one load.

    `error`: |simulated - measured| / measured; `ratio`: the median of simulated over measured;
    `floor`: how far each further live run is from the one before, null where there is one only.
    """
    pairs = list(zip(measured, simulated, strict=True))
    real = np.array([one for run in measured for one in run.values()])
    told = np.array([other[program] for run, other in pairs for program in run])
    errors = np.concatenate([distance(*pair) for pair in pairs])
    again = [distance(*both) for both in pairwise(measured)]
    return {
        "programs": len(real),
        "error": spread(errors),
        "floor": spread(np.concatenate(again)) if again else None,
        "ratio": float(np.median(told / real)),
        "measured": spread(real),
        "simulated": spread(told),
        "latencies": [[float(one), float(other)] for one, other in zip(real, told, strict=True)],
    }


def fitted_as_json(fitted: FittedStep) -> dict[str, Any]:
    """Return the coefficients in microseconds, and how well they explain the loads."""
    return {
        "microseconds": {term.name: 1e6 * term.seconds for term in fitted.terms},
        "errors": {term.name: 1e6 * term.error for term in fitted.terms},
        "mean_error": fitted.fit.mean_error,
        "r_squared": fitted.fit.r_squared,
        "loads": fitted.fit.loads,
    }


def whole(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the engine and programs in turn; fit; simulate what was measured."""
    limits = ("--max-num-seqs", str(SLOTS), "--max-num-batched-tokens", str(BUDGET))
    drawn = [length for job in jobs(options, 1.0) for length in job.lengths]
    runs: dict[float, list[Measured]] = {load: [] for load in options.load}
    machine = Machine()
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(make_model(Path(folder)), *limits) as url,
    ):
        with machine.during("fit"):
            timed, held = asyncio.run(time_loads(url, options.seed))
        first = modelled(fit_step_time(timed, BUDGET), held)
        rate = carried(first, options.prompt, float(np.mean(drawn)))
        for turn in range(options.runs):
            for place, load in enumerate(options.load):
                work = jobs(options, rate * load)
                with machine.during("runs"):
                    runs[load].append(asyncio.run(measure(url, options.ordering, work)))
                seed = options.seed + 1 + turn * len(runs) + place
                with machine.during("fit"):
                    timed += asyncio.run(time_loads(url, seed))[0]
    fitted = fit_step_time(timed, BUDGET)
    model = modelled(fitted, held)
    compared = {
        f"{load:g}": compare(
            [one.witness.latencies for one in found],
            [simulate(one, model).latencies for one in found],
        )
        for load, found in runs.items()
    }
    return {
        "slots": SLOTS, "programs": options.programs, "runs": options.runs, "seed": options.seed,
        "ordering": options.ordering, "sigma": options.sigma, "tokens_per_second": rate,
        "others": machine.others(), "fitted": fitted_as_json(fitted), "loads": compared,
    }  # fmt: skip


def show(found: dict[str, Any]) -> None:
    """Print the step, and one line a load."""
    fitted = found["fitted"]
    terms = ", ".join(f"{name} {one:.4g}" for name, one in fitted["microseconds"].items())
    print(f"step in µs: {terms}; mean error of the fit {fitted['mean_error']:.1%}")
    print(
        f"{found['programs']} programs, {found['runs']} times, {found['ordering']}; "
        f"{found['slots']} slots carry {found['tokens_per_second']:.0f} tokens/s; in seconds"
    )
    shares = (f"{one:.0%}" for one in found["others"].values())
    print("of the machine others took {} in the fit, {} in the runs".format(*shares))
    names = ("error p50", "error p90", "live p50", "ratio", "measured", "simulated")
    print(f"{'load':>6}" + "".join(f"{name:>11}" for name in names))
    for load, one in found["loads"].items():
        floor = "" if one["floor"] is None else f"{one['floor']['p50']:.1%}"
        print(
            f"{load:>6}{one['error']['p50']:11.1%}{one['error']['p90']:11.1%}{floor:>11}"
            f"{one['ratio']:11.2f}{one['measured']['mean']:11.2f}{one['simulated']['mean']:11.2f}"
        )


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw simulated over measured latency, a panel a load."""
    runs = found["loads"]
    drawn, panels = figure(columns=len(runs), rows=1, size=(4.5 * len(runs), 3.8))
    for panel, (load, one) in zip(np.atleast_1d(panels), runs.items(), strict=True):
        real, told = np.array(one["latencies"]).T
        ends = [min(real.min(), told.min()), max(real.max(), told.max())]
        panel.plot(ends, ends, color="0.7", linewidth=1)
        panel.plot(real, told, ".", markersize=4)
        panel.set(xscale="log", yscale="log", xlabel="measured, s", ylabel="simulated, s")
        panel.set_title(f"load {load}: median error {one['error']['p50']:.1%}", fontsize=9)
    save(drawn, path)


def main() -> None:
    """Fit, measure, simulate; print, write and draw."""
    parser = arguments((__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--programs", type=int, default=200, help="programs of each load")
    parser.add_argument("--load", type=float, nargs="+", default=[0.6, 1.2])
    parser.add_argument("--ordering", default="sjf")
    parser.add_argument("--runs", type=int, default=2, help="of each load")
    parser.add_argument("--prompt", type=int, default=18, help="tokens of a prompt, for the load")
    parser.add_argument("--sigma", type=float, default=1.0, help="of the workloads' lengths")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    finish(options, whole(options), show, draw)


if __name__ == "__main__":
    main()
