"""Traces to read and write: headers, lines of every kind, and strategies for them."""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st

from dynasor.traces import (
    VERSION,
    Chain,
    ChainLine,
    Header,
    Node,
    Probe,
    Sample,
    SamplingLine,
    Tree,
    TreeLine,
)

__all__ = ["chain_line", "header", "lines", "sampling_line", "text_of", "tree_line", "write"]


def header(kind="sampling", **others):
    """A header of a kind."""
    return Header(dynasor_trace=VERSION, kind=kind, workload="toys", model="toy", **others)


def sampling_line(name="q1", answers=("1", "2", None), reference="1", **others):
    """A question with one sample an answer, of 5 tokens each."""
    samples = tuple(Sample(f"so {answer}", 5, answer) for answer in answers)
    return SamplingLine(name, "1+0?", samples, reference, **others)


def chain_line(name="q1", at=(10, 20)):
    """A question with one chain of 30 tokens, probed at some places for 2 tokens each."""
    probes = tuple(Probe(place, "1", 2, -0.5) for place in at)
    return ChainLine(name, "1+0?", (Chain("hm, so 1", 30, "1", probes),), "1")


def tree_line(name="q1", nodes=None, knob=2):
    """A question with one search of width 2: two first steps, each with one child."""
    nodes = nodes or (
        Node("a", 4, 1, None, 0.9),
        Node("b", 4, 1, None, 0.4),
        Node("aa", 4, 1, 0, 0.8, is_finished=True, answer="1", is_right=True),
        Node("ba", 4, 2, 1, 0.2, is_finished=True),
    )
    return TreeLine(name, "1+0?", (Tree("toy", knob, tuple(nodes)),), "1")


def text_of(*objects):
    """Their JSON, a line each; bytes are taken as they are."""
    return b"".join(
        one if isinstance(one, bytes) else msgspec.json.encode(one) + b"\n" for one in objects
    )


def write(path, *objects):
    """Write that into a file and return its path."""
    path.write_bytes(text_of(*objects))
    return path


_WORDS = st.text(max_size=8)
_MAYBE = st.none() | _WORDS
_TOKENS = st.integers(0, 10**6)
_SEEDS = st.none() | st.integers(-(2**63), 2**63)
_LOGPROBS = st.none() | st.floats(-1e6, 0)
_REWARDS = st.none() | st.floats(0, 1)
_VERDICTS = st.none() | st.booleans()

_SAMPLES = st.builds(
    Sample,
    _WORDS,
    _TOKENS,
    _MAYBE,
    mean_logprob=_LOGPROBS,
    reward=_REWARDS,
    step_rewards=st.lists(st.floats(0, 1), max_size=3).map(tuple),
    is_right=_VERDICTS,
    rank=st.none() | st.integers(1, 9),
    seed=_SEEDS,
    finish_reason=_WORDS,
)
_PROBES = st.lists(st.builds(Probe, _TOKENS, _MAYBE, _TOKENS, _LOGPROBS), max_size=4).map(
    lambda probes: tuple(sorted(probes, key=lambda probe: probe.at))
)
_CHAINS = st.builds(Chain, _WORDS, _TOKENS, _MAYBE, _PROBES, _SEEDS)
_EXTRAS = st.dictionaries(_WORDS, _WORDS | st.integers(-9, 9) | st.none(), max_size=2)


@st.composite
def _trees(draw):
    nodes, knob = [], draw(st.integers(1, 4))
    for index in range(draw(st.integers(0, 6))):
        parent = draw(st.none() | st.integers(0, index - 1)) if index else None
        least = 1 if parent is None else nodes[parent].unit
        unit = draw(st.integers(least, knob))
        nodes.append(
            Node(
                draw(_WORDS),
                draw(_TOKENS),
                unit,
                parent,
                draw(_REWARDS),
                draw(st.booleans()),
                draw(_MAYBE),
                draw(_VERDICTS),
            )
        )
    return Tree(draw(_WORDS), knob, tuple(nodes), draw(_SEEDS))


_PARTS = {
    "sampling": (SamplingLine, _SAMPLES),
    "chain": (ChainLine, _CHAINS),
    "tree": (TreeLine, _trees()),
}


def lines(kind):
    """Strategy: some lines of a kind with ids of their own."""
    cls, parts = _PARTS[kind]
    one = st.builds(
        cls,
        st.text(min_size=1, max_size=4),
        _WORDS,
        st.lists(parts, max_size=3).map(tuple),
        _MAYBE,
        _EXTRAS,
    )
    return st.lists(one, max_size=4, unique_by=lambda line: line.id)
