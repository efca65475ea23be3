"""Train the embedded model on generated word problems.

Usage: python training/train.py --tokenizer TOK.json --out DIR [--minutes 50] [--workers 2]

The learning rate follows a cosine over *wall time*, so a run of any length ends fully annealed.
The checkpoint DIR/checkpoint.pt is rewritten every minute; the same command resumes from it.
"""

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from dynasor.datasets import Problem, heldout, problems
from model import Llama, Shape
from vocabulary import END, SOLVE
from workers import Workers, start_workers

GROUPS, ROWS = 4, 12  # 48 problems a step, about 4,500 tokens
PROMPT_WEIGHT = 0.1  # learning to write questions is not the goal, but helps to read them
CHECKPOINT_SECONDS, CHECK_SECONDS = 60, 180
EASY_SHARE, EASY_STEPS = 0.15, range(1, 5)  # the first 15 % of the time has short problems only


@dataclass(frozen=True, slots=True)
class Batch:
    """Problems of similar length, one a row: ids (rows, length) and the loss weight of each id."""

    ids: Tensor
    weights: Tensor


def encode(tokenizer: Tokenizer, problem: Problem) -> tuple[list[int], int]:
    """Return a problem's ids, as the chat template renders it, and the prompt's length."""
    prompt = tokenizer.encode(f"{SOLVE}{problem.question}\n").ids
    answer = tokenizer.encode(problem.solution + END).ids
    return prompt + answer, len(prompt)


def batches(documents: Iterator[tuple[list[int], int]], device: str) -> Iterator[list[Batch]]:
    """Draw GROUPS * ROWS problems at a time and group them by length, which wastes little padding.

    Padding comes last, so causal attention keeps it from every real token; its loss weight is 0.
    """
    while True:
        drawn = sorted(islice(documents, GROUPS * ROWS), key=lambda d: len(d[0]))
        groups = [drawn[at : at + ROWS] for at in range(0, len(drawn), ROWS)]
        yield [pad(group, device) for group in groups]


def pad(group: list[tuple[list[int], int]], device: str) -> Batch:
    """Lay problems out as rows; lengths are multiples of 8, so that few shapes occur."""
    length = -(-max(len(tokens) for tokens, _ in group) // 8) * 8
    ids = torch.zeros(len(group), length, dtype=torch.long)
    weights = torch.zeros(len(group), length)
    for row, (tokens, prompt) in enumerate(group):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        weights[row, :prompt] = PROMPT_WEIGHT
        weights[row, prompt : len(tokens)] = 1.0
    return Batch(ids.to(device), weights.to(device))


def loss_of(model: Llama, batch: Batch) -> Tensor:
    """Sum the weighted cross-entropy, in nats."""
    with torch.autocast(batch.ids.device.type, torch.bfloat16):
        logits = model(batch.ids[:, :-1])
    losses = F.cross_entropy(
        logits.float().flatten(0, 1), batch.ids[:, 1:].flatten(), reduction="none"
    )
    return (losses * batch.weights[:, 1:].flatten()).sum()


@torch.no_grad()
def greedy_accuracy(model: Llama, encoded: list[tuple[list[int], int]], device: str) -> float:
    """Share of problems whose greedy text is exactly the worked solution.

    One pass with the solution given is enough: greedy decoding writes it exactly when it is the
    likeliest token at each of its positions. Other ways to the right answer do not count.
    """
    right = 0
    order = sorted(encoded, key=lambda d: len(d[0]))
    for at in range(0, len(order), 32):
        part = order[at : at + 32]
        with torch.autocast(device, torch.bfloat16):
            best = model(pad(part, device).ids).argmax(-1).cpu()
        for row, (tokens, prompt) in enumerate(part):
            right += best[row, prompt - 1 : len(tokens) - 1].tolist() == tokens[prompt:]
    return right / len(encoded)


def learning_rate(progress: float, peak: float) -> float:
    """Warm up over the first 2 %, then follow a cosine to 2 % of the peak."""
    if progress < 0.02:
        return peak * (0.02 + 0.98 * progress / 0.02)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def optimizers(model: Llama, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, which needs fewer tokens; AdamW for the rest.

    ``match_rms_adamw`` scales Muon's updates so that one learning rate serves both.
    """
    inside = [p for p in model.layers.parameters() if p.ndim == 2]
    rest = [model.embed_tokens.weight] + [p for p in model.parameters() if p.ndim == 1]
    return [
        torch.optim.Muon(inside, lr=rate, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


class Run:
    """Hold what a checkpoint holds: the model, the optimizers, the time and the tokens spent."""

    def __init__(self, options: argparse.Namespace, workers: Workers) -> None:
        self.options, self.workers = options, workers
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.tokenizer = Tokenizer.from_file(str(options.tokenizer))
        self.model = Llama(Shape(vocab=self.tokenizer.get_vocab_size())).to(self.device)
        self.optimizers = optimizers(self.model, options.lr)
        self.seconds, self.tokens, self.steps = 0.0, 0, 0
        self.began = time.monotonic()

    @property
    def path(self) -> Path:
        return self.options.out / "checkpoint.pt"

    def save(self) -> None:
        """Replace the checkpoint in one step, so that a cut never leaves half a file."""
        self.options.out.mkdir(parents=True, exist_ok=True)
        state = {
            "shape": asdict(self.model.shape),
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "spent": (self.seconds, self.tokens, self.steps),
            "tokenizer": self.tokenizer.to_str(),
        }
        torch.save(state, self.path.with_suffix(".new"))
        self.path.with_suffix(".new").replace(self.path)

    def resume(self) -> None:
        """Continue from the checkpoint if there is one."""
        if self.path.exists():
            state = torch.load(self.path, map_location=self.device)
            self.model.load_state_dict(state["model"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.seconds, self.tokens, self.steps = state["spent"]

    def draw(self, stream: Iterator[Problem]) -> Iterator[list[Batch]]:
        """Turn a stream of problems into steps of batches."""
        return batches((encode(self.tokenizer, problem) for problem in stream), self.device)

    def step(self, parts: list[Batch], rate: float) -> float:
        """Change the weights once; return the mean loss in nats per weighted token."""
        weight = float(sum(part.weights[:, 1:].sum() for part in parts))
        mean = 0.0
        for index in self.workers.take(self.steps, len(parts)):
            loss = loss_of(self.model, parts[index]) / weight
            loss.backward()
            mean += loss.item()
        is_first = self.workers.rank == 0
        seconds = time.monotonic() - self.began if is_first else 0.0
        mean, self.seconds = self.workers.add_up(self.model, mean, seconds)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
        self.steps += 1
        self.tokens += sum(int((part.weights > 0).sum()) for part in parts)
        return mean

    def train(self) -> None:
        """Train until the time is spent; log, save and check at intervals."""
        total = self.options.minutes * 60
        # A resumed run must not see its first problems again.
        easy = self.draw(problems("train", 1 + self.steps, EASY_STEPS))
        mixed = self.draw(problems("train", 1 + self.steps))
        checks = [encode(self.tokenizer, p) for p in heldout(160)]
        saved = checked = time.monotonic()
        self.began = saved - self.seconds
        for parameter in self.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        while self.seconds < total:
            progress = self.seconds / total
            rate = learning_rate(progress, self.options.lr)
            loss = self.step(next(easy if progress < EASY_SHARE else mixed), rate)
            if self.workers.rank != 0:
                continue
            if self.steps % 20 == 0:
                self.log(rate, loss)
            now = time.monotonic()
            if now - saved > CHECKPOINT_SECONDS:
                saved = now
                self.save()
            if now - checked > CHECK_SECONDS:
                checked = now
                self.check(checks)
        if self.workers.rank == 0:
            self.save()
            self.check(checks)

    def log(self, rate: float, loss: float) -> None:
        """Print the progress; tokens per second count from the start of the run."""
        print(
            f"{self.seconds:.0f}s step {self.steps} {self.tokens / 1e6:.2f}M tokens "
            f"({self.tokens / self.seconds:.0f}/s) lr {rate:.1e} loss {loss:.4f}",
            flush=True,
        )

    def check(self, checks: list[tuple[list[int], int]]) -> None:
        """Print the greedy accuracy on held-out problems."""
        share = greedy_accuracy(self.model, checks, self.device)
        print(f"  held-out greedy exact: {share:.3f}", flush=True)


def work(options: argparse.Namespace, workers: Workers) -> None:
    """Train in one of the processes."""
    torch.manual_seed(0)
    run = Run(options, workers)
    run.resume()
    run.train()


def main() -> None:
    """Read the options and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=50, help="wall time of the whole run")
    parser.add_argument("--lr", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--workers", type=int, default=2, help="processes; 1 with a GPU")
    options = parser.parse_args()
    start_workers(partial(work, options), options.workers, options.out / "meeting")


if __name__ == "__main__":
    main()
