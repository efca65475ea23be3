"""Traces of what is served: the samples behind each answer, as they were drawn.

One folder a day (UTC), one file a task in it: `2026-05-01/sampling-math.jsonl`, with a number in
its name from the second file on, since each start of a server begins its own. Whole lines only:
a server that is killed loses the programs that had not ended.

What is kept are the samples of `self-consistency` and `best-of-n`. Other than `dynasor record`,
which draws all samples of every question, this writes down what the policy had drawn: a line's
`extra` says how many units of which cap were settled, and why it stopped. Chains and searches are
not kept: their traces hold probes and step rewards to the cap, which a program that is served for
its answer does not make.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from dynasor.core.commands import Answered, Closed, Command, Submit
from dynasor.core.errors import ConfigError
from dynasor.core.events import Arrived, Cancelled, Event, Failed, Finished
from dynasor.core.program import Program
from dynasor.core.task import Task
from dynasor.core.types import Call, Generate, Generated, Score, Scored
from dynasor.programs import BestOfN, SelfConsistency
from dynasor.runtime.clock import wall_clock
from dynasor.traces import Header, Sample, SamplingLine, TraceError, TraceWriter
from dynasor.traces.format import VERSION

__all__ = ["ServedTraces"]

KEPT = frozenset({SelfConsistency.name, BestOfN.name})
WORTH_KEEPING = frozenset({"answered", "deadline"})
"""What failed, or was taken back, has lost samples for reasons that are not the question's."""
MOST_FILES = 10_000
"""Files of one task and day; whoever has more has something else wrong."""
ELSEWHERE = frozenset({"question", "task", "cap"})
"""Parameters of a program that stand in a line, or in its file's name."""


@dataclass(slots=True)
class _Drawn:
    """One sample, and which of its tokens the engine did not count."""

    sample: Sample
    estimated: int
    reward: float | None = None


@dataclass(slots=True)
class _Served:
    """One program while it runs: its description, its calls, and its samples by their calls."""

    name: str
    task: str
    params: dict[str, Any]
    workload: str
    calls: dict[str, Call] = field(default_factory=dict)
    drawn: dict[str, _Drawn] = field(default_factory=dict)


class ServedTraces:
    """Writes a line for each program that was served: a driver's recorder.

    `tasks` extract the answers, `model` is who gave them. A line that cannot be written is counted
    in `failures` and warned of once; serving goes on.
    """

    def __init__(
        self,
        folder: Path,
        tasks: Mapping[str, Task],
        model: str,
        wall: Callable[[], int] = wall_clock,
    ) -> None:
        """Make the folder; raises `ConfigError` where that is impossible."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigError(f"folder {folder} for traces: {exc.strerror}") from exc
        self.failures = 0
        self._folder = folder
        self._tasks = tasks
        self._model = model
        self._wall = wall
        self._served: dict[str, _Served] = {}
        self._programs: dict[str, str] = {}
        self._day = ""
        self._writers: dict[str, TraceWriter] = {}
        self._names: dict[str, int] = {}

    def close(self) -> None:
        """Give the files to others; safe to call twice."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def record(self, now: float, event: Event, commands: list[Command]) -> None:
        """Take one event and what it caused."""
        if isinstance(event, Arrived):
            if event.spec.name in KEPT:
                self._served[event.program] = _served(event)
        elif isinstance(event, Finished | Failed | Cancelled):
            self._ended(event)
        for command in commands:
            if isinstance(command, Submit):
                self._submitted(command.call)
            elif isinstance(command, Answered):
                self._answered(command)
            elif isinstance(command, Closed):
                self._served.pop(command.program, None)

    def _submitted(self, call: Call) -> None:
        served = self._served.get(call.program)
        if served is not None:
            served.calls[call.id] = call
            self._programs[call.id] = call.program

    def _ended(self, event: Finished | Failed | Cancelled) -> None:
        served = self._served.get(self._programs.pop(event.call, ""))
        call = None if served is None else served.calls.pop(event.call, None)
        if served is None or call is None or not isinstance(event, Finished):
            return
        work, output = call.work, event.output
        if isinstance(work, Generate) and isinstance(output, Generated):
            served.drawn[call.id] = _drawn(call, work, output)
        elif isinstance(work, Score) and isinstance(output, Scored):
            _give_reward(served, work, output)

    def _answered(self, command: Answered) -> None:
        """Write a program's line; what ends later was aborted, and is no fair sample."""
        served = self._served.pop(command.program, None)
        if served is None or not served.drawn or command.status not in WORTH_KEEPING:
            return
        try:
            self._write(command, served)
        except Exception as exc:  # noqa: BLE001 - a full disk or a task's own code: serve on
            self.failures += 1
            if self.failures == 1:
                logging.getLogger("dynasor").warning(
                    "warning: a served program could not be recorded: %s (further failures are "
                    "counted)",
                    exc,
                )

    def _write(self, command: Answered, served: _Served) -> None:
        day = datetime.fromtimestamp(self._wall(), UTC).date().isoformat()
        if day != self._day:
            self.close()
            self._names.clear()
            self._day = day
        task = served.task
        if task not in self._writers:
            self._writers[task] = self._open(task)
        self._writers[task].append(self._line(command, served))

    def _open(self, task: str) -> TraceWriter:
        """Begin a file that nobody else has begun; what is there need not be read then."""
        folder = self._folder / self._day
        folder.mkdir(parents=True, exist_ok=True)
        header = Header(
            dynasor_trace=VERSION,
            kind="sampling",
            workload="served",
            model=self._model,
            task=task,
            source="dynasor serve",
        )
        for number in range(1, MOST_FILES):
            end = "" if number == 1 else f"-{number}"
            path = folder / f"sampling-{quote(task, safe='')}{end}.jsonl"
            if path.exists():
                continue
            return TraceWriter(path, header)
        raise TraceError(f"folder {folder} has {MOST_FILES:,} traces of one task; clear it")

    def _line(self, command: Answered, served: _Served) -> SamplingLine:
        """Return what is known of a program; one whose id was used before gets a number."""
        extract = self._tasks[served.task].extract
        count = self._names[command.program] = self._names.get(command.program, 0) + 1
        extra: dict[str, Any] = {
            "program": served.name,
            "workload": served.workload,
            **{
                name: value
                for name, value in served.params.items()
                if name not in ELSEWHERE and value not in ((), [])
            },
            "status": command.status,
            "reason": command.reason,
            "knob": command.knob,
            "cap": command.cap,
            "certaindex": command.certaindex,
        }
        estimated = sum(one.estimated for one in served.drawn.values())
        if estimated:
            extra["estimated_tokens"] = estimated
        return SamplingLine(
            command.program if count == 1 else f"{command.program} ({count})",
            served.params.get("question", ""),
            tuple(
                msgspec.structs.replace(
                    one.sample, answer=extract(one.sample.text), reward=one.reward
                )
                for _, one in sorted(served.drawn.items(), key=_launched)
            ),
            extra=extra,
        )


def _served(event: Arrived) -> _Served:
    params = event.spec.params
    return _Served(event.spec.name, params.get("task", Program.task), params, event.workload)


def _drawn(call: Call, work: Generate, output: Generated) -> _Drawn:
    tokens, seed = output.usage.completion_tokens, work.sampling.seed
    sample = Sample(
        text=output.text,
        tokens=tokens,
        mean_logprob=output.mean_logprob,
        seed=call.seed if seed is None else seed,
        finish_reason=output.finish_reason,
    )
    return _Drawn(sample, 0 if output.usage.is_counted else tokens)


def _give_reward(served: _Served, work: Score, output: Scored) -> None:
    """Give each scored text's reward to the first sample of that text that has none."""
    for item, reward in zip(work.items, output.rewards, strict=False):
        for one in served.drawn.values():
            if one.reward is None and one.sample.text == item.prefix:
                one.reward = reward
                break


def _launched(drawn: tuple[str, _Drawn]) -> int:
    """Return the number of a call among its program's."""
    return int(drawn[0].rpartition("#")[2])
