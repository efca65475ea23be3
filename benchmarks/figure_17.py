"""Figure 17: what is in time with less memory, 20 to 90 % of the 80 GB of an A100.

    scripts/bench figure_17 --json docs/online/figure_17.json --picture docs/online/figure_17.svg

Arrivals come at one rate, `--load` of what even allocation can carry with 90 % of the memory. The
share is for weights and KV cache together (SGLang's way), so that 20 % leaves about 7,264 tokens of
KV cache: some 16 calls of math500 at once, where 256 could run. Above 40 % nothing here is short of
memory, and all is as at 90 %.

Rows: what others do, under even allocation, and our policy with calls in the order of submission
(`fcfs`: without the gang), by gang, by remaining work and by deadline. The scheduler is told how
many calls memory holds. Two variations where that is fewer than the engine could run: it is told
the engine's limit, 256, and what it sends beyond memory waits or is preempted there, in the
engine's order; and the cache lets go of programs that have ended first (`idle-first`).

Slots by memory: a call holds, on average over the time in which it runs, its share of the prompt
(which the calls of a program side by side share), E[L^2] / 2E[L] tokens of its own for samples of L
tokens, as long ones run for longer, and half a block that is not full. Memory over that is how many
calls it holds; as the scheduler sends a tenth more than the slots, slots are that over 1.1.

A star marks runs that were saturated for most seeds: there latency and attainment hang on how long
programs arrive. `scale` is the tightest deadline, in multiples of the run's, that 90 % would meet;
nobody can say it where deadlines end programs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs

from _figures import figure, save
from _online import (
    OURS,
    Online,
    Run,
    arguments,
    finish,
    make_system,
    measured,
    open_online,
    run_all,
)
from _online_rows import Measured, by_seed, logarithmic, mark, means, plot, ratios, text
from dynasor.core.config import SchedulerConfig
from dynasor.core.types import PolicySpec
from dynasor.evaluate import Recorded
from dynasor.online.cluster import Cluster
from dynasor.online.outcomes import prompt_tokens
from dynasor.online.systems import System
from dynasor.online.workload import Part
from dynasor.sim import EngineModel
from dynasor.sim.kv import Eviction
from dynasor.sim.presets import preset

SHARES = (0.2, 0.22, 0.25, 0.3, 0.4, 0.6, 0.9)
LOAD = 0.9
IN_FLIGHT = 4
OURS_WIDE = PolicySpec(OURS.name, {**OURS.params, "in_flight": IN_FLIGHT})
ROWS = {
    "lpm": make_system("lpm"),
    "app-fifo": make_system("app-fifo"),
    "plas": make_system("plas"),
    "fcfs + sequential": make_system("fcfs", OURS_WIDE),
    "gang + sequential": make_system("gang", OURS_WIDE),
    "sjf + sequential": make_system("sjf", OURS_WIDE),
    "deadline + sequential": make_system("deadline", OURS_WIDE),
}
BASELINE = "lpm"
VARIED = ("lpm", "app-fifo", "gang + sequential", "sjf + sequential")
"""Rows with the cache and the slots varied; of `lpm` the cache alone: its engine has the order."""
MEASURES = ("attainment", "scale", "mean", "p90", "tokens", "accuracy", "kv_mean", "kv_max")
MORE = ("cached", "preemptions", "tokens_per_second")


@dataclass(frozen=True, slots=True)
class Case:
    """One row at one size of memory; `slots` is what the scheduler is told, None for the limit."""

    setting: str
    share: float
    row: str
    eviction: Eviction = "lru"
    slots: int | None = None

    @property
    def cluster(self) -> str:
        """The name of what it runs on."""
        return f"{self.setting}, {self.share:g}, {self.eviction}, {self.slots}"

    @property
    def label(self) -> str:
        """The row, with what is varied."""
        return self.row if self.eviction == "lru" else f"{self.row}, {self.eviction}"


def slots_by_memory(
    model: EngineModel, part: Part, questions: Sequence[Recorded], width: int
) -> int:
    """Return how many slots to announce, `width` calls of a program running side by side."""
    lengths = np.concatenate([one.tokens for one in questions]).astype(float)
    prompt = float(np.mean([prompt_tokens(part, one) for one in questions])) + part.shared_tokens
    own = float(np.square(lengths).sum() / (2 * lengths.sum()))
    held = prompt / width + own + model.block_tokens / 2
    slots = int(model.kv_tokens / held / (1 + SchedulerConfig().window_slack))
    return max(1, min(model.max_running, slots))


def cases(online: Online, share: float, model: EngineModel) -> Iterator[Case]:
    """Yield what is run at one size of memory."""
    (part,) = online.experiment.workload.parts
    questions = online.experiment.questions[part.name]
    for row, system in ROWS.items():
        width = system.policy.params.get("in_flight", part.cap)
        slots = slots_by_memory(model, part, questions, width)
        told = None if _has_own_order(system) or slots == model.max_running else slots
        yield Case(online.name, share, row, slots=told)
        if row in VARIED and slots < model.max_running:
            yield Case(online.name, share, row, eviction="idle-first", slots=told)
            if told is not None:
                yield Case(online.name, share, row)


def _has_own_order(system: System) -> bool:
    """Say if the engine decides, and is sent everything, whatever the slots."""
    return system.ordering is None


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run every row at every size of memory."""
    settings = open_online(options)
    models = {share: preset(options.preset).model(share, "sglang") for share in options.share}
    chosen = [
        case
        for online in settings.values()
        for share, model in models.items()
        for case in cases(online, share, model)
    ]
    clusters = {case.cluster: on_cluster(settings[case.setting], case, models) for case in chosen}
    runs = [
        Run(case.cluster, ROWS[case.row], seed, options.load)
        for case in chosen
        for seed in range(options.seeds)
    ]
    found = by_seed(run_all(measured, clusters, runs, options), options.seeds)
    pairs = list(zip(chosen, found, strict=True))
    return {
        "load": options.load,
        "seeds": options.seeds,
        "settings": [
            {
                "setting": online.name,
                "title": online.title,
                "capacity": online.capacity,
                "base_seconds": online.base_seconds,
                "memory": [_memory(online.name, share, models[share], pairs) for share in models],
            }
            for online in settings.values()
        ],
    }


def on_cluster(online: Online, case: Case, models: dict[float, EngineModel]) -> Online:
    """Return the setting on a case's cluster; rates stay those of 90 % of the memory."""
    model = structs.replace(models[case.share], eviction=case.eviction)
    cluster = Cluster(model, slots=case.slots)
    return replace(online, experiment=structs.replace(online.experiment, cluster=cluster))


def _memory(
    setting: str, share: float, model: EngineModel, pairs: Sequence[tuple[Case, Measured]]
) -> dict[str, Any]:
    here = [
        (case, found) for case, found in pairs if (case.setting, case.share) == (setting, share)
    ]
    base = next(found for case, found in here if case.row == BASELINE)
    return {
        "share": share,
        "kv_tokens": model.kv_tokens,
        "rows": [
            {
                "row": case.label,
                "slots": "all"
                if _has_own_order(ROWS[case.row])
                else case.slots or model.max_running,
                "is_varied": case.eviction != "lru" or _is_told_too_much(case, here),
                "saturated": mark(found),
                **means(found, MEASURES + MORE),
                "over lpm": ratios(found, base, ("mean", "p90")),
            }
            for case, found in here
        ],
    }


def _is_told_too_much(case: Case, here: Sequence[tuple[Case, Measured]]) -> bool:
    return case.slots is None and any(
        other.row == case.row and other.slots is not None for other, _ in here
    )


def show(found: dict[str, Any]) -> None:
    """Print one table a setting and size of memory."""
    for one in found["settings"]:
        print(
            f"\n{one['title']}: load {found['load']:g} of {one['capacity']:.2f} programs/s, base "
            f"{one['base_seconds']:g} s, {found['seeds']} seeds"
        )
        for memory in one["memory"]:
            print("\n".join(table(memory)))


def table(memory: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of one size of memory."""
    yield f"\n{memory['share']:.0%} of the memory, {memory['kv_tokens']:,} tokens of KV cache"
    yield (
        f"{'':<30} {'slots':>5} {'in time %':>13} {'scale':>12} {'mean s':>16} {'P90 s':>16} "
        f"{'P90/lpm':>12} {'tokens':>7} {'right %':>7} {'KV %':>5} {'cached %':>8} {'preempted':>9}"
    )
    for row in memory["rows"]:
        yield (
            f"{row['row']:<30} {row['slots']:>5} {text(row['attainment'], 1, 100):>13} "
            f"{text(row['scale']):>12} {text(row['mean'], 1):>16} {text(row['p90'], 1):>15}"
            f"{row['saturated']:<1} {text(row['over lpm']['p90']):>12} "
            f"{row['tokens']['mean']:>7.0f} {100 * row['accuracy']['mean']:>7.1f} "
            f"{100 * row['kv_mean']['mean']:>5.0f} {100 * row['cached']['mean']:>8.0f} "
            f"{row['preemptions']['mean']:>9,.0f}"
        )


def draw(found: dict[str, Any], target: Path) -> None:
    """Draw attainment and P90 latency over memory, one column a setting."""
    settings = found["settings"]
    drawn, panels = figure(
        columns=len(settings), rows=2, size=(1 + 4 * len(settings), 6), sharex=True
    )
    above, below = panels[: len(settings)], panels[len(settings) :]
    for one, in_time, seconds in zip(settings, above, below, strict=True):
        for row in ROWS:
            _draw_row(one["memory"], row, in_time, seconds)
        in_time.set(title=one["title"], ylabel="in time", ylim=(0, 1.04))
        seconds.set(xlabel="share of the memory", ylabel="P90 latency, s")
        logarithmic(seconds)
    handles, labels = above[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    save(drawn, target)


def _draw_row(memory: Sequence[dict[str, Any]], row: str, in_time: Any, seconds: Any) -> None:
    across = [one["share"] for one in memory]
    points = [
        next(line for line in one["rows"] if line["row"] == row and not line["is_varied"])
        for one in memory
    ]
    plot(in_time, across, [point["attainment"] for point in points], label=row)
    plot(seconds, across, [point["p90"] for point in points], label=row)


def main() -> None:
    """Measure, print, write and draw."""
    parser = arguments((__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--share", type=float, action="append", help="only this share of memory")
    parser.add_argument("--load", type=float, default=LOAD, help="of even's capacity")
    options = parser.parse_args()
    options.share = options.share or list(SHARES)
    finish(options, measure(options), show, draw)


if __name__ == "__main__":
    main()
