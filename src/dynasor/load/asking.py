"""How programs are asked: the bodies of the requests of one program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dynasor.core.chance import call_seed, program_seed
from dynasor.core.errors import ConfigError
from dynasor.load.planning import Departure
from dynasor.tasks import GradedTask

__all__ = ["Asking"]

LEAST_SECONDS = 0.001
"""What is left of a deadline that has passed already: a server wants a positive number."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What the requests of all programs have in common.

    A program is one request with the object `dynasor` (`algorithm` is not None: its keys), or
    `branches` plain ones that are sent together and vote. `usual` fields stand in every body
    unless the question has its own, `extra` ones go before all else. `session_field` names a field
    for the program's id, by which an engine can tell what belongs together; "" for none.
    """

    task: GradedTask
    branches: int = 1
    algorithm: Mapping[str, Any] | None = None
    is_streamed: bool = True
    seed: int = 0
    usual: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    session_field: str = ""

    def __post_init__(self) -> None:
        """Raise `ConfigError` for a program of no request, or of several with an algorithm."""
        if self.branches < 1:
            raise ConfigError(f"branches is {self.branches}; at least 1 is needed")
        if self.branches > 1 and self.algorithm is not None:
            raise ConfigError(
                f"branches is {self.branches}: these are plain requests, and an algorithm is "
                "given too; give one of them (an algorithm's branches are its cap)"
            )

    def bodies(self, departure: Departure, seconds_left: float | None) -> list[dict[str, Any]]:
        """Return the bodies of a program's requests.

        `seconds_left` of its deadline are told to a server that runs an algorithm, None for none.
        """
        question = departure.question
        body = {**self.usual, "messages": self._messages(question.text), **question.fields}
        if self.is_streamed:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if self.session_field:
            body[self.session_field] = departure.program
        body |= self.extra
        story = self._story(question.fields.get("dynasor"), seconds_left)
        if story is not None:
            return [{**body, "dynasor": story}]
        seed = program_seed(self.seed, departure.program)
        return [{"seed": call_seed(seed, number), **body} for number in range(self.branches)]

    def _messages(self, text: str) -> list[dict[str, str]]:
        if self.algorithm is not None:  # the server puts the task's instruction before it
            return [{"role": "user", "content": text}]
        said = self.task.prompt(text).messages
        return [{"role": one.role, "content": one.content} for one in said]

    def _story(self, own: object, seconds_left: float | None) -> dict[str, Any] | None:
        if self.algorithm is None and not isinstance(own, dict):
            return None
        story = {**(self.algorithm or {}), **(own if isinstance(own, dict) else {})}
        if seconds_left is not None:
            story["deadline_seconds"] = max(seconds_left, LEAST_SECONDS)
        return story
