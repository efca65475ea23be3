"""Figure 15: chains of thought, original, probed and cut, over limits of tokens; and live.

    scripts/bench thinking [--calibration 150] [--json FILE] [--picture FILE] [--work DIR]

Chains of all problems are recorded live up to 640 tokens, each once a seed, and asked for the
answer after every round. What follows is replayed through the scheduler on these recordings:
`original` at a limit has no answer where the chain is cut, `closed` is asked for one there,
`probed` is probed on the way and never stopped, `cut` is stopped. Tokens are all that were
sampled, probes too.

Rules (how much of a trace probes may cost, how many of them must agree, how sure the model must
be) are chosen on the calibration problems so that they save most of `closed` at 640 tokens and
lose at most `--loss`: losses as they are ("plain"), or two standard errors charged ("careful").
`hindsight` is the best of the same rules on the problems that judge; `first` and `settled` look
at the end: they stop at the first probe whose answer is the final one, or from which on all are.

Live, the rule of `--caution` runs beside the others on the problems that judge, in turn block by
block, with `--live` at once; figure 15 has it too. `chunked` stops the stream for each probe.
Intervals: 95 %, bootstrap over problems, over blocks for seconds.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from _alternating import (
    EVEN,
    Cell,
    Numbers,
    alternate,
    arguments,
    change,
    conditions,
    evaluation,
    row_mean,
    saved,
    spoken,
)
from _figures import figure, save
from _recorded import open_recording, places
from _script import finish
from _searches import CAUTIONS, judged, share
from _thinking import CHAIN, LONGEST, Ran, as_ran, rows, show_rows, thinker
from _work import Work
from dynasor.calibrate import Aim, Measurements
from dynasor.config import format_policy, format_program
from dynasor.core.types import PolicySpec, ProgramSpec
from dynasor.evaluate.coded import made_by
from dynasor.evaluate.offline import Means, means
from dynasor.evaluate.recorded import Recorded, RecordedThought
from dynasor.evaluate.replay import Job, replay_all
from dynasor.traces import Trace

LIMITS = tuple(range(64, LONGEST + 1, 64))
SHARES = (0.05, 0.1, 0.2, 0.4)
WINDOWS = ((2, 1.0), (3, 1.0), (4, 1.0), (4, 0.59))
"""Probes that are compared, and their certaindex: all equal, or three of four."""
SURE = (0.7, 0.8, 0.9, 0.95, 0.99)
LINES = {
    "original": ("#777777", "o"),
    "closed": ("#222222", "."),
    "probed": ("#d99a2b", "s"),
    "cut": ("#1769aa", "P"),
}


class Rule(NamedTuple):
    """How often to probe, what to compare, and when to stop; `at` empty: never."""

    share: float
    window: int = 3
    at: tuple[tuple[str, float], ...] = ()

    @property
    def params(self) -> dict[str, Any]:
        """What it says to the program."""
        return {"share": self.share, "window": self.window}

    @property
    def policy(self) -> PolicySpec:
        """What it says to the scheduler."""
        if not self.at:
            return EVEN
        return PolicySpec("stepwise", {"every": 1, "at": dict(self.at)}, has_lock=False)


CLOSED = Rule(0.0)


def families() -> dict[str, list[Rule]]:
    """Return what is tried, by family."""
    agreed = [Rule(share, window, (("entropy", at),)) for share in SHARES for window, at in WINDOWS]
    sure = [Rule(share, 3, (("confidence", at),)) for share in SHARES for at in SURE]
    both = [
        Rule(one.share, one.window, (*one.at, ("confidence", at))) for one in agreed for at in SURE
    ]
    return {
        "probes agree": agreed,
        "the model is sure": sure,
        "both": both,
        "any rule": agreed + sure + both,
    }


class Replays:
    """Recorded chains, and what rules make of them; each is replayed once."""

    def __init__(self, trace: Trace, recorded: list[Recorded], options: argparse.Namespace) -> None:
        self.recorded = recorded
        self._params = made_by(trace).program.params
        self._options = options
        self._found: dict[tuple[Rule, int], Means] = {}

    def at(self, rules: Sequence[Rule], limit: int = LONGEST) -> list[Means]:
        """Return what becomes of every question under rules, chains ending at a limit."""
        missing = [one for one in dict.fromkeys(rules) if (one, limit) not in self._found]
        cap = limit // self._options.every
        jobs = [
            Job(one.policy, cap, "chain-of-thought", params={**self._params, **one.params})
            for one in missing
        ]
        runs = replay_all(self.recorded, jobs, range(self._options.seeds), None)
        for one, found in zip(missing, runs, strict=True):
            self._found[one, limit] = means(found)
        return [self._found[one, limit] for one in rules]

    def thoughts(self) -> list[list[tuple[Recorded, RecordedThought]]]:
        """Return the chains that the replays are of: `[question][seed]`."""
        seeds = range(self._options.seeds)
        return [
            [(one, one.thoughts[n % len(one.thoughts)]) for n in seeds] for one in self.recorded
        ]


def original(replays: Replays, limit: int) -> Means:
    """Return chains that are cut at a limit, and have no answer then."""
    thoughts = replays.thoughts()
    tokens = np.array([np.mean([min(t.tokens, limit) for _, t in row]) for row in thoughts])
    quality = np.array(
        [
            np.mean([one.worth(t.group) if _is_whole(t, limit) else 0.0 for one, t in row])
            for row in thoughts
        ]
    )
    return Means(tokens, tokens, tokens, quality, np.zeros(len(tokens)))


def _is_whole(thought: RecordedThought, limit: int) -> bool:
    return thought.tokens <= limit and not (thought.is_elicited and thought.is_cut)


def oracle(replays: Replays, *, is_settled: bool) -> Means:
    """Return chains that are stopped by who knows their final answer.

    At the first probe that gives it, or (`is_settled`) the first from which on all do; for the
    tokens until then and that probe's, or for all of the chain where there is none.
    """
    thoughts = replays.thoughts()
    tokens = np.array([np.mean([_known_at(t, is_settled) for _, t in row]) for row in thoughts])
    quality = np.array([np.mean([one.worth(t.group) for one, t in row]) for row in thoughts])
    return Means(tokens, tokens, tokens, quality, np.zeros(len(tokens)))


def _known_at(thought: RecordedThought, is_settled: bool) -> int:
    at = closing = thought.probes[-1].tokens if thought.is_elicited else 0
    at += thought.tokens
    if thought.group is None:
        return at
    for probe in reversed(thought.probes):
        if probe.group == thought.group:
            at = min(at, probe.at + probe.tokens)
        elif is_settled:
            break
    return min(at, thought.tokens + closing)


def curves(replays: Replays, rule: Rule, judge: Numbers) -> list[dict[str, Any]]:
    """Return figure 15: each kind's accuracy and tokens at every limit."""
    found = []
    for limit in LIMITS:
        closed, probed, cut = replays.at([CLOSED, Rule(*rule[:2]), rule], limit)
        kinds = {
            "original": original(replays, limit),
            "closed": closed,
            "probed": probed,
            "cut": cut,
        }
        base = closed.at(judge)
        for kind, outcome in kinds.items():
            own = outcome.at(judge)
            found.append(
                {
                    "kind": kind,
                    "limit": limit,
                    "tokens": float(own.tokens.mean()),
                    "accuracy": row_mean(own.quality),
                    "accuracy_change": change(own.quality, base.quality),
                    "tokens_saved": saved(own.tokens, base.tokens),
                }
            )
    return found


def calibrated(replays: Replays, options: argparse.Namespace) -> tuple[Rule, dict[str, Any]]:
    """Return the rule that is chosen on the calibration problems, and what all families save."""
    fit, judge = (np.array(each) for each in places(options))
    (closed,) = replays.at([CLOSED])
    tables = {
        name: Measurements(
            (), Aim(LONGEST, 1, options.loss, caution, options.seeds), closed, (), ()
        )
        for name, caution in CAUTIONS.items()
    }
    found: dict[str, Any] = {}
    chosen = CLOSED
    for family, rules in families().items():
        # A rule's place stands for it where policies are chosen: its window is the program's.
        tried = [
            (PolicySpec(str(place)), outcome) for place, outcome in enumerate(replays.at(rules))
        ]
        picks = {name: table.best(family, tried, fit, judge) for name, table in tables.items()}
        picks["hindsight"] = tables["plain"].best(family, tried, judge, judge)
        ruled = {name: rules[int(pick.spec.name)] for name, pick in picks.items()}
        chosen = ruled[options.caution]
        found[family] = {
            "shares": {name: share(picks[name], picks["hindsight"]) for name in CAUTIONS},
            **{
                name: {"rule": written(ruled[name], options.every), **judged(pick)}
                for name, pick in picks.items()
            },
        }
    for name, is_settled in (("first", False), ("settled", True)):
        knows = oracle(replays, is_settled=is_settled).at(judge)
        found[name] = {"saved": saved(knows.tokens, closed.at(judge).tokens)}
    return chosen, found


def written(rule: Rule, every: int) -> dict[str, str]:
    """Return a rule as the commands take it, with the tokens of a round."""
    program = ProgramSpec("chain-of-thought", {"every": every, **rule.params})
    return {"program": format_program(program), "policy": format_policy(rule.policy)}


def cells(rule: Rule, options: argparse.Namespace) -> list[Cell]:
    """Return what runs live at every limit, the original first."""
    found = []
    for limit in options.limit or [LONGEST]:
        cap, rounds = limit // options.every, {"every": options.every}
        kinds = {
            "original": (CLOSED, {}),
            "probed": (Rule(*rule[:2]), {}),
            "cut": (rule, {}),
            "cut, chunked": (rule, {"chunked": True}),
        }
        for kind, (one, params) in kinds.items():
            said = "" if kind == "original" else f", share {one.share}, window {one.window}"
            at = " and ".join(f"{name} {least}" for name, least in one.at)
            label = f"{kind} {limit}{said}{at and f', {at}'}"
            make = thinker(cap, {**rounds, **one.params, **params})
            found.append(Cell(label, make, one.policy))
    return found


async def live(rule: Rule, options: argparse.Namespace) -> list[list[dict[str, Any]]]:
    """Run what is missing of all kinds, in turn; return the rows of every limit."""
    problems, asked = evaluation(options.questions), cells(rule, options)
    with Work(options.work, "live", conditions(options) | {"every": options.every}, Ran) as work:
        await alternate(asked, problems, options, work, as_ran)
        kinds = 4
        blocks = [asked[first : first + kinds] for first in range(0, len(asked), kinds)]
        return [rows(block, problems, options, work) for block in blocks]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Record, replay, choose, and run live."""
    if LONGEST % options.every or LIMITS[0] % options.every:
        raise SystemExit(f"--every is {options.every}; expected a divisor of {LIMITS[0]}")
    spec = ProgramSpec("chain-of-thought", {**CHAIN, "every": options.every})
    rounds = LONGEST // options.every
    trace, recorded = open_recording(options, "thoughts", spec, rounds, options.seeds)
    replays = Replays(trace, recorded, options)
    rule, chosen = calibrated(replays, options)
    _, judge = places(options)
    return {
        "questions": options.questions,
        "calibration": options.calibration,
        "seeds": options.seeds,
        "every": options.every,
        "loss": options.loss,
        "rule": written(rule, options.every),
        "chosen": chosen,
        "curves": curves(replays, rule, np.array(judge)),
        "live": [] if options.offline else asyncio.run(live(rule, options)),
    }


def show(found: dict[str, Any]) -> None:
    """Print the choices, figure 15, and the live rows."""
    print(
        f"{found['questions']} problems judge, {found['calibration']} others choose (loss "
        f"{100 * found['loss']:g} points), {found['seeds']} seeds, rounds of {found['every']}\n"
    )
    heads = ("family", "plain: saved %", "points", "careful: saved %", "points")
    heads = (*heads, "hindsight: saved %", "points", "shares", "plain rule")
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for family, row in found["chosen"].items():
        if "plain" not in row:
            print(f"| knows the end, {family} | {spoken(row['saved'])} |" + " |" * 7)
            continue
        cells = [family]
        for choice in (*CAUTIONS, "hindsight"):
            cells += [spoken(row[choice]["saved"]), spoken(row[choice]["accuracy_change"], "+")]
        cells.append(", ".join("none" if s is None else f"{s:.2f}" for s in row["shares"].values()))
        cells.append("; ".join(row["plain"]["rule"].values()))
        print(f"| {' | '.join(cells)} |")
    heads = ("limit", "kind", "tokens", "accuracy %", "saved of closed %", "points")
    print(f"\n| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for row in found["curves"]:
        print(
            f"| {row['limit']} | {row['kind']} | {row['tokens']:.1f} | {spoken(row['accuracy'])} | "
            f"{spoken(row['tokens_saved'])} | {spoken(row['accuracy_change'], '+')} |"
        )
    for block in found["live"]:
        print("\nlive")
        show_rows(block)


def draw(found: dict[str, Any], target: Path) -> None:
    """Draw figure 15: accuracy over limits, and over tokens."""
    drawn, panels = figure(columns=2, size=(9, 3.8), sharey=True)
    for kind, (colour, marker) in LINES.items():
        lines = [row for row in found["curves"] if row["kind"] == kind]
        accuracy = [100 * row["accuracy"]["estimate"] for row in lines]
        for axes, name in zip(panels, ("limit", "tokens"), strict=True):
            axes.plot(
                [row[name] for row in lines], accuracy, color=colour, marker=marker, label=kind
            )
    panels[0].set(xlabel="limit, tokens", ylabel="accuracy, %")
    panels[1].set(xlabel="tokens a problem", xlim=(0, None))
    panels[0].legend(frameon=False)
    save(drawn, target)


def main() -> None:
    """Measure, print, write and draw."""
    parser = arguments((__doc__ or "").split("\n", 1)[0], "thinking")
    parser.add_argument("--calibration", type=int, default=150, help="other held-out problems")
    parser.add_argument("--loss", type=float, default=0.001, help="of accuracy, in [0, 1]")
    parser.add_argument("--caution", default="plain", choices=CAUTIONS, help="whose rule runs")
    parser.add_argument("--every", type=int, default=32, help="tokens of a round")
    parser.add_argument("--limit", type=int, action="append", help="of live runs (640)")
    parser.add_argument("--offline", action="store_true", help="leave out the live runs")
    options = parser.parse_args()
    finish(options, measure(options), show, draw)


if __name__ == "__main__":
    main()
