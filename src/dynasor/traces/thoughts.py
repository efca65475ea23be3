"""Breadth-first tree search over thoughts, as its authors log it, made into a tree with units.

At every step each kept path is continued by several candidates, every candidate is valued, and
the `width` best are kept, ties in the order they were made (Tree of Thoughts, arXiv 2305.10601,
algorithm 1; princeton-nlp/tree-of-thought-llm).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import Struct, field

from dynasor.traces.format import Node, Tree, TreeLine
from dynasor.traces.lines import TraceError

__all__ = ["Search", "tree_line"]

GREATEST_VALUE = 60.0
"""Three votes, each worth 20 for "sure", 1 for "likely" and 0.001 for "impossible"; 0 stands for a
last step without an answer and for a candidate that was made before (`value_outputs_unwrap` and
`get_values` of that project).
"""
CHARACTERS_PER_TOKEN = 2.6
"""For text of this kind: the recorded chains of thought on the Game of 24 have as many."""
REFERENCE = "24"

_ANSWER = re.compile(r"answer:\s*(.*\S)", re.IGNORECASE)


class Step(Struct, frozen=True):
    """One step: `new_ys` continue `ys`, each is valued, and `select_new_ys` are kept."""

    x: str
    ys: tuple[str, ...]
    new_ys: tuple[str, ...]
    values: tuple[float, ...]
    select_new_ys: tuple[str, ...]


class Info(Struct, frozen=True):
    """The verdict on one of the paths that are left: 1 is right, 0 is wrong."""

    r: float


class Search(Struct, frozen=True):
    """One line of the log; `usage_so_far` is what the run had spent by the end of this search."""

    id: str
    steps: tuple[Step, ...]
    infos: tuple[Info, ...]
    usage_so_far: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Level:
    """One step by places.

    `parents[i]` is the path that candidate i continues, `kept[j]` the candidate that becomes the
    j-th path of the next step. `idle` are last steps without an answer: nothing hangs on them.
    """

    values: Sequence[float]
    parents: list[int]
    kept: list[int]
    idle: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Narrow:
    """A search of some width within the recorded one: the candidates that it makes at each step.

    `is_whole` says that it keeps no path that the recorded search dropped, idle ones excepted.
    """

    made: list[set[int]]
    is_whole: bool

    def has_all(self, other: _Narrow) -> bool:
        """Say if this search makes whatever the other one makes."""
        return all(ours >= theirs for ours, theirs in zip(self.made, other.made, strict=True))


def tree_line(search: Search) -> TreeLine:
    """Make one question's tree; raises `TraceError` for a log that contradicts itself.

    The knob is the width. A node's `unit` is the smallest width whose search, given the recorded
    candidates and values, makes it. `extra["exact_knobs"]` lists the widths whose search is
    recorded whole and makes just the nodes with `unit <= knob`; at the others a narrower search
    keeps a path that the recorded one dropped, or one that a wider search drops. `reward` is the
    value divided by the greatest, 60. Tokens are estimated, one for 2.6 characters of the step;
    what proposing and valuing cost is in `extra["usage_so_far"]` only.
    """
    levels = _levels(search)
    knob = max(len(level.kept) for level in levels)
    if knob < 1:
        raise TraceError("no step keeps anything (`select_new_ys`)")
    searches = [_narrow(levels, width) for width in range(1, knob)]
    everything = [set(range(len(level.parents))) for level in levels]
    searches.append(_Narrow(everything, is_whole=True))
    exact = [
        width
        for width, one in enumerate(searches, start=1)
        if one.is_whole and all(one.has_all(other) for other in searches[: width - 1])
    ]
    extra: dict[str, Any] = {"exact_knobs": exact}
    if search.usage_so_far:
        extra["usage_so_far"] = search.usage_so_far
    tree = Tree("tot-bfs", knob, tuple(_nodes(search, levels, searches)))
    return TreeLine(search.id, search.steps[0].x, (tree,), REFERENCE, extra)


def _levels(search: Search) -> list[_Level]:
    levels: list[_Level] = []
    paths: tuple[str, ...] = ("",)
    for depth, step in enumerate(search.steps):
        where = f"steps[{depth}]"
        if step.ys != paths:
            raise TraceError(f"{where}.ys: not what the step before it kept")
        if len(step.values) != len(step.new_ys):
            raise TraceError(
                f"{where}.values: {len(step.values)} values of {len(step.new_ys)} candidates"
            )
        wild = [one for one in step.values if not 0 <= one <= GREATEST_VALUE]
        if wild:
            raise TraceError(f"{where}.values: {wild[0]}; they are from 0 to {GREATEST_VALUE:g}")
        is_last = depth == len(search.steps) - 1
        idle = [is_last and not _ANSWER.search(text) for text in step.new_ys]
        levels.append(
            _Level(
                step.values,
                _parents(where, step),
                _kept(where, step),
                frozenset(place for place, is_idle in enumerate(idle) if is_idle),
            )
        )
        paths = step.select_new_ys
    if not levels or len(search.infos) != len(paths):
        raise TraceError(f"infos: {len(search.infos)} verdicts on {len(paths)} paths")
    return levels


def _parents(where: str, step: Step) -> list[int]:
    """Return the path that each candidate continues; they stand in the order of the paths."""
    parents, last = [], 0
    for index, text in enumerate(step.new_ys):
        order = (*range(last, len(step.ys)), *range(last))
        found = next((place for place in order if text.startswith(step.ys[place])), None)
        if found is None:
            raise TraceError(f"{where}.new_ys[{index}]: it continues none of {where}.ys")
        parents.append(found)
        last = found
    return parents


def _kept(where: str, step: Step) -> list[int]:
    """Return the candidates that are kept, in their order; of equal texts the better one first."""
    best = _best(step.values, range(len(step.new_ys)))
    kept: list[int] = []
    for index, text in enumerate(step.select_new_ys):
        same = (place for place in best if step.new_ys[place] == text and place not in kept)
        found = next(same, None)
        if found is None:
            raise TraceError(f"{where}.select_new_ys[{index}]: it is none of {where}.new_ys")
        kept.append(found)
    return kept


def _narrow(levels: Sequence[_Level], width: int) -> _Narrow:
    """Repeat the search with a smaller width, as far as it is recorded."""
    made: list[set[int]] = []
    paths, is_whole = {0}, True
    for level in levels:
        made.append({place for place, path in enumerate(level.parents) if path in paths})
        best = _best(level.values, sorted(made[-1]))[:width]
        places = {candidate: place for place, candidate in enumerate(level.kept)}
        paths = {places[one] for one in best if one in places}
        is_whole &= places.keys() | level.idle >= set(best)
    return _Narrow(made, is_whole)


def _best(values: Sequence[float], places: Sequence[int]) -> list[int]:
    return sorted(places, key=lambda place: -values[place])


def _nodes(search: Search, levels: Sequence[_Level], searches: Sequence[_Narrow]) -> Iterator[Node]:
    verdicts = dict(zip(levels[-1].kept, search.infos, strict=True))
    above: list[int] = []  # the nodes of the paths that this step continues
    first = 0
    for depth, (step, level) in enumerate(zip(search.steps, levels, strict=True)):
        for place, text in enumerate(step.new_ys):
            path = level.parents[place]
            thought = text.removeprefix(step.ys[path])
            is_finished = depth == len(levels) - 1 and place in verdicts
            answer = _ANSWER.search(thought) if is_finished else None
            yield Node(
                text=thought,
                tokens=max(round(len(thought) / CHARACTERS_PER_TOKEN), 1),
                unit=next(n for n, one in enumerate(searches, 1) if place in one.made[depth]),
                parent=above[path] if above else None,
                reward=step.values[place] / GREATEST_VALUE,
                is_finished=is_finished,
                answer=answer[1] if answer else None,
                is_right=bool(verdicts[place].r) if is_finished else None,
            )
        above = [first + place for place in level.kept]
        first += len(step.new_ys)
