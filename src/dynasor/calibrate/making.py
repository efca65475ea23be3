"""Making a profile from a recording: measure, choose, judge, write down."""

from __future__ import annotations

from collections.abc import Sequence

from dynasor.calibrate.fit import Chosen, Measurements, halves
from dynasor.config import format_program
from dynasor.core.types import ProgramSpec
from dynasor.evaluate.classes import Sorting
from dynasor.evaluate.offline import with_width
from dynasor.evaluate.paired import Interval
from dynasor.evaluate.replay import Job, Replayed, replay
from dynasor.profile import Behaviour, Measured, Profile, Range
from dynasor.traces import Trace

__all__ = ["behaviour", "make_profile"]


def make_profile(
    trace: Trace, measured: Measurements, splits: Sequence[Chosen], sorting: Sorting, today: str
) -> Profile:
    """Return the profile of the first split's choice; `today` is the day in ISO 8601.

    All that it says was measured on questions that the choice did not see.
    """
    aim, first = measured.aim, splits[0]
    fit, judge = halves(len(measured.questions), 0)
    held_out = [measured.questions[place] for place in judge]
    spec = with_width(first.spec, aim.width)
    job = Job(spec, aim.cap, aim.program, params=aim.params)
    found = replay(held_out, job, seed=0)
    return Profile(
        task=trace.header.task,
        workload=trace.header.workload,
        model=trace.header.model,
        program=format_program(ProgramSpec(aim.program, aim.params)),
        policy=spec.name,
        params=spec.params,
        lock=spec.has_lock,
        cap=aim.cap,
        width=aim.width,
        loss=aim.loss,
        labels=sorting.labels,
        grouping=sorting.grouping,
        measured=Measured(
            fitted_on=len(fit),
            judged_on=len(judge),
            shuffles=aim.seeds,
            accuracy=_range(first.judged.accuracy),
            accuracy_change=_range(first.judged.accuracy_change),
            saved=_range(first.judged.saved),
            splits_saved=tuple(_short(one.judged.saved.estimate) for one in splits),
            splits_accuracy_change=tuple(
                _short(one.judged.accuracy_change.estimate) for one in splits
            ),
        ),
        behaviour=behaviour(found, aim.cap),
        trace=trace.digest,
        made=today,
    )


def behaviour(found: Replayed, cap: int) -> Behaviour:
    """Return how programs behaved in a replay with this cap.

    Tokens are those of finished branches, as `read_behaviour` counts a live run's: how much is
    aborted depends on the engine's speed.
    """
    per_knob = found.finished_tokens / found.knob.clip(1)
    return Behaviour(
        tuple(_short(value) for value in found.certaindex.tolist()),
        tuple(_short(value / cap) for value in found.knob.tolist()),
        tuple(round(value, 1) for value in per_knob.tolist()),
    )


def _range(interval: Interval) -> Range:
    return Range(*(_short(value) for value in (interval.estimate, interval.low, interval.high)))


def _short(value: float) -> float:
    return round(value, 5)
