"""Compare and grade answers: at once where a task can, in killable processes where it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from dynasor.core.errors import ConfigError, UnknownName
from dynasor.tasks import GradedTask, tasks
from dynasor.workers.bench import Registry
from dynasor.workers.sandbox import Sandbox, refusal
from dynasor.workers.verdicts import Pair, Verdict, Verdicts
from dynasor.workers.worker import Worker

__all__ = ["Workers"]

# An answer this long is no answer any more; it equals only its own text.
LONGEST_COMPARED = 2_000
# Two short strings each: a few megabytes.
VERDICTS_KEPT = 20_000


class Workers:
    """Worker processes, at most `processes`, that compare with a limit of `seconds_limit` a pair.

    Processes start at the first comparison that needs one. A comparison that is stuck or ends
    its process counts as "different" and as a failure, and is remembered like any verdict.
    Answers that are programs are graded in `sandbox`, without which none is ever run.
    Close it, or use it as an asynchronous context manager.
    """

    def __init__(
        self,
        processes: int = 1,
        seconds_limit: float = 5.0,
        *,
        registry: Registry = tasks,
        sandbox: Sandbox | None = None,
    ) -> None:
        if processes < 1:
            raise ConfigError(f"processes is {processes}: give at least 1")
        if not seconds_limit > 0:
            raise ConfigError(f"seconds_limit is {seconds_limit}: give a positive number")
        self._tasks = registry()
        self._sandbox = sandbox
        self._verdicts = Verdicts(VERDICTS_KEPT)
        self._workers = [Worker(registry, seconds_limit) for _ in range(processes)]
        # Last in, first out: one busy program keeps one process busy and starts no second.
        self._free: asyncio.LifoQueue[Worker] = asyncio.LifoQueue()
        for worker in self._workers:
            self._free.put_nowait(worker)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def compare(
        self, task: str, representatives: tuple[str, ...], new: tuple[str, ...]
    ) -> tuple[tuple[int, ...], int]:
        """Sort new answers into classes: `Grouped.classes` and `Grouped.failures`.

        For each new answer the index, in `representatives + new`, of its class: the first
        representative or founder of a class that equals it, its own where none does. Where one
        is the same at first sight, that one is taken and no process is asked. Raises
        `UnknownName`, and `DynasorError` once closed.
        """
        known = self._task(task)
        founders = dict(enumerate(representatives))
        classes: list[int] = []
        failures = 0
        for own, answer in enumerate(new, len(representatives)):
            home, failed = await self._place(known, answer, founders)
            if home is None:
                founders[own] = answer
            classes.append(own if home is None else home)
            failures += failed
        return tuple(classes), failures

    async def grade(self, task: str, question: str, answer: str | None, gold: str) -> bool:
        """Say whether an answer is right; no answer, a stuck and a crashed comparison are not.

        Where that takes running the answer, `gold` is the program that tests it. Raises
        `ConfigError` where no sandbox is there to run it in.
        """
        known = self._task(task)
        verdict = known.grade(question, answer, gold)
        if verdict is not None:
            return verdict
        if known.runs_programs:
            return await self._run(question, answer or "", gold)
        if answer is None or _is_long(answer) or _is_long(gold):
            return answer == gold
        return Verdict.SAME in await self._decide(task, [(answer, gold)])

    async def close(self) -> None:
        """End all processes; comparisons under way raise `DynasorError`."""
        await asyncio.gather(*(worker.close() for worker in self._workers))

    async def _run(self, question: str, answer: str, reference: str) -> bool:
        if self._sandbox is None:
            raise refusal()
        return (await self._sandbox.grade(question, answer, reference)).is_passed

    def _task(self, name: str) -> GradedTask:
        if name not in self._tasks:
            raise UnknownName("task", name, self._tasks)
        return self._tasks[name]

    async def _place(
        self, task: GradedTask, answer: str, founders: dict[int, str]
    ) -> tuple[int | None, int]:
        """Return the index of the founder that equals `answer`, None without, and failures."""
        unsettled: list[int] = []
        for index, founder in founders.items():
            verdict = _at_sight(task, answer, founder)
            if verdict:
                return index, 0
            if verdict is None:
                unsettled.append(index)
        pairs = [_ordered(answer, founders[index]) for index in unsettled]
        verdicts = await self._decide(task.name, pairs)
        home = unsettled[len(verdicts) - 1] if Verdict.SAME in verdicts[-1:] else None
        return home, verdicts.count(Verdict.FAILED)

    async def _decide(self, task: str, pairs: Sequence[Pair]) -> list[Verdict]:
        """Return the verdicts on pairs in order, up to the first `SAME`."""
        known = [self._verdicts.recall(task, pair) for pair in pairs]
        if Verdict.SAME in known:
            known = known[: known.index(Verdict.SAME) + 1]
        asked = [pair for pair, verdict in zip(pairs, known, strict=False) if verdict is None]
        fresh = iter(await self._ask(task, asked) if asked else ())
        verdicts: list[Verdict] = []
        for verdict in known:
            # Nothing fresh is left only where no process could be started.
            verdicts.append(verdict or next(fresh, Verdict.FAILED))
            if verdicts[-1] is Verdict.SAME:
                break
        return verdicts

    async def _ask(self, task: str, pairs: Sequence[Pair]) -> list[Verdict]:
        worker = await self._free.get()
        try:
            verdicts = await worker.judge(task, pairs)
        finally:
            self._free.put_nowait(worker)
        for pair, verdict in zip(pairs, verdicts, strict=False):
            self._verdicts.keep(task, pair, verdict)
        return verdicts


def _at_sight(task: GradedTask, left: str, right: str) -> bool | None:
    if left == right:
        return True
    return False if _is_long(left) or _is_long(right) else task.same(left, right)


def _is_long(answer: str) -> bool:
    return len(answer) > LONGEST_COMPARED


def _ordered(left: str, right: str) -> Pair:
    """Order two answers, the shorter one as the reference.

    math-verify lets an answer show its derivation ("7 + 2 = 9"), but not a reference: on
    recorded answers to MATH-500 the other order misses one pair in 1,500.
    """
    shorter, longer = sorted((left, right), key=lambda text: (len(text), text))
    return longer, shorter
