"""Measure the embedded model through llama.cpp: how often it is right, and how fast it is.

Usage: python training/measure.py MODEL.gguf [--questions 200] [--samples 20]

Every sample is one chat request at temperature 0.7 with no other filter on the distribution;
``--greedy`` prints the greedy answers to a few held-out questions instead.
"""

import argparse
import json
import re
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xllamacpp

from dynasor.datasets import Problem, heldout

SLOTS = 32
MAX_TOKENS = 100
BOXED = re.compile(r"\\boxed\{(\d+)\}")


@dataclass(frozen=True, slots=True)
class Sample:
    """One generation: its text and its length in tokens."""

    text: str
    tokens: int

    @property
    def answer(self) -> str | None:
        """The last boxed number, or None."""
        found = BOXED.findall(self.text)
        return found[-1] if found else None


def serve(path: Path, threads: int, port: int) -> xllamacpp.Server:
    """Load the model into this process with 32 slots of 256 tokens."""
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * 256
    params.kv_unified = True
    params.warmup = False
    params.cpuparams.n_threads = threads
    params.port = port
    return xllamacpp.Server(params)


def ask(address: str, question: str, seed: int, **options: float) -> Sample:
    """Send one chat request and return the generation."""
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": question}],
        "max_tokens": MAX_TOKENS,
        "seed": seed,
        **options,
    }
    request = urllib.request.Request(
        f"{address}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=600) as reply:
        answer = json.load(reply)
    text = answer["choices"][0]["message"]["content"]
    return Sample(text, answer["usage"]["completion_tokens"])


def majority(samples: list[Sample]) -> str | None:
    """Return the commonest answer; the earliest one wins a tie."""
    answers = Counter(sample.answer for sample in samples if sample.answer is not None)
    return answers.most_common(1)[0][0] if answers else None


def report(asked: list[Problem], drawn: list[list[Sample]], seconds: float) -> None:
    """Print the shares, overall and by number of steps."""
    rows = list(zip(asked, drawn, strict=True))
    every = [sample for samples in drawn for sample in samples]
    tokens = sum(sample.tokens for sample in every)
    right = [sum(s.answer == p.answer for s in samples) for p, samples in rows]
    voted = [majority(samples) == p.answer for p, samples in rows]
    unanimous = [len({s.answer for s in samples}) == 1 for samples in drawn]
    wrong_together = sum(u and not v for u, v in zip(unanimous, voted, strict=True))
    count = len(rows)
    print(f"questions {count}, samples each {len(drawn[0])}")
    print(f"single-sample accuracy {sum(right) / len(every):.3f}")
    print(f"majority accuracy {sum(voted) / count:.3f}")
    print(f"unanimous {sum(unanimous) / count:.3f} (of these wrong: {wrong_together})")
    print(f"never right {sum(r == 0 for r in right) / count:.3f}")
    print(f"no answer {sum(s.answer is None for s in every) / len(every):.4f}")
    print(f"tokens per sample {tokens / len(every):.1f}")
    print(f"tokens per second {tokens / seconds:.0f} ({SLOTS} slots)")
    for steps in sorted({p.steps for p in asked}):
        mine = [i for i, p in enumerate(asked) if p.steps == steps]
        single = sum(right[i] for i in mine) / (len(mine) * len(drawn[0]))
        vote = sum(voted[i] for i in mine) / len(mine)
        never = sum(right[i] == 0 for i in mine) / len(mine)
        agree = sum(unanimous[i] for i in mine) / len(mine)
        print(
            f"  {steps} steps: single {single:.2f} majority {vote:.2f} "
            f"never right {never:.2f} unanimous {agree:.2f}"
        )


def main() -> None:
    """Read the options, sample and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--temperature", type=float, default=0.7)
    # More threads than idle cores make llama.cpp several times slower, not faster.
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--port", type=int, default=18093)
    parser.add_argument("--greedy", action="store_true")
    options = parser.parse_args()
    server = serve(options.model, options.threads, options.port)
    asked = heldout(options.questions)
    if options.greedy:
        for problem in asked:
            sample = ask(server.listening_address, problem.question, 0, temperature=0.0)
            print(json.dumps([problem.question, sample.text, sample.answer == problem.answer]))
        return
    plain = {"temperature": options.temperature, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    jobs = [(p.question, seed) for p in asked for seed in range(options.samples)]
    began = time.monotonic()
    with ThreadPoolExecutor(SLOTS) as pool:
        every = list(pool.map(lambda job: ask(server.listening_address, *job, **plain), jobs))
    seconds = time.monotonic() - began
    size = options.samples
    report(asked, [every[i * size : (i + 1) * size] for i in range(len(asked))], seconds)


if __name__ == "__main__":
    main()
