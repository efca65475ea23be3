"""The generative judge: a model asked for one token, `+` or `-`, after a partial solution.

The reward is P(+) / (P(+) + P(-)), as Math-Shepherd (https://arxiv.org/abs/2312.08935) reads its
two labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dynasor.core.types import Generate, Message, Prompt, Sampling
from dynasor.engines.dialects import Dialect, chat_body
from dynasor.engines.wire import Candidate, Completion

__all__ = ["PLAIN_JUDGE", "Judge", "judge_body", "read_reward"]

GOOD, BAD = "+", "-"
# The two labels and whatever a tokenizer puts beside them (" +", "\n+"). vLLM and OpenAI allow 20.
CANDIDATES = 5


@dataclass(frozen=True, slots=True)
class Judge:
    """What makes a model judge.

    `instruction`: a system message in place of the item's own ("" keeps those); `mark`: what
    follows the text to be judged, whose line breaks at the end are then left out ("": nothing).
    """

    instruction: str = ""
    mark: str = ""

    def prompt(self, item: Prompt) -> Prompt:
        """Return what the model is shown."""
        messages, prefix = item.messages, item.prefix
        if self.instruction:
            rest = (message for message in messages if message.role != "system")
            messages = (Message("system", self.instruction), *rest)
        if self.mark:
            prefix = prefix.rstrip("\n") + self.mark
        return Prompt(messages, prefix)


PLAIN_JUDGE = Judge()
"""A model that judges without being told to, like one that was trained for nothing else."""


def judge_body(dialect: Dialect, model: str, item: Prompt, judge: Judge) -> dict[str, Any]:
    """Ask a judge for the one token that follows an item's prefix."""
    prompt = judge.prompt(item)
    sampling = Sampling(max_tokens=1, temperature=0.0, has_logprobs=True)
    body = chat_body(dialect, model, Generate(prompt, sampling))
    return body | {"top_logprobs": CANDIDATES, "stream": False}


def read_reward(answer: Completion) -> float | None:
    """Return the reward in [0, 1]; None if neither label is among the likeliest tokens.

    Of two labels the one that is not listed counts as impossible.
    """
    good = bad = 0.0
    for candidate in _candidates(answer):
        label = candidate.token.strip()
        if label == GOOD:
            good += _probability(candidate)
        elif label == BAD:
            bad += _probability(candidate)
    return good / (good + bad) if good + bad > 0.0 else None


def _candidates(answer: Completion) -> list[Candidate]:
    logprobs = answer.choices[0].logprobs if answer.choices else None
    tokens = (logprobs.content if logprobs is not None else None) or []
    return (tokens[0].top_logprobs or []) if tokens else []


def _probability(candidate: Candidate) -> float:
    if candidate.logprob is None or not math.isfinite(candidate.logprob):
        return 0.0
    return math.exp(min(candidate.logprob, 0.0))
