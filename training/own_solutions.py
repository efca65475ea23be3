"""The model's own solutions while it is trained, graded line by line: what its judge must tell."""

from itertools import groupby

import torch
from tokenizers import Tokenizer

from dynasor.datasets import Problem
from dynasor.datasets.arithmetic.slips import Attempt, grade
from model import Llama, sample
from vocabulary import END, SOLVE

TEMPERATURE = 0.9  # a little above the usual 0.7, for more that is wrong
MAX_TOKENS, ROWS = 90, 128


def own_attempts(
    model: Llama, tokenizer: Tokenizer, problems: list[Problem], device: str
) -> list[Attempt]:
    """Sample one solution a problem and grade it; prompts of one length are read together."""
    end = tokenizer.token_to_id(END)
    prompts = [tokenizer.encode(f"{SOLVE}{p.question}\n").ids for p in problems]
    order = sorted(range(len(problems)), key=lambda i: len(prompts[i]))
    found: dict[int, Attempt] = {}
    for _, same in groupby(order, key=lambda i: len(prompts[i])):
        indices = list(same)
        for at in range(0, len(indices), ROWS):
            part = indices[at : at + ROWS]
            ids = torch.tensor([prompts[i] for i in part], device=device)
            for i, tokens in zip(
                part, sample(model, ids, end, MAX_TOKENS, TEMPERATURE), strict=True
            ):
                text = tokenizer.decode(tokens, skip_special_tokens=False)
                found[i] = grade(problems[i], text.split("\n"))
    return [found[i] for i in range(len(problems))]
