"""What branches in flight cost, beside the figures published with the traces.

    scripts/bench in_flight [--seeds 20] [--json FILE]

Two tables a trace: policies with one branch in flight, and Beta 0.95 with the lock by branches in
flight, votes read as they finish and in launch order. Every figure comes out of the shipping
scheduler and policies (`dynasor.evaluate.replay`); savings are against even allocation on the same
shuffles. The published figures are means over 20 other shuffles: `±` is the standard error of a
mean over as many of ours. On math500-llama3.1-8b they lie some 0.005 lower in accuracy, mostly for
one vote: there `1/√2` was read as 1 (math-verify without a box around it), which makes the leaders
of one question tie, 10 votes each.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from _offline import arguments, finish, open_settings
from dynasor.core.types import PolicySpec
from dynasor.evaluate import Recorded
from dynasor.evaluate.oracle import oracle
from dynasor.evaluate.replay import Job, Replayed, replay_all

SVAMP, MATH500 = "svamp-codex", "math500-llama3.1-8b"
WIDTHS = (1, 4, 8, 16, None)
PUBLISHED_SEEDS = 20

Published = tuple[float | None, float | None]
"""Percent of tokens saved, and accuracy; None where no figure was published."""


@dataclass(frozen=True)
class Row:
    """One line of the table: a policy, and what was published for it, by trace."""

    label: str
    policy: PolicySpec
    published: dict[str, Published]


def _published(svamp: Published, math500: Published) -> dict[str, Published]:
    return {SVAMP: svamp, MATH500: math500}


def _one_by_one(name: str, params: dict[str, Any], *, has_lock: bool = False) -> PolicySpec:
    return PolicySpec(name, {**params, "in_flight": 1}, has_lock)


def sequential_rows() -> list[Row]:
    """Return the policies with one branch in flight; even comes first: it is the baseline."""
    even = _one_by_one("even", {})
    threshold = _one_by_one("threshold", {"detect": 5, "at": 0.7})
    stepwise = _one_by_one("stepwise", {"every": 5, "at": 0.7})
    esc = _one_by_one("esc", {"window": 5})
    beta = _one_by_one("beta", {"confidence": 0.95, "order": "finish"})
    lock = _one_by_one("even", {}, has_lock=True)
    return [
        Row("even", even, _published((0.0, 0.8808), (0.0, 0.6215))),
        Row("threshold at 5, 0.7", threshold, _published((48.8, 0.8806), (10.3, 0.6215))),
        Row("stepwise by 5, 0.7", stepwise, _published((63.6, 0.8787), (19.2, 0.6190))),
        Row("esc, windows of 5", esc, _published((59.7, 0.8806), (19.0, 0.6195))),
        Row("beta 0.95", beta, _published((71.6, 0.8800), (31.1, 0.6205))),
        Row("lock over even", lock, _published((37.4, 0.8808), (14.7, 0.6215))),
    ]


ORACLE = _published((95.1, 0.8972), (94.5, 0.6415))


def width_rows() -> list[Row]:
    """Return Beta 0.95 with lock by branches in flight, votes in both orders."""
    finish_order = (
        _published((72, 0.880), (32, 0.620)),
        _published((70, 0.878), (31, 0.618)),
        _published((63, 0.878), (30, 0.618)),
        _published((46, 0.873), (26, 0.618)),
        _published((15, 0.869), (14, 0.600)),
    )
    launch_order = (_published((None, 0.880), (None, None)),) * len(WIDTHS)
    rows = []
    for order, figures in (("finish", finish_order), ("launch", launch_order)):
        for width, published in zip(WIDTHS, figures, strict=True):
            params = {"confidence": 0.95, "order": order, "in_flight": width}
            label = f"beta+lock, {order}, {'all' if width is None else width}"
            rows.append(Row(label, PolicySpec("beta", params), published))
    return rows


def measure(
    trace: str, cap: int, questions: Sequence[Recorded], seeds: int, processes: int
) -> dict[str, Any]:
    """Replay every row on every shuffle; return one trace's figures."""
    rows = sequential_rows() + width_rows()
    jobs = [Job(row.policy, cap) for row in rows]
    found = replay_all(questions, jobs, range(seeds), processes)
    figures = [
        summary(row.label, row.published.get(trace, (None, None)), own, found[0])
        for row, own in zip(rows, found, strict=True)
    ]
    best = [oracle(questions, cap, seed) for seed in range(seeds)]
    figures.insert(
        len(sequential_rows()), summary("oracle", ORACLE.get(trace, (None, None)), best, found[0])
    )
    return {
        "trace": trace,
        "cap": cap,
        "questions": len(questions),
        "seeds": seeds,
        "rows": figures,
    }


def summary(
    label: str, published: Published, own: Sequence[Replayed], even: Sequence[Replayed]
) -> dict[str, Any]:
    """Return a row's means over the shuffles, each beside even's on the same shuffle."""
    pairs = list(zip(own, even, strict=True))
    saved = [100 * (1 - mine.tokens.sum() / base.tokens.sum()) for mine, base in pairs]
    accuracy = [float(mine.quality.mean()) for mine in own]
    lost = [float(base.quality.mean() - mine.quality.mean()) for mine, base in pairs]
    return {
        "row": label,
        "saved_percent": statistics.fmean(saved),
        "saved_percent_error": error(saved),
        "published_saved_percent": published[0],
        "accuracy": statistics.fmean(accuracy),
        "accuracy_error": error(accuracy),
        "accuracy_lost_to_even": statistics.fmean(lost),
        "published_accuracy": published[1],
        "launched_per_question": statistics.fmean(float(one.launched.mean()) for one in own),
        "aborted_per_question": statistics.fmean(
            float((one.launched - one.knob).mean()) for one in own
        ),
    }


def error(values: Sequence[float]) -> float:
    """Return the standard error of a mean over as many shuffles as were published."""
    return statistics.stdev(values) / PUBLISHED_SEEDS**0.5 if len(values) > 1 else 0.0


def show(found: dict[str, Any]) -> None:
    """Print both traces' tables; `diff` is ours minus the published figure."""
    for one in found["traces"]:
        print("\n".join(table(one)), flush=True)


def table(found: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of one trace's table."""
    yield (
        f"\n{found['trace']}, cap {found['cap']}: {found['questions']} questions, "
        f"{found['seeds']} shuffles"
    )
    yield (
        f"{'':<24} {'saved %':>8} {'±':>5} {'README':>7} {'diff':>6}   "
        f"{'accuracy':>8} {'±':>6} {'README':>7} {'diff':>7} {'lost':>7}   "
        f"{'launched':>8} {'aborted':>7}"
    )
    for one in found["rows"]:
        saved, known = one["saved_percent"], one["published_saved_percent"]
        accuracy, right = one["accuracy"], one["published_accuracy"]
        yield (
            f"{one['row']:<24} {saved:>8.1f} {one['saved_percent_error']:>5.2f} "
            f"{_plain(known, 1):>7} {_signed(saved, known, 1):>6}   "
            f"{accuracy:>8.4f} {one['accuracy_error']:>6.4f} "
            f"{_plain(right, 4):>7} {_signed(accuracy, right, 4):>7} "
            f"{one['accuracy_lost_to_even']:>+7.4f}   {one['launched_per_question']:>8.1f} "
            f"{one['aborted_per_question']:>7.1f}"
        )


def _plain(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _signed(ours: float, published: float | None, digits: int) -> str:
    return "" if published is None else f"{ours - published:+.{digits}f}"


def main() -> None:
    """Measure, print, write."""
    options = arguments((__doc__ or "").split("\n", 1)[0]).parse_args()
    found = [
        measure(one.name, one.default_cap, one.questions, options.seeds, options.processes)
        for one in open_settings((SVAMP, MATH500), options)
    ]
    finish(options, {"traces": found}, show)


if __name__ == "__main__":
    main()
