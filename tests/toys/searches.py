"""Searches on a stage: an engine that says what a script has for each path, and a judge."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import nan

import msgspec
from toys.stage import EVEN
from toys.words import compare, said

from dynasor.core.types import Score, Scored, Usage

__all__ = ["FLAWS", "Script", "depth_of", "endless", "policy_of", "search", "tree_holds", "unfold"]

FLAWS = {
    "nan": lambda items: Scored((nan,) * items),
    "too many": lambda items: Scored((0.9,) * (items + 1)),
    "none at all": lambda items: Scored(()),
    "above 1": lambda items: Scored((1.5,) * items),
    "below 0": lambda items: Scored((-0.1,) * items),
    "refused": lambda items: None,
}
"""What a broken judge says of so many items; None: the call fails for good."""


def endless(text, tokens=10):
    """A completion that ran into its limit of tokens."""
    return msgspec.structs.replace(said(text, tokens), finish_reason="length")


def policy_of(decide):
    """A policy that decides so, of its view."""
    return msgspec.defstruct("Made", [], namespace={"decide": lambda self, view: decide(view)})


@dataclass
class Script:
    """What an engine says on each path, in the order of the calls, the last one for ever.

    `steps` maps a path to texts or `Generated`; None for a call that fails for good. `rewards`
    maps a path to its reward, 0.5 unless told; `judge` says instead what so many items come to.
    `judged` are the texts of each `Score`.
    """

    steps: dict
    rewards: dict = field(default_factory=dict)
    judge: object = None
    judged: list = field(default_factory=list)
    _asked: Counter = field(default_factory=Counter)

    def __call__(self, work):
        if isinstance(work, Score):
            texts = [item.prefix for item in work.items]
            self.judged.append(texts)
            if self.judge is not None:
                return self.judge(len(texts))
            rewards = tuple(self.rewards.get(text, 0.5) for text in texts)
            return Scored(rewards, Usage(5, 1))
        prefix = work.prompt.prefix
        says = self.steps[prefix]
        number = self._asked[prefix]
        self._asked[prefix] += 1
        return says[min(number, len(says) - 1)]

    def end(self, on, call):
        """End a call as the script has it."""
        output = self(on.live[call].call.work)
        if output is None:
            on.fail(call, "EngineRefused", is_retryable=False)
        else:
            on.finish(call, output)

    def play(self, on, steps=1000):
        """End the oldest call, and so on, until nothing runs or so many calls have ended."""
        while steps and (on.live or on.compares):
            steps -= 1
            for program in list(on.compares):
                asked = on.compares[program]
                on.verdict(program, *compare(asked.task, asked.new, asked.representatives))
            for call in on.calls[:1]:
                on.cancel(call) if call in on.aborted else self.end(on, call)


def search(on, kind, policy=EVEN, deadline_seconds=None, **params):
    """Start a search for words, with a judge; return its name and the program that runs."""
    on.pool("reward", judge=4)
    everything = {"question": "q", "task": "words", **params}
    name = on.arrive(spec=kind, policy=policy, params=everything, deadline_seconds=deadline_seconds)
    return name, on.run(name).program


def tree_holds(program):
    """Assert that parents stand before their children, whose texts go on from theirs."""
    seen = set()
    for node in program.nodes:
        parent = node.parent
        assert id(parent) in seen or (parent.parent is None and parent.text == "")
        assert node.text.startswith(parent.text)
        assert len(node.text) > len(parent.text) or program.step_end not in node.text
        assert not parent.is_finished
        assert depth_of(node) <= program.max_steps
        assert 1 <= node.unit <= program.cap
        assert node.reward is None or 0.0 <= node.reward <= 1.0
        seen.add(id(node))


def depth_of(node):
    """How many steps its path has."""
    return 0 if node.parent is None else 1 + depth_of(node.parent)


def unfold(program):
    """Each node's own step with its depth, in the order they were made."""
    return [(depth_of(node), node.text[len(node.parent.text) :]) for node in program.nodes]
