"""What a server keeps of a program's conversations, so that it can be told to give them up.

TensorRT-LLM takes a conversation and how much of it is to stay, on the control plane of
`trtllm-serve` (`serve/control_plane.py`). System messages stay: other programs share them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dynasor.core.types import Generate, Message
from dynasor.engines.dialects import written

__all__ = ["Conversations"]

# A search shows a model many conversations; what is beyond these is given up by age.
MOST_OF_ONE = 64


class Conversations:
    """The conversations that each live program has shown to a server, where hints name it."""

    def __init__(self) -> None:
        self._of: dict[str, dict[tuple[Message, ...], None]] = {}

    def note(self, work: Generate) -> None:
        """Remember what a program shows."""
        if work.hints is None:
            return
        shown = self._of.setdefault(work.hints.program, {})
        if len(shown) < MOST_OF_ONE:
            shown[work.prompt.messages] = None

    def __contains__(self, program: object) -> bool:
        return program in self._of

    def take(self, program: str, model: str) -> Iterator[dict[str, Any]]:
        """Yield what to tell the server of a program that has ended, and forget it."""
        for messages in self._of.pop(program, {}):
            yield {
                "model": model,
                "messages": written(messages),
                "messages_to_retain": written([m for m in messages if m.role == "system"]),
                "add_generation_prompt": False,
            }
