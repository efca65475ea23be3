"""The load itself: every program leaves when it is due, whatever became of those before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from dynasor.core.errors import EngineError, kind_of
from dynasor.core.types import Usage
from dynasor.load.asking import Asking
from dynasor.load.client import Client, Reply
from dynasor.load.outcome import ANSWERED, DEADLINE, FAILED, Outcome
from dynasor.load.planning import Departure

__all__ = ["Load"]

OnEnd = Callable[[Outcome], None]


class Load:
    """Sends programs and keeps what became of them, also of a run that is broken off.

    `deadline_seconds` counts from the scheduled departure; `is_deadline_told` says whether a
    server that runs an algorithm is told of it.
    """

    def __init__(
        self,
        client: Client,
        asking: Asking,
        *,
        deadline_seconds: float | None = None,
        is_deadline_told: bool = True,
        on_end: OnEnd | None = None,
    ) -> None:
        self.outcomes: list[Outcome] = []
        self.sent = 0
        self._client = client
        self._asking = asking
        self._deadline = deadline_seconds if is_deadline_told else None
        self._on_end = on_end
        self._began = 0.0

    async def run(self, departures: Sequence[Departure]) -> None:
        """Send all programs when they are due and wait for their ends."""
        self._began = self._client.clock.now()
        try:
            async with asyncio.TaskGroup() as group:
                for departure in departures:
                    # Also where it is due already: the answers of others have to be read.
                    await asyncio.sleep(max(0.0, departure.due - self._now()))
                    group.create_task(self._one(departure))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def solo_seconds(self, departures: Sequence[Departure]) -> float:
        """Return the median latency of programs that are sent one after another.

        Raises the error of one that failed: nothing can be said in multiples of it.
        """
        seconds = []
        for departure in departures:
            self._began = self._client.clock.now() - departure.due
            outcome = await self._followed(departure)
            seconds.append(outcome.latency)
        return sorted(seconds)[len(seconds) // 2]

    async def _one(self, departure: Departure) -> None:
        sent = self._now()
        self.sent += 1
        try:
            outcome = await self._followed(departure)
        except EngineError as exc:
            outcome = self._outcome(departure, sent)
            outcome.status, outcome.error, outcome.message = FAILED, kind_of(exc), str(exc)
        self.outcomes.append(outcome)
        if self._on_end is not None:
            self._on_end(outcome)

    async def _followed(self, departure: Departure) -> Outcome:
        """Ask and read; raises the first failure where every request failed."""
        sent = self._now()
        late = max(0.0, sent - departure.due)  # timers of milliseconds may come a little early
        left = None if self._deadline is None else self._deadline - late
        bodies = self._asking.bodies(departure, left)
        came = await asyncio.gather(
            *(self._client.ask(body) for body in bodies), return_exceptions=True
        )
        outcome = self._outcome(departure, sent)
        replies = [reply for reply in came if isinstance(reply, Reply)]
        for one in came:
            if isinstance(one, BaseException) and not (replies and isinstance(one, EngineError)):
                raise one
        self._fill(outcome, replies)
        outcome.failed_calls = len(came) - len(replies)
        return outcome

    def _fill(self, outcome: Outcome, replies: Sequence[Reply]) -> None:
        firsts = [one.first_at for one in replies if one.first_at is not None]
        outcome.first = min(firsts, default=self._began) - self._began
        bills = [one.bill() for one in replies]
        outcome.usage = Usage(
            sum(one.prompt_tokens for one in bills),
            sum(one.completion_tokens for one in bills),
            is_counted=all(one.is_counted for one in bills),
        )
        story = replies[0].story
        outcome.status = DEADLINE if story.get("status") == DEADLINE else ANSWERED
        if "answer" in story:
            told = story["answer"]
            outcome.answers = (told if isinstance(told, str) else None,)
        else:
            outcome.answers = tuple(self._asking.task.extract(one.text) for one in replies)

    def _outcome(self, departure: Departure, sent: float) -> Outcome:
        """Return an outcome that has just ended."""
        question = departure.question
        return Outcome(
            departure.program,
            question.text,
            question.reference,
            departure.due,
            sent,
            self._now(),
        )

    def _now(self) -> float:
        return self._client.clock.now() - self._began
