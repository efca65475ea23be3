"""Train the byte-level BPE tokenizer of the embedded model.

Usage: python training/tokenizer.py OUT.json [--vocab 768]

The splitting expression is the one llama.cpp calls ``qwen2``: with it llama.cpp, transformers
and vLLM cut the same text into the same tokens, and every digit is a token of its own.
"""

import argparse
from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer, pre_tokenizers, trainers

from dynasor.datasets import problems
from vocabulary import SPECIAL, build


def train(vocab_size: int, problem_count: int = 30_000) -> Tokenizer:
    """Learn the merges from training problems, questions and solutions alike."""
    tokenizer = build([], {})
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = (f"{p.question}\n{p.solution}" for p in islice(problems("train", 0), problem_count))
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def main() -> None:
    """Train, save and report the length of an average problem."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--vocab", type=int, default=768)
    options = parser.parse_args()
    tokenizer = train(options.vocab)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(options.out))
    sample = list(islice(problems("train", 1), 4000))
    questions = sorted(len(tokenizer.encode(p.question).ids) for p in sample)
    solutions = sorted(len(tokenizer.encode(p.solution).ids) for p in sample)
    for name, lengths in (("question", questions), ("solution", solutions)):
        mean = sum(lengths) / len(lengths)
        print(
            f"{name}: mean {mean:.1f}, 99% {lengths[len(lengths) * 99 // 100]}, max {lengths[-1]}"
        )


if __name__ == "__main__":
    main()
