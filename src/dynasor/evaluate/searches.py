"""Recorded searches as `Recorded` questions: step by step, and a unit of the knob as a sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from dynasor.core.errors import UserError
from dynasor.evaluate.recorded import Recorded, RecordedStep
from dynasor.traces import Node, Sample, SamplingLine, Trace, Tree, TreeLine

__all__ = ["finished_paths", "search_units", "with_searches"]


def search_units(trace: Trace, *, is_exact: bool = False) -> list[Recorded]:
    """Turn the first search of every question into units: what one more of the knob brings.

    A unit costs the tokens of the nodes that it made. Its answer and reward are those of its best
    finished path, by reward; a unit that finishes none has no answer and reward 0. Stopping after
    k units is the search with the smaller knob k, as far as the recording knows it. Answers are
    told apart by their text, and a class is right where its paths were recorded as right.

    Some recordings cannot tell what every smaller knob would have made, and say so: the line's
    `extra["exact_knobs"]` lists the knobs that they can. `is_exact` leaves the others out.
    Raises `UserError` for a trace of another kind.
    """
    if trace.header.kind != "tree":
        raise UserError(f"{trace.path} is a trace of kind {trace.header.kind!r}; this needs 'tree'")
    lines = [line for line in trace.lines if isinstance(line, TreeLine) and line.trees]
    if is_exact:
        lines = [line for line in lines if _is_exact(line)]
    return [_units(line, line.trees[0]) for line in lines]


def finished_paths(line: TreeLine) -> SamplingLine:
    """Return the finished paths of all searches as samples, to be compared and graded as such."""
    samples = tuple(
        Sample(node.text, 0, node.answer, reward=node.reward, is_right=node.is_right)
        for node in _finished(line)
    )
    return SamplingLine(line.id, line.question, samples, line.reference, line.extra)


def with_searches(line: TreeLine, paths: Recorded, step_end: str) -> Recorded:
    """Return a question with its searches; `paths` are its finished paths, sorted and graded.

    `step_end` is what ended the steps when they were made. The question's samples are the units of
    its first search, as `search_units` has them.
    """
    groups = iter(paths.classes)
    searches = tuple(
        tuple(
            _step(node, next(groups) if node.is_finished else None, step_end) for node in tree.nodes
        )
        for tree in line.trees
    )
    if not searches:
        return paths
    tree, steps = line.trees[0], searches[0]
    units = range(1, tree.knob + 1)
    best = [_best(tree.nodes, unit) for unit in units]
    places = [None if one is None else tree.nodes.index(one) for one in best]
    return replace(
        paths,
        classes=tuple(None if place is None else steps[place].group for place in places),
        tokens=_spent(tree),
        rewards=tuple(0.0 if one is None else one.reward or 0.0 for one in best),
        is_ordered=True,
        searches=searches,
    )


def _finished(line: TreeLine) -> Iterator[Node]:
    return (node for tree in line.trees for node in tree.nodes if node.is_finished)


def _step(node: Node, group: int | None, step_end: str) -> RecordedStep:
    text = node.text.removesuffix(step_end)
    return RecordedStep(
        tokens=node.tokens,
        parent=-1 if node.parent is None else node.parent,
        reward=node.reward,
        group=group,
        is_finished=node.is_finished,
        blank=None if node.text.strip() or node.is_cut else text[:1] and " ",
        is_cut=node.is_cut,
    )


def _is_exact(line: TreeLine) -> bool:
    knobs = line.extra.get("exact_knobs")
    return knobs is None or len(knobs) == line.trees[0].knob


def _units(line: TreeLine, tree: Tree) -> Recorded:
    best = [_best(tree.nodes, unit) for unit in range(1, tree.knob + 1)]
    answers = list(dict.fromkeys(one.answer for one in best if one is not None))
    right = {one.answer for one in best if one is not None and one.is_right}
    return Recorded(
        id=line.id,
        question=line.question,
        classes=tuple(None if one is None else answers.index(one.answer) for one in best),
        tokens=_spent(tree),
        quality=tuple(float(answer in right) for answer in answers),
        rewards=tuple(0.0 if one is None else one.reward or 0.0 for one in best),
        is_ordered=True,
    )


def _spent(tree: Tree) -> tuple[int, ...]:
    """Return what each unit of a search cost."""
    return tuple(
        sum(node.tokens for node in tree.nodes if node.unit == unit)
        for unit in range(1, tree.knob + 1)
    )


def _best(nodes: Sequence[Node], unit: int) -> Node | None:
    """Return a unit's finished path of the highest reward that has an answer."""
    finished = [
        node for node in nodes if node.unit == unit and node.is_finished and node.answer is not None
    ]
    return max(finished, key=lambda node: node.reward or 0.0, default=None)
