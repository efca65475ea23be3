"""Several training processes that share the work of each step as it comes.

One process with several threads waits at thousands of barriers a step, which is slow on a machine
that is busy with other things. Processes with one thread each meet once a step, and whoever is
free takes the next part.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn


class Workers:
    """One of ``count`` equal processes; ``rank`` 0 logs and saves."""

    def __init__(self, rank: int, count: int, meeting: Path) -> None:
        self.rank, self.count = rank, count
        if count > 1:
            store = dist.FileStore(str(meeting), count)
            dist.init_process_group("gloo", store=store, rank=rank, world_size=count)
            self.store = dist.PrefixStore("parts", store)

    def take(self, step: int, parts: int) -> Iterator[int]:
        """Yield the numbers of parts of a step until all are taken by one worker or another."""
        if self.count == 1:
            yield from range(parts)
            return
        while (part := self.store.add(f"step-{step}", 1) - 1) < parts:
            yield part

    def add_up(self, model: nn.Module, *numbers: float) -> list[float]:
        """Sum gradients over all workers in place, and return the sums of some numbers."""
        if self.count == 1:
            return list(numbers)
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        flat = torch.cat([*(g.flatten() for g in grads), torch.tensor(numbers)])
        dist.all_reduce(flat)
        at = 0
        for grad in grads:
            grad.copy_(flat[at : at + grad.numel()].view_as(grad))
            at += grad.numel()
        return flat[at:].tolist()

    def gather(self, mine: list[Any]) -> list[Any]:
        """Return the lists of all workers as one, in the order of their ranks."""
        if self.count == 1:
            return mine
        lists: list[Any] = [None] * self.count
        dist.all_gather_object(lists, mine)
        return [item for part in lists for item in part]


def start_workers(work: Callable[[Workers], None], count: int, meeting: Path) -> None:
    """Run ``work`` in ``count`` processes; ``meeting`` is a file that they find each other by."""
    if count == 1:
        work(Workers(0, 1, meeting))
        return
    meeting.parent.mkdir(parents=True, exist_ok=True)
    meeting.unlink(missing_ok=True)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    mp.spawn(_enter, (work, count, meeting), nprocs=count)


def _enter(rank: int, work: Callable[[Workers], None], count: int, meeting: Path) -> None:
    torch.set_num_threads(1)
    work(Workers(rank, count, meeting))
