"""What certaindex saves of searches: thresholds chosen on some problems, judged on others.

    scripts/bench search_savings [--rewards confidence] [--judge ENGINE] [--calibration 150]
                                 [--setting mcts-20]
                                 [--json FILE] [--picture FILE] [--work DIR]

Searches of all problems are recorded live and to their caps, each once a seed: MCTS one iteration
after the other, Rebase in two rounds (16 paths, then an independent search of the rest), samples
for self-consistency. Policies are asked behind every unit that the recording can stop at. `even`
never stops: for Rebase it is both rounds, and `--single` records the one search that the whole
width would be, for a row of its own. Tokens are those sampled.

Every family's parameters are chosen on the calibration problems so that they save most and lose at
most `--loss` there: losses as they are ("plain"), or two standard errors charged ("careful", the
default of `dynasor calibrate`). `hindsight` chooses among the same on the problems that judge.
`shares` are what both choices save over what hindsight does. Intervals: 95 %, bootstrap over
problems. The chosen policies are replayed through the scheduler besides: `replay` says by how much
at most a problem's tokens differ.

Beside that figure 12's and table 4's MCTS halves: thresholds as entropies in nats and as rewards,
measured once after three iterations, over the caps; and finer allocation, over random halves.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace

from _alternating import EVEN, arguments, spoken
from _figures import figure, save
from _mcts_halves import figure_12, plot_figure_12, show_halves, table_4
from _recorded import open_recording, places
from _script import finish
from _searches import (
    CAUTIONS,
    ENTROPIES,
    REWARDS,
    Question,
    judged,
    outcome,
    reward_levels,
    sample_states,
    search_params,
    search_states,
    share,
)
from dynasor.calibrate import Aim, Measurements
from dynasor.config import format_policy
from dynasor.core.types import PolicySpec, ProgramSpec
from dynasor.evaluate.coded import made_by
from dynasor.evaluate.offline import Means, means, with_width
from dynasor.evaluate.recorded import Recorded
from dynasor.evaluate.replay import Job, replay_all
from dynasor.programs import programs
from dynasor.traces import Trace, TreeLine

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SC, MCTS, REBASE = "self-consistency", "mcts", "rebase"
TWO_ROUNDS = PolicySpec("threshold", {"detect": 16, "at": {"reward": 1}}, has_lock=False)


@dataclass(frozen=True, slots=True)
class Recording:
    """What is recorded: a program up to a cap, and where a policy may look at it."""

    program: str
    cap: int
    detects: tuple[int, ...]
    everies: tuple[int, ...] = ()
    policy: PolicySpec | None = None

    @property
    def stops(self) -> Sequence[int]:
        """The units behind which it can be stopped."""
        return (*self.detects, self.cap) if self.program == REBASE else range(1, self.cap + 1)


RECORDINGS = {
    "self-consistency-20": Recording(SC, 20, (3, 5, 8, 10), (1, 5)),
    "mcts-20": Recording(MCTS, 20, (3, 5, 8), (1, 3, 5)),
    "rebase-32": Recording(REBASE, 32, (16,), policy=TWO_ROUNDS),
    "rebase-64": Recording(REBASE, 64, (16,), policy=TWO_ROUNDS),
}


@dataclass(frozen=True, slots=True)
class Opened:
    """A recording: its questions, and their states as `_searches` has them."""

    recording: Recording
    trace: Trace
    recorded: list[Recorded]
    questions: list[Question]


def opened(name: str, options: argparse.Namespace) -> Opened:
    """Record what is missing of a setting, and read it."""
    one = RECORDINGS[name]
    if one.program == SC:
        samples = one.cap * options.seeds
        trace, recorded = open_recording(options, name, ProgramSpec(SC), samples)
        questions = [
            [sample_states(each, seed, one.cap) for seed in range(options.seeds)]
            for each in recorded
        ]
        return Opened(one, trace, recorded, questions)
    spec = search_spec(one, options)
    trace, recorded = open_recording(options, name, spec, one.cap, options.seeds, one.policy)
    return Opened(
        one, trace, recorded, states(one, trace, recorded, one.stops, choice(one, options))
    )


def search_spec(one: Recording, options: argparse.Namespace) -> ProgramSpec:
    """Return the search that is recorded, with its rewards."""
    return ProgramSpec(one.program, search_params(one.program, options.rewards))


def choice(one: Recording, options: argparse.Namespace) -> str:
    """Return how a program answers: as the options say, else as it does by itself."""
    if one.program == SC:
        return "vote"
    return options.choose or programs()[one.program].choose


def states(
    one: Recording, trace: Trace, recorded: Sequence[Recorded], stops: Sequence[int], choose: str
) -> list[Question]:
    """Return the states of recorded searches."""
    found: list[Question] = []
    for row, question in zip(trace.lines, recorded, strict=True):
        assert isinstance(row, TreeLine)
        found.append(
            [
                search_states(
                    one.program, question, steps, [n.unit for n in tree.nodes], stops, choose
                )
                for tree, steps in zip(row.trees, question.searches, strict=True)
            ]
        )
    return found


def families(found: Opened, fit: Sequence[int]) -> dict[str, list[PolicySpec]]:
    """Return what is tried, by family; rewards and lengths as the problems `fit` have them."""
    one, known = found.recording, [found.questions[place] for place in fit]
    tried: dict[str, list[PolicySpec]] = {"length": lengths(found, fit)}
    signals = {"entropy": ENTROPIES}
    if one.program != SC:
        signals["reward"] = reward_levels(known, one.detects[0])
    for form, looks in (("threshold", one.detects), ("stepwise", one.everies)):
        key = "detect" if form == "threshold" else "every"
        for names in (*((name,) for name in signals), tuple(signals)):
            specs = [
                PolicySpec(form, {key: look, "at": dict(zip(names, at, strict=True))}, False)
                for look in looks
                for at in product(*(signals[name] for name in names))
            ]
            if specs:
                tried.setdefault(f"{form}, {' and '.join(names)}", specs)
    tried["any certaindex"] = [
        s for name, specs in tried.items() if name != "length" for s in specs
    ]
    return tried


def lengths(found: Opened, fit: Sequence[int]) -> list[PolicySpec]:
    """Return the length baseline at every place to look, with thresholds of the problems `fit`."""
    tried = []
    for detect in found.recording.detects:
        spent = [
            next(state for state in states if state.units == detect).tokens
            for place in fit
            for states in found.questions[place]
        ]
        levels = sorted({0, *(int(level) for level in np.quantile(spent, np.linspace(0, 1, 21)))})
        params = [{"tokens": level, "detect": detect} for level in levels]
        tried += [PolicySpec("length", one, has_lock=False) for one in params]
    return tried


def savings(found: Opened, options: argparse.Namespace) -> dict[str, Any]:
    """Return every family's row: chosen on the calibration problems, and in hindsight."""
    fit, judge = (np.array(each) for each in places(options))
    even = outcome(EVEN, found.questions)
    aim = Aim(found.recording.cap, width=1, loss=options.loss, seeds=options.seeds)
    rows: dict[str, Any] = {}
    for family, specs in families(found, fit.tolist()).items():
        tried = [(spec, outcome(spec, found.questions)) for spec in specs]
        careful = {
            name: Measurements((), replace(aim, caution=caution), even, (), ()).best(
                family, tried, fit, judge
            )
            for name, caution in CAUTIONS.items()
        }
        plain = Measurements((), replace(aim, caution=0.0), even, (), ())
        hindsight = plain.best(family, tried, judge, judge)
        chosen = {**careful, "hindsight": hindsight}
        rows[family] = {
            **{
                name: {"policy": format_policy(one.spec), **judged(one)}
                for name, one in chosen.items()
            },
            "share": {name: share(one, hindsight) for name, one in careful.items()},
            "replay": replayed(found, careful["plain"].spec, tried, options),
        }
    base = even.at(judge)
    return {
        "program": found.recording.program,
        "cap": found.recording.cap,
        "choose": choice(found.recording, options),
        "even": {"accuracy": float(base.quality.mean()), "tokens": float(base.tokens.mean())},
        "rows": rows,
    }


def replayed(
    found: Opened, spec: PolicySpec, tried: Sequence[tuple[PolicySpec, Means]], options: Any
) -> float:
    """Return by how much at most a problem's tokens differ from the scheduler's own replay."""
    one = found.recording
    params: dict[str, Any] = {}
    if one.program != SC:
        params = {**made_by(found.trace).program.params, "choose": choice(one, options)}
    policy = spec if one.program == REBASE else with_width(spec, 1)
    job = Job(policy, one.cap, one.program, params=params)
    (runs,) = replay_all(found.recorded, [job], range(options.seeds), 1)
    own = next(outcome for tested, outcome in tried if tested == spec)
    return float(np.abs(means(runs).tokens - own.tokens).max())


def single(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Record the one search that a whole width would be; return what it spends and reaches."""
    one = RECORDINGS[name]
    trace, recorded = open_recording(
        options, f"{name}-single", search_spec(one, options), one.cap, options.seeds, EVEN
    )
    _, judge = places(options)
    found = outcome(EVEN, states(one, trace, recorded, (one.cap,), choice(one, options)))
    base = found.at(np.array(judge))
    return {"accuracy": float(base.quality.mean()), "tokens": float(base.tokens.mean())}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Record, choose, judge."""
    found: dict[str, Any] = {}
    for name in [one for one in RECORDINGS if one in (options.setting or RECORDINGS)]:
        setting = opened(name, options)
        found[name] = savings(setting, options)
        if options.single and setting.recording.program == REBASE:
            found[name]["single"] = single(name, options)
        if setting.recording.program == MCTS:
            _, judge = places(options)
            found[name]["figure_12"] = figure_12(setting.questions, judge)
            aim = Aim(setting.recording.cap, 1, options.loss, seeds=options.seeds)
            found[name]["table_4"] = {
                signal: table_4(setting.questions, aim, options.splits, signal)
                for signal in ("entropy", "reward")
            }
    return {
        "questions": options.questions,
        "calibration": options.calibration,
        "seeds": options.seeds,
        "loss": options.loss,
        "judge": options.judge or options.engine,
        "rewards": options.rewards,
        "settings": found,
    }


def show(found: dict[str, Any]) -> None:
    """Print all tables."""
    print(
        f"{found['questions']} problems judge, {found['calibration']} others choose (loss "
        f"{100 * found['loss']:g} points), {found['seeds']} seeds, rewards: {found['rewards']}"
    )
    for name, one in found["settings"].items():
        even = one["even"]
        print(
            f"\n{name}, {one['choose']}: even {even['tokens']:.0f} tokens, "
            f"{100 * even['accuracy']:.1f} % right"
        )
        if "single" in one:
            alone = one["single"]
            print(f"one search: {alone['tokens']:.0f} tokens, {100 * alone['accuracy']:.1f} %")
        heads = ("family", "plain: saved %", "points", "careful: saved %", "points")
        heads = (*heads, "hindsight: saved %", "points", "shares", "replay", "plain policy")
        print(f"\n| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
        for family, row in one["rows"].items():
            cells = [family]
            for choice in (*CAUTIONS, "hindsight"):
                cells += [spoken(row[choice]["saved"]), spoken(row[choice]["accuracy_change"])]
            shares = ("none" if one is None else f"{one:.2f}" for one in row["share"].values())
            cells.append(", ".join(shares))
            print(f"| {' | '.join(cells)} | {row['replay']:.1f} | {row['plain']['policy']} |")
        if "figure_12" in one:
            show_halves(one)


def draw(found: dict[str, Any], target: Path) -> None:
    """Draw what was saved by setting, and figure 12's MCTS half."""
    settings = found["settings"]
    mcts = next((one["figure_12"] for one in settings.values() if "figure_12" in one), None)
    drawn, panels = figure(columns=1 if mcts is None else 3, size=(5 if mcts is None else 12, 3.8))
    _draw_saved(panels[0], settings)
    for axes, signal in zip(panels[1:], ("entropy", "reward"), strict=False):
        assert mcts is not None
        plot_figure_12(axes, mcts, signal)
    save(drawn, target)


def _draw_saved(axes: Axes, settings: dict[str, Any]) -> None:
    bars = {"length": "#b5534c", "any certaindex": "#1769aa"}
    for place, (family, colour) in enumerate(bars.items()):
        rows = [one["rows"][family] for one in settings.values()]
        heights = np.arange(len(rows)) + 0.38 * (place - 0.5)
        saved = [100 * row["plain"]["saved"]["estimate"] for row in rows]
        axes.barh(heights, saved, 0.34, color=colour, label=family)
        best = [100 * row["hindsight"]["saved"]["estimate"] for row in rows]
        axes.plot(best, heights, "k|", markersize=12, label="in hindsight" if place else None)
    axes.set(yticks=range(len(settings)), yticklabels=list(settings), xlabel="tokens saved, %")
    axes.invert_yaxis()
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)


def main() -> None:
    """Measure, print, write and draw."""
    parser = arguments((__doc__ or "").split("\n", 1)[0], "search_savings")
    parser.add_argument("--judge", help="reward engine: URL or GGUF file; the engine if left out")
    parser.add_argument(
        "--rewards", choices=REWARDS, default="model", help="where rewards come from"
    )
    parser.add_argument("--calibration", type=int, default=150, help="other held-out problems")
    parser.add_argument("--loss", type=float, default=0.001, help="of accuracy, in [0, 1]")
    parser.add_argument("--choose", choices=("best", "vote"), help="its own if left out")
    parser.add_argument("--splits", type=int, default=10, help="random halves of table 4")
    parser.add_argument("--setting", action="append", choices=RECORDINGS, help="only this one")
    parser.add_argument("--single", action="store_true", help="record one-round Rebase too")
    options = parser.parse_args()
    finish(options, measure(options), show, draw)


if __name__ == "__main__":
    main()
