"""Ways to think, on the same problems and the same engine, in turn: what they cost and reach."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from _alternating import TASK, Cell, Numbers, change, column, row_mean, saved, spoken
from _figures import figure, save
from _work import Work
from dynasor import Dynasor, Result
from dynasor.core.program import Context, Fork, Join, Program, Sample, Strand
from dynasor.core.task import Task
from dynasor.core.types import Answer, Generate, Generated, Message, Prompt, Sampling
from dynasor.datasets import Problem
from dynasor.programs.chain_of_thought import ChainOfThought

__all__ = [
    "CHAIN",
    "LONGEST",
    "EarlyExit",
    "Ran",
    "as_ran",
    "draw_rows",
    "has_settled",
    "rows",
    "show_rows",
    "thinker",
]

LONGEST = 640
"""Tokens of a trace, at most: with its prompt and a probe it fits the embedded model's context."""
THINK, THOUGHT_END = "<|think|>", "</think>"
PROBE = f"{THOUGHT_END}\nThe answer is \\boxed{{"
CHAIN: dict[str, Any] = {
    "mode": THINK,
    "think_end": THOUGHT_END,
    "probe": PROBE,
    "max_tokens": LONGEST,
    "temperature": 0.7,
    "chunked": False,
}
"""How the embedded model is made to think and asked for its answer."""
MEANS = ("tokens", "aborted_tokens", "prompt_tokens", "calls", "seconds", "latency")
READ = ("is_right", *MEANS)
LINE_INCHES = 0.18
"""Height of one line of a legend: labels are rules, and long."""
HESITATION = ("wait", "hold", "but", "okay", "no", "hmm")
"""The words of the published rule, wherever they stand in a text."""


class Ran(Struct, frozen=True):
    """One run of a problem.

    `tokens` were sampled, probes and what was aborted among them; `prompt_tokens` are those of
    all requests. `seconds` are the block's, a problem; `latency` is the run's own.
    """

    answer: str | None
    is_right: bool
    tokens: int
    aborted_tokens: int
    prompt_tokens: int
    calls: int
    seconds: float
    latency: float
    reason: str
    notes: dict[str, int]


async def as_ran(dynasor: Dynasor, problem: Problem, result: Result, seconds: float) -> Ran:
    """Grade a run."""
    is_right = await dynasor.machine.workers.grade(
        TASK, problem.question, result.answer, problem.answer
    )
    return Ran(
        answer=result.answer,
        is_right=is_right,
        tokens=result.spending.completion_tokens,
        aborted_tokens=result.spending.aborted_tokens,
        prompt_tokens=result.spending.prompt_tokens,
        calls=result.calls,
        seconds=seconds,
        latency=result.seconds,
        reason=result.reason,
        notes=result.notes,
    )


def thinker(cap: int, params: Mapping[str, Any]) -> Callable[[str], Program]:
    """Return what makes chains of thought of so many rounds."""
    return lambda question: ChainOfThought(question, task=TASK, cap=cap, **{**CHAIN, **params})


def has_settled(answers: Sequence[str | None], texts: Sequence[str], window: int) -> bool:
    """Say whether the published rule exits: the last `window` probes agree and none hesitates.

    Answers are compared as texts, which are those of whole numbers here. No answer never agrees.
    """
    latest = answers[-window:]
    if len(latest) < window or None in latest or len(set(latest)) > 1:
        return False
    return not any(word in text.lower() for text in texts[-window:] for word in HESITATION)


@dataclass
class EarlyExit(Program):
    """The published rule of early exit, plainly: chunks, and a probe behind (or beside) each.

    A trace grows by `chunk` tokens a request, each of which sends the prompt and all of the text
    so far again. A probe is a request too, for at most `probe_tokens`; the last `window` of them
    must agree, without a word of hesitation (`has_settled`). `is_beside` sends the probe of the
    text so far along with the next chunk, and decides when both are there; otherwise it waits
    for the chunk. `cap` bounds the chunks. A trace that comes to its cap is closed by one
    more probe, as `ChainOfThought` does it, and probes are greedy as there, so that the rule alone
    makes the difference. https://github.com/hao-ai-lab/Dynasor
    """

    name = "early-exit"

    chunk: int = 64
    window: int = 2
    is_beside: bool = False
    probe_tokens: int = 20
    _text: str = field(default="", init=False, repr=False, compare=False)
    _tokens: int = field(default=0, init=False, repr=False, compare=False)
    _answer: str | None = field(default=None, init=False, repr=False, compare=False)
    _answers: list[str | None] = field(default_factory=list, init=False, repr=False, compare=False)
    _probed: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def execute(self, context: Context) -> Strand:
        """Grow a trace to its end, or until its probes agree."""
        task = context.task
        while self._tokens < self.cap * self.chunk:
            if self.is_beside:
                thread = yield Fork(self._probe(task))
                is_done = yield from self._grow(task)
                yield Join((thread,))
            else:
                is_done = yield from self._grow(task)
            if is_done:
                self._answer = task.extract(self._text.partition(THOUGHT_END)[2])
                return
            if not self.is_beside:
                yield from self._probe(task)
            if has_settled(self._answers, self._probed, self.window):
                self._answer = self._answers[-1]
                return
        if self.is_beside:
            yield from self._probe(task)
        self._answer = self._answers[-1]

    def _grow(self, task: Task) -> Strand:
        """Ask for another chunk; return whether the model ended by itself."""
        sampling = Sampling(self.chunk, CHAIN["temperature"])
        sample: Generated = yield Sample(Generate(self._prompt(task, self._text), sampling))
        self._text += sample.text
        self._tokens += max(1, sample.usage.completion_tokens)
        return sample.finish_reason != "length"

    def _probe(self, task: Task) -> Strand:
        """Ask for the answer so far."""
        asked = self._prompt(task, self._text.partition(THOUGHT_END)[0] + PROBE)
        sampling = Sampling(self.probe_tokens, 0.0, stop=("\n",))
        sample: Generated = yield Sample(Generate(asked, sampling))
        self._answers.append(task.extract(PROBE + sample.text))
        self._probed.append(sample.text)

    def _prompt(self, task: Task, prefix: str) -> Prompt:
        messages = task.prompt(self.question).messages
        rest = (message for message in messages if message.role != "system")
        return Prompt((Message("system", THINK), *rest), prefix)

    def update_certaindex(self) -> dict[str, float]:
        """Return nothing: the rule is its own policy."""
        return {}

    def answer(self) -> Answer | None:
        """Return the answer that it exited with."""
        return None if self._answer is None else Answer(self._answer, self._text)


def rows(
    cells: Sequence[Cell], problems: Sequence[Problem], options: argparse.Namespace, work: Work[Ran]
) -> list[dict[str, Any]]:
    """Return one row a cell: means a problem, and what it saves of the first cell's.

    Intervals are over problems, but for seconds, which belong to whole blocks, over those.
    """
    read = {cell.label: _columns(cell, problems, options, work) for cell in cells}
    first = read[cells[0].label]
    return [
        {
            "label": label,
            "accuracy": row_mean(own["is_right"]),
            "accuracy_change": change(own["is_right"], first["is_right"]),
            "seconds_saved": saved(own["block_seconds"], first["block_seconds"]),
            "tokens_saved": saved(own["tokens"], first["tokens"]),
            "latency_saved": saved(own["latency"], first["latency"]),
            **{name: float(own[name].mean()) for name in MEANS},
            "notes": _notes(label, problems, options, work),
        }
        for label, own in read.items()
    ]


def _columns(
    cell: Cell, problems: Sequence[Problem], options: argparse.Namespace, work: Work[Ran]
) -> dict[str, Numbers]:
    """Return each problem's means over seeds, by name; `block_seconds` by seed and block."""
    ran = [[work[cell.label, seed, one.id] for seed in range(options.seeds)] for one in problems]
    found = {name: column([[getattr(one, name) for one in row] for row in ran]) for name in READ}
    seconds = np.array([[one.seconds for one in row] for row in ran])
    firsts = range(0, len(problems), options.block)
    found["block_seconds"] = np.add.reduceat(seconds, firsts, axis=0).ravel()
    return found


def _notes(
    label: str, problems: Sequence[Problem], options: argparse.Namespace, work: Work[Ran]
) -> dict[str, int]:
    ran = [work[label, seed, one.id] for one in problems for seed in range(options.seeds)]
    return dict(sum((Counter(one.notes) for one in ran), Counter()))


def show_rows(found: Sequence[dict[str, Any]]) -> None:
    """Print rows as Markdown; savings and changes are against the first one."""
    heads = ("", "accuracy %", "points", "tokens", "saved %", "prompt tokens", "calls")
    heads = (*heads, "seconds", "saved %", "latency, s", "saved %", "borne with")
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for row in found:
        cells = (
            row["label"],
            spoken(row["accuracy"]),
            spoken(row["accuracy_change"], "+"),
            f"{row['tokens']:.1f}",
            spoken(row["tokens_saved"]),
            f"{row['prompt_tokens']:.0f}",
            f"{row['calls']:.1f}",
            f"{row['seconds']:.3f}",
            spoken(row["seconds_saved"]),
            f"{row['latency']:.2f}",
            spoken(row["latency_saved"]),
            ", ".join(f"{count} {what}" for what, count in row["notes"].items()),
        )
        print(f"| {' | '.join(cells)} |")


def draw_rows(found: Sequence[dict[str, Any]], target: Path) -> None:
    """Draw accuracy over tokens and over seconds, a point a row."""
    drawn, panels = figure(columns=2, size=(9, 3.4 + LINE_INCHES * len(found)), sharey=True)
    for axes, name in zip(panels, ("tokens", "seconds"), strict=True):
        for row in found:
            one = row["accuracy"]
            ends = [[100 * abs(one["estimate"] - one[key])] for key in ("low", "high")]
            axes.errorbar(
                row[name],
                100 * one["estimate"],
                ends,
                marker="o",
                label=row["label"],
                elinewidth=0.7,
            )
        axes.set(xlabel=f"{name} a problem", xlim=(0, None))
    panels[0].set_ylabel("accuracy, %")
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", frameon=False, fontsize=8)
    save(drawn, target)
