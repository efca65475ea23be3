"""A recorded search in an engine's place: steps are handed out as they were asked for.

Texts are codes. Step 17 of a recording is the text `#17`, and `#17=2` where it finishes a path
whose answer is of class 2; a step that says nothing stays empty. A path is its steps' codes, each
with `STEP_END` behind it, so that a prompt's prefix says from which step a call goes on. The k-th
call from a step gets the k-th step that was recorded behind it: the program that was recorded,
under the same policy, meets its own search again. Another one may ask for more than was recorded;
it gets the recorded steps once more, and `missing` counts how often.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from dynasor.core.errors import UserError
from dynasor.core.types import Generate, Generated, Score, Scored, Usage
from dynasor.evaluate.recorded import Recorded, RecordedStep
from dynasor.sim.engine import Outcome, Segment

__all__ = ["CLASS", "STEP", "STEP_END", "SearchTape"]

STEP, CLASS, STEP_END = "#", "=", "\n"
"""How the code of a step begins, what stands before its class, and the end of a step."""


@dataclass(slots=True, eq=False)
class _Place:
    """Where a search can go on: a text, and the recorded steps that it stands for.

    `nodes` are their places, -1 for the beginning; more than one where steps that say nothing
    cannot be told apart. `left` are the steps behind them that nobody has had yet, `path` is the
    prompt that the text makes.
    """

    serial: int
    path: tuple[Segment, ...]
    nodes: list[int] = field(default_factory=list)
    left: deque[int] = field(default_factory=deque)


class SearchTape:
    """One program's search, and what of it was handed out.

    `path` is the prompt of its question. `missing` counts the steps that had to be handed out
    twice, and the calls for which there was none at all.
    """

    def __init__(
        self, program: str, question: Recorded, seed: int, path: tuple[Segment, ...]
    ) -> None:
        self.drawn = 0
        self.missing = 0
        self._program = program
        self._question = question
        self._steps = question.searches[seed % len(question.searches)]
        self._behind: list[list[int]] = [[] for _ in range(len(self._steps) + 1)]
        for number, step in enumerate(self._steps):
            self._behind[step.parent].append(number)  # -1: what has no parent stands last
        self._places: dict[str, _Place] = {}
        self._stand(self._open("", path), -1)

    def __call__(self, work: Generate | Score) -> Outcome:
        """Return what a call comes to: the next step, the rest of a path, or rewards.

        A call that stops at the end of a step gets one step, any other one all that follow.
        Raises `UserError` for a text that is no path of this search, and for rewards that were
        not recorded.
        """
        if isinstance(work, Score):
            return Outcome(Scored(tuple(self._reward(item.prefix) for item in work.items)), 0)
        self.drawn += 1
        prefix = work.prompt.prefix
        return self._go_on(prefix, is_step=STEP_END in work.sampling.stop)

    def _go_on(self, prefix: str, *, is_step: bool) -> Outcome:
        start = self._at(prefix)
        prompt = sum(segment.tokens for segment in start.path)
        number = self._next(start)
        if number is None:  # nothing to say is a step too
            silence = self._places.get(prefix + STEP_END) or self._open(
                prefix + STEP_END, start.path
            )
            silence.nodes.extend(start.nodes[:1])
        codes: list[str] = []
        tokens, key, is_cut = 0, "", False
        while number is not None:
            code = self._code(number, is_step=is_step)
            codes.append(code)
            prefix += code + STEP_END
            tokens += self._steps[number].tokens
            key = key or self._key(prefix)
            path = (*start.path, Segment(key, tokens))
            place = self._places.get(prefix) or self._open(prefix, path)
            self._stand(place, number)
            is_cut = self._steps[number].is_cut
            number = None if is_step else self._following(place, number)
        reason = "length" if is_cut else "stop"
        output = Generated(STEP_END.join(codes), Usage(prompt, tokens), reason)
        return Outcome(output, tokens, path=start.path, key=key)

    def _code(self, number: int, *, is_step: bool) -> str:
        """Return a step's text; a program ends by itself at steps that say nothing, one by one."""
        step = self._steps[number]
        if is_step and step.blank is not None and step.group is None:
            return step.blank
        return f"{STEP}{number}" + ("" if step.group is None else f"{CLASS}{step.group}")

    def _at(self, prefix: str) -> _Place:
        place = self._places.get(prefix)
        if place is None:
            raise UserError(
                f"question {self._question.id!r}: the program goes on from {prefix!r}, which is no "
                "path of the recorded search; replay the program that was recorded"
            )
        return place

    def _open(self, prefix: str, path: tuple[Segment, ...]) -> _Place:
        place = self._places[prefix] = _Place(len(self._places), path)
        return place

    def _key(self, prefix: str) -> str:
        """Return the name of what is generated, by its first step."""
        place = self._places.get(prefix)
        return f"{self._program}/{len(self._places) if place is None else place.serial}"

    def _stand(self, place: _Place, number: int) -> None:
        """Let a text stand for a step."""
        if number not in place.nodes:
            place.nodes.append(number)
            place.left.extend(self._behind[number])

    def _next(self, place: _Place) -> int | None:
        """Return the next step behind a text, from the beginning again after the last one."""
        if not place.left:
            self.missing += 1
            place.left.extend(self._again(place))
        return place.left.popleft() if place.left else None

    def _again(self, place: _Place) -> list[int]:
        """Return the steps behind a text, or behind the likest one where there were none.

        That is the step of the same depth that was gone on from and has the nearest reward.
        """
        own = [child for number in place.nodes for child in self._behind[number]]
        if own:
            return own
        depths = _depths(self._steps)
        here = self._steps[place.nodes[0]] if place.nodes[0] >= 0 else None
        if here is None:
            return []
        worth = here.reward or 0.0
        others = [
            (abs((step.reward or 0.0) - worth), number)
            for number, step in enumerate(self._steps)
            if depths[number] == depths[place.nodes[0]] and self._behind[number]
        ]
        return list(self._behind[min(others)[1]]) if others else []

    def _following(self, place: _Place, number: int) -> int | None:
        """Return what came behind a step in its own call: the first step that did."""
        if not self._behind[number]:
            return None
        first = self._behind[number][0]
        if place.left and place.left[0] == first:
            place.left.popleft()
        return first

    def _reward(self, prefix: str) -> float:
        number = self._at(prefix).nodes[0]
        if number < 0:
            return 0.0
        step = self._steps[number]
        if step.reward is None:
            raise UserError(
                f"question {self._question.id!r} has a step without a reward, and its program "
                "asks for it; replay the program that was recorded, with its parameters"
            )
        return step.reward


def _depths(steps: Sequence[RecordedStep]) -> list[int]:
    depths: list[int] = []
    for step in steps:
        depths.append(1 + (depths[step.parent] if step.parent >= 0 else 0))
    return depths
