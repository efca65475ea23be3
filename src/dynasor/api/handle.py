"""One program on its way, and everything that happened to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Self

from dynasor.core.commands import Answered, Closed, Moved, Shadowed
from dynasor.core.errors import DynasorError, revive
from dynasor.core.events import Withdrew
from dynasor.core.program import Program
from dynasor.core.types import Spending
from dynasor.runtime import Happening
from dynasor.wiring import Machine

__all__ = ["Handle", "OnProgress", "Result"]

OnProgress = Callable[[Moved], None]


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that happened to one program.

    `status` is `answered`, `deadline` (the best answer when time ran out), `failed` or
    `withdrawn`; `reason` says why it stopped. `answer` is the short answer, `text` a finished
    member of the winning class; both None without one. `knob` units of at most `cap` were
    settled. `notes` counts what went wrong on the way. `spending` has every token, aborted calls'
    too; `seconds` is the time until the answer, `closed_seconds` until the last aborted call had
    ended. `shadow` is what a policy that decides without acting would have done, None without one.
    """

    program: str
    question: str
    status: str
    reason: str
    answer: str | None
    text: str | None
    certaindex: dict[str, float]
    votes: dict[str, float]
    knob: int
    cap: int
    spending: Spending
    calls: int
    aborted_calls: int
    failed_attempts: int
    grouping_failures: int
    seconds: float
    closed_seconds: float
    error: DynasorError | None = None
    notes: dict[str, int] = field(default_factory=dict)
    shadow: Shadowed | None = None

    def raise_for_status(self) -> Self:
        """Return itself, or raise the error of a program that failed or was withdrawn."""
        if self.error is not None:
            raise self.error
        return self


class Handle:
    """One program on its way: await it for its `Result`."""

    def __init__(self, program: Program, identity: str, machine: Machine) -> None:
        loop = asyncio.get_running_loop()
        self.program = identity
        self.latest: Moved | None = None
        self._described = program
        self._machine = machine
        self._time = loop.time
        self._started = loop.time()
        self._answered: tuple[Answered, float] | None = None
        self._result: asyncio.Future[Result] = loop.create_future()
        self._news: asyncio.Queue[Moved | None] = asyncio.Queue()
        self._on_progress: OnProgress | None = None

    def __repr__(self) -> str:
        return f"<Handle {self.program} {'done' if self.is_done else 'running'}>"

    def __await__(self) -> Any:
        return asyncio.shield(self._result).__await__()

    @property
    def is_done(self) -> bool:
        """Whether the result is there."""
        return self._result.done()

    async def progress(self) -> AsyncIterator[Moved]:
        """Yield every step as it happens, until the program has its answer."""
        while (news := await self._news.get()) is not None:
            yield news
        self._news.put_nowait(None)  # for whoever asks again

    def withdraw(self) -> None:
        """Take the question back; its calls are aborted."""
        if not self.is_done:
            self._machine.driver.send(Withdrew(self.program))

    def hurry(self) -> None:
        """Ask for the best answer so far, as at a deadline; the rest of its calls is aborted."""
        if not self.is_done:
            self._machine.driver.send(Withdrew(self.program, takes_best=True))

    def on_progress(self, watcher: OnProgress | None) -> None:
        """Call `watcher` at every step; one that raises is reported and not called again."""
        self._on_progress = watcher

    def when_done(self, watcher: Callable[[Handle], None]) -> None:
        """Call `watcher` with this handle soon after the result is there."""
        self._result.add_done_callback(lambda _: watcher(self))

    def hear(self, news: Happening) -> None:
        """Take in what the driver tells."""
        if isinstance(news, Moved):
            self.latest = news
            self._news.put_nowait(news)
            self._show(news)
        elif isinstance(news, Answered):
            self._answered = (news, self._time() - self._started)
            self._news.put_nowait(None)
        elif not self._result.done():
            self._result.set_result(self._make_result(news))

    def _show(self, news: Moved) -> None:
        if self._on_progress is None:
            return
        try:
            self._on_progress(news)
        except Exception as exc:  # noqa: BLE001 - the user's code must not stop the driver
            self._on_progress = None
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"on_progress of program {self.program} raised", "exception": exc}
            )

    def abandon(self, error: DynasorError) -> None:
        """End without a result because everything is shut down."""
        self._news.put_nowait(None)
        if not self._result.done():
            self._result.set_exception(error)
            self._result.exception()  # seen: nobody needs to await an abandoned program

    def _make_result(self, closed: Closed) -> Result:
        if self._answered is None:  # cannot happen: Answered always comes first
            raise AssertionError(f"{closed} came before its answer")
        answered, seconds = self._answered
        error = revive(answered.error_kind, answered.error) if answered.error_kind else None
        return Result(
            program=self.program,
            question=self._described.question,
            status=answered.status,
            reason=answered.reason,
            answer=None if answered.answer is None else answered.answer.value,
            text=None if answered.answer is None else answered.answer.text,
            certaindex=answered.certaindex,
            votes=answered.votes,
            knob=answered.knob,
            cap=answered.cap,
            spending=closed.spending,
            calls=closed.calls,
            aborted_calls=closed.aborted_calls,
            failed_attempts=closed.failed_attempts,
            grouping_failures=closed.grouping_failures,
            seconds=seconds,
            closed_seconds=self._time() - self._started,
            error=error,
            notes=answered.notes,
            shadow=answered.shadow,
        )
