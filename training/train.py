"""Train the embedded model to solve, to think and to judge, on generated word problems.

Usage: python training/train.py --tokenizer TOK.json --out DIR [--minutes 85] [--workers 2]

The learning rate depends on the share of the wall time that is spent, so a run of any length ends
fully annealed. DIR/checkpoint.pt is rewritten every minute; the same command resumes from it.
"""

import argparse
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from documents import LIMITS, LINE_WEIGHT, Document, judge, solve, think_at_length
from dynasor.datasets import heldout, problems
from dynasor.datasets.arithmetic import MAX_STEPS
from dynasor.datasets.arithmetic.slips import Attempt, attempt
from model import Llama, Shape
from own_solutions import own_attempts
from workers import Workers, start_workers

PARTS, PART_TOKENS = 6, 2048  # a step is six batches of about so many tokens
POOL = 256  # problems that are sorted by length at a time
CHECKPOINT_SECONDS, CHECK_SECONDS = 60, 240
MODES, SHARES = ("solve", "think", "judge"), (0.42, 0.27, 0.31)
EASY_SHARE, EASY_STEPS = 0.1, range(1, 5)  # the first tenth of the time has short problems only
EASY_LIMITS = (20, 50, 100)
OWN_AT = (0.4, 0.6, 0.8)  # shares of the time at which the model solves problems for its judge
OWN_PROBLEMS, OWN_SHARE = 2400, 0.7


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents of similar length, one a row: ids, targets and weights, each (rows, length).

    ``tokens`` leaves out the padding.
    """

    ids: Tensor
    targets: Tensor
    weights: Tensor
    tokens: int


def documents(tokenizer: Tokenizer, seed: int, own: list[Document]) -> Iterator[list[Document]]:
    """Yield pools of documents in all modes for ever; ``own`` may grow meanwhile."""
    rng = Random(f"documents/{seed}")
    easy = problems("train", seed, EASY_STEPS, EASY_LIMITS)
    mixed = problems("train", seed, range(1, MAX_STEPS + 1), LIMITS)
    is_easy = True
    while True:
        pool: list[Document] = []
        while len(pool) < POOL:
            problem = next(easy if is_easy else mixed)
            mode = rng.choices(MODES, SHARES)[0]
            if mode == "solve":
                pool.append(solve(tokenizer, problem, rng))
            elif mode == "think":
                pool.append(think_at_length(tokenizer, problem, rng))
            elif own and rng.random() < OWN_SHARE:
                pool.append(rng.choice(own))
            else:
                pool.append(judge(tokenizer, problem, attempt(problem, rng), rng))
        is_easy = (yield pool) or False


def pad(group: list[Document], device: str) -> Batch:
    """Lay documents out as rows.

    Padding comes last, so causal attention keeps it from every real token; its loss weight is 0.
    """
    length = -(-max(len(document.ids) for document in group) // 8) * 8
    ids, targets = (torch.zeros(len(group), length, dtype=torch.long) for _ in range(2))
    weights = torch.zeros(len(group), length)
    for row, document in enumerate(group):
        size = len(document.ids)
        ids[row, :size] = torch.tensor(document.ids)
        targets[row, :size] = torch.tensor(document.targets)
        weights[row, :size] = torch.tensor(document.weights)
    tokens = sum(len(document.ids) for document in group)
    return Batch(ids.to(device), targets.to(device), weights.to(device), tokens)


def batches(pool: list[Document], context: int, rng: Random) -> list[list[Document]]:
    """Cut a pool into groups of similar length and about PART_TOKENS tokens, in random order."""
    groups: list[list[Document]] = [[]]
    for document in sorted(pool, key=lambda d: len(d.ids)):
        if len(document.ids) > context:
            continue
        if (len(groups[-1]) + 1) * len(document.ids) > PART_TOKENS:
            groups.append([])
        groups[-1].append(document)
    rng.shuffle(groups)
    return groups


def loss_of(model: Llama, batch: Batch) -> Tensor:
    """Sum the weighted cross-entropy, in nats."""
    with torch.autocast(batch.ids.device.type, torch.bfloat16):
        logits = model(batch.ids)
    losses = F.cross_entropy(
        logits.float().flatten(0, 1), batch.targets.flatten(), reduction="none"
    )
    return (losses * batch.weights.flatten()).sum()


@torch.no_grad()
def exactness(model: Llama, checked: list[Document], device: str) -> float:
    """Share of documents whose every target that counts fully is the likeliest token there.

    For a solution that means that the greedy text is exactly the worked solution.
    """
    right = 0
    for group in batches(checked, model.shape.context, Random(0)):
        batch = pad(group, device)
        with torch.autocast(device, torch.bfloat16):
            best = model(batch.ids).argmax(-1)
        right += int(((best == batch.targets) | (batch.weights < 1)).all(1).sum())
    return right / len(checked)


@torch.no_grad()
def verdict_accuracy(model: Llama, checked: list[Document], device: str) -> float:
    """Share of lines whose verdict is the likeliest token."""
    right = total = 0
    for group in batches(checked, model.shape.context, Random(0)):
        batch = pad(group, device)
        with torch.autocast(device, torch.bfloat16):
            best = model(batch.ids).argmax(-1)
        counted = batch.weights == LINE_WEIGHT
        right += int(((best == batch.targets) & counted).sum())
        total += int(counted.sum())
    return right / total


def learning_rate(progress: float, peak: float) -> float:
    """Warm up over the first 2 %, stay until 60 %, then fall in a straight line to 2 %."""
    if progress < 0.02:
        return peak * (0.02 + 0.98 * progress / 0.02)
    return peak * max(0.02, min(1.0, (1.0 - progress) / 0.4))


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
        if options.compile:
            for layer in self.model.layers:
                layer.compile(dynamic=True)
        self.optimizers = optimizers(self.model, options.lr)
        self.own: list[Document] = []
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

    def draw(self) -> Iterator[list[Batch]]:
        """Yield steps of PARTS batches for ever."""
        # A resumed run must not see its first problems again.
        rng = Random(f"order/{self.steps}")
        pools = documents(self.tokenizer, 1 + self.steps, self.own)
        pool = next(pools)
        waiting: list[list[Document]] = []
        while True:
            waiting += batches(pool, self.model.shape.context, rng)
            while len(waiting) >= PARTS:
                yield [pad(waiting.pop(), self.device) for _ in range(PARTS)]
            pool = pools.send(self.progress < EASY_SHARE)

    def judge_own(self) -> None:
        """Have every worker solve some problems, and share the documents that judge them."""
        began = time.monotonic()
        rank, count = self.workers.rank, self.workers.count
        stream = problems("train", self.steps * count + rank + 7, limit=LIMITS)
        asked = list(islice(stream, OWN_PROBLEMS // count))
        tried: list[Attempt] = own_attempts(self.model, self.tokenizer, asked, self.device)
        rng = Random(f"own/{self.steps}/{rank}")
        mine = [judge(self.tokenizer, p, a, rng) for p, a in zip(asked, tried, strict=True)]
        self.own += self.workers.gather(mine)
        if rank == 0:
            right = sum(a.is_right[-1] for a in tried) / len(tried)
            print(
                f"  own solutions right: {right:.3f} ({time.monotonic() - began:.0f}s)", flush=True
            )

    def step(self, parts: list[Batch], rate: float) -> float:
        """Change the weights once; return the mean loss in nats per weighted token."""
        weight = float(sum(part.weights.sum() for part in parts))
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
        self.tokens += sum(part.tokens for part in parts)
        return mean

    def train(self) -> None:
        """Train until the time is spent; log, save and check at intervals."""
        drawn = self.draw()
        checks = self.checks()
        saved = checked = time.monotonic()
        self.began = saved - self.seconds
        asked = sum(self.progress >= share for share in OWN_AT)
        if asked:
            self.judge_own()
        for parameter in self.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        while self.progress < 1:
            if asked < len(OWN_AT) and self.progress >= OWN_AT[asked]:
                asked += 1
                self.judge_own()
            rate = learning_rate(self.progress, self.options.lr)
            loss = self.step(next(drawn), rate)
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

    @property
    def progress(self) -> float:
        """Share of the time that is spent; the same number in every worker at the same step."""
        return self.seconds / (self.options.minutes * 60)

    def checks(self) -> dict[str, list[Document]]:
        """Return held-out documents of two modes, the solutions right ones."""
        rng, asked = Random(0), heldout(96)
        return {
            "solve": [solve(self.tokenizer, p, rng, carelessness=0) for p in asked],
            "judge": [judge(self.tokenizer, p, attempt(p, rng), rng) for p in asked],
        }

    def log(self, rate: float, loss: float) -> None:
        """Print the progress; tokens per second count from the start of the run."""
        print(
            f"{self.seconds:.0f}s step {self.steps} {self.tokens / 1e6:.2f}M tokens "
            f"({self.tokens / self.seconds:.0f}/s) lr {rate:.1e} loss {loss:.4f}",
            flush=True,
        )

    def check(self, checks: dict[str, list[Document]]) -> None:
        """Print how the modes do on held-out problems."""
        solved = exactness(self.model, checks["solve"], self.device)
        judged = verdict_accuracy(self.model, checks["judge"], self.device)
        print(f"  held-out: solved greedily {solved:.3f}, verdicts {judged:.3f}", flush=True)


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
    parser.add_argument("--minutes", type=float, default=85, help="wall time of the whole run")
    parser.add_argument("--lr", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--workers", type=int, default=2, help="processes; 1 with a GPU")
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=shutil.which("cc") is not None,
        help="compile the layers (about a fifth faster on a CPU; needs a C compiler)",
    )
    options = parser.parse_args()
    start_workers(partial(work, options), options.workers, options.out / "meeting")


if __name__ == "__main__":
    main()
