"""The trace format, version 1: what is written down of a model's outputs, one question a line.

A trace is a text file in UTF-8, one JSON object a line; a name that ends in `.gz` means gzip. The
first line is the `Header`; what the others are depends on its `kind`:

    sampling   `SamplingLine`   many independent samples of one question
    chain      `ChainLine`      long chains of thought, with answers probed on the way
    tree       `TreeLine`       searches, node by node, with rewards

Unknown fields are ignored, so that a later minor addition can be read; another `version` is not.
docs/traces.md has the format for people.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

__all__ = [
    "VERSION",
    "Chain",
    "ChainLine",
    "Header",
    "Kind",
    "Line",
    "Node",
    "Probe",
    "Sample",
    "SamplingLine",
    "Tree",
    "TreeLine",
]

VERSION = 1

Kind = Literal["sampling", "chain", "tree"]
Count = Annotated[int, Meta(ge=0)]
Place = Annotated[int, Meta(ge=1)]
Reward = Annotated[float, Meta(ge=0.0, le=1.0)]
Name = Annotated[str, Meta(min_length=1)]


class Header(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the whole file has in common.

    `workload` names the questions (a data set), `model` who answered them; `task` says how
    answers are compared. `sampling` holds the parameters of the recording (`temperature`,
    `max_tokens`, ...), `seed` its seed. `has_estimated_tokens`: token counts are estimates.
    `source` says where the data come from and under which licence.
    """

    dynasor_trace: int
    kind: Kind
    workload: str
    model: str
    task: str = "math"
    seed: int | None = None
    sampling: dict[str, Any] = field(default_factory=dict)
    has_estimated_tokens: bool = False
    source: str = ""


class Sample(Struct, frozen=True, omit_defaults=True):
    """One completion.

    `answer` None: it gives none. `mean_logprob`: of its tokens, natural logarithm. `reward`: of
    the whole completion, `step_rewards`: of its steps in order. `is_right`: a verdict that came
    with the data, where no reference can be compared. `rank`: its place in a preference ranking
    of the question's samples, 1 is best. `seed`: what it was drawn with.
    """

    text: str
    tokens: Count
    answer: str | None = None
    mean_logprob: float | None = None
    reward: Reward | None = None
    step_rewards: tuple[Reward, ...] = ()
    is_right: bool | None = None
    rank: Place | None = None
    seed: int | None = None
    finish_reason: str = "stop"


class SamplingLine(Struct, frozen=True, omit_defaults=True):
    """One question with samples that may be put in any order.

    `reference` is the right answer, None where nobody knows it; `extra` what belongs to the
    question and has no field of its own (`own_tests` of the task `code`, a `level`, ...).
    """

    id: Name
    question: str
    samples: tuple[Sample, ...]
    reference: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


class Probe(Struct, frozen=True, omit_defaults=True):
    """An answer asked for after `at` tokens of a chain; it cost `tokens` more, beside the chain."""

    at: Count
    answer: str | None = None
    tokens: Count = 0
    mean_logprob: float | None = None


class Chain(Struct, frozen=True, omit_defaults=True):
    """One chain of thought: its text, its tokens, its final answer, and probes in order of `at`.

    `finish_reason` says why it ended (`stop`, `length`; `cap`: the recording had no more rounds).
    `is_elicited`: it gives no answer by itself, `answer` is that of its last probe.
    """

    text: str
    tokens: Count
    answer: str | None = None
    probes: tuple[Probe, ...] = ()
    seed: int | None = None
    finish_reason: str = "stop"
    is_elicited: bool = False


class ChainLine(Struct, frozen=True, omit_defaults=True):
    """One question with one or more chains of thought."""

    id: Name
    question: str
    chains: tuple[Chain, ...]
    reference: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


class Node(Struct, frozen=True, omit_defaults=True):
    """One step of a search.

    `parent` is the place of its parent in the tree's list (None: a first step), which must stand
    before it. `tokens` is what this step alone cost. `unit` is the unit of the knob that made it,
    from 1: the iteration, or the rank of its path in a search of some width. A search with a
    smaller knob `k` would have made exactly the nodes with `unit <= k`. `answer` is given at
    finished paths only (`is_finished`), None there where the path has none. `is_right`: a verdict
    that came with the data. `seed`: what it was drawn with; the steps of one call share it.
    `is_cut`: the model was stopped here by the limit of tokens.
    """

    text: str
    tokens: Count
    unit: Place = 1
    parent: Count | None = None
    reward: Reward | None = None
    is_finished: bool = False
    answer: str | None = None
    is_right: bool | None = None
    seed: int | None = None
    is_cut: bool = False


class Tree(Struct, frozen=True, omit_defaults=True):
    """One search by `algorithm` with its largest knob; nodes in the order they were made."""

    algorithm: str
    knob: Place
    nodes: tuple[Node, ...]
    seed: int | None = None

    def at(self, knob: int) -> tuple[Node, ...]:
        """Return what the search would have made with a smaller knob, in order.

        The places that `Node.parent` names stay those of `nodes`: a kept node's parent is kept,
        since it cannot be younger.
        """
        return tuple(node for node in self.nodes if node.unit <= knob)


class TreeLine(Struct, frozen=True, omit_defaults=True):
    """One question with one or more searches."""

    id: Name
    question: str
    trees: tuple[Tree, ...]
    reference: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


Line = SamplingLine | ChainLine | TreeLine
