"""Recorded searches as `Recorded` questions: a unit of the knob is a sample, in its order."""

from __future__ import annotations

from collections.abc import Sequence

from dynasor.core.errors import UserError
from dynasor.evaluate.recorded import Recorded
from dynasor.traces import Node, Trace, Tree, TreeLine

__all__ = ["search_units"]


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
        tokens=tuple(
            sum(node.tokens for node in tree.nodes if node.unit == unit)
            for unit in range(1, tree.knob + 1)
        ),
        quality=tuple(float(answer in right) for answer in answers),
        rewards=tuple(0.0 if one is None else one.reward or 0.0 for one in best),
        is_ordered=True,
    )


def _best(nodes: Sequence[Node], unit: int) -> Node | None:
    """Return a unit's finished path of the highest reward that has an answer."""
    finished = [
        node for node in nodes if node.unit == unit and node.is_finished and node.answer is not None
    ]
    return max(finished, key=lambda node: node.reward or 0.0, default=None)
