"""Train the byte-level BPE tokenizer of the embedded model.

Usage: python training/tokenizer.py OUT.json [--vocab 768]

The splitting expression is the one llama.cpp calls ``qwen2``: with it llama.cpp, transformers
and vLLM cut the same text into the same tokens, and every digit is a token of its own.
"""

import argparse
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

from tokenizers import Tokenizer, pre_tokenizers, trainers

from documents import LIMITS, judge, solve, think_at_length
from dynasor.datasets import problems
from dynasor.datasets.arithmetic.slips import attempt
from dynasor.datasets.arithmetic.thoughts import think
from vocabulary import RESERVED, build


def texts(count: int) -> Iterator[str]:
    """Yield training problems with their solutions, and every third with a thinking trace."""
    rng = Random(0)
    for index, problem in enumerate(islice(problems("train", 0, limit=LIMITS), count)):
        yield f"{problem.question}\n{problem.solution}"
        if index % 3 == 0:
            yield think(problem, rng).text


def train(vocab_size: int, problem_count: int = 30_000) -> Tokenizer:
    """Learn the merges."""
    tokenizer = build([], {})
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=RESERVED,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(problem_count), trainer)
    learned = json.loads(tokenizer.to_str())["model"]
    return build([tuple(merge) for merge in learned["merges"]], learned["vocab"])


def main() -> None:
    """Train, save and report the length of an average problem."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--vocab", type=int, default=768)
    options = parser.parse_args()
    tokenizer = train(options.vocab)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(options.out))
    rng = Random(1)
    documents = {
        "solve": lambda problem: solve(tokenizer, problem, rng),
        "think": lambda problem: think_at_length(tokenizer, problem, rng),
        "judge": lambda problem: judge(tokenizer, problem, attempt(problem, rng), rng),
    }
    sample = list(islice(problems("train", 1, limit=LIMITS), 3000))
    for name, document in documents.items():
        lengths = sorted(len(document(problem).ids) for problem in sample)
        mean, last = sum(lengths) / len(lengths), lengths[-1]
        print(
            f"{name}: mean {mean:.0f} tokens, 99% {lengths[len(lengths) * 99 // 100]}, max {last}"
        )


if __name__ == "__main__":
    main()
