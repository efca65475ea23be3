"""What a part's calls need of its recording: token counts, enough samples, prompts that fit."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from dynasor.core.errors import UserError
from dynasor.evaluate.coded import check_recorded
from dynasor.evaluate.recorded import Recorded, check_cap
from dynasor.online.workload import Deadline, Part, WorkloadError
from dynasor.programs import BestOfN, SelfConsistency
from dynasor.sim.engine import Segment

__all__ = ["check_fits", "check_questions", "prompt_path", "prompt_tokens"]

CHARACTERS_A_TOKEN = 4
"""English text, by the tokenizers of today's models; traces do not count their prompts."""


def prompt_tokens(part: Part, question: Recorded) -> int:
    """Return the tokens of a question's own prompt, at least 1, without shared instructions."""
    if part.prompt_tokens is not None:
        return part.prompt_tokens
    return max(1, ceil(len(question.question) / CHARACTERS_A_TOKEN))


def prompt_path(part: Part, program: str, question: Recorded) -> tuple[Segment, ...]:
    """Return a program's prompt: the part's instructions, if it has any, and the question.

    Two programs with the same question do not share it: a question that is drawn again stands
    for another one like it.
    """
    own = Segment(program, prompt_tokens(part, question))
    if not part.shared_tokens:
        return (own,)
    return (Segment(part.name, part.shared_tokens), own)


def check_questions(part: Part, questions: Sequence[Recorded]) -> None:
    """Raise `WorkloadError` unless a part can be run on these questions.

    Every question needs as many samples as the cap and as `judged_at`, some sample must have
    tokens, `best-of-n` needs their rewards, and deadlines whose factors differ need to know what
    is right.
    """
    try:
        check_cap(questions, part.cap)
    except UserError as exc:
        raise WorkloadError(f"part {part.name!r}: {exc}") from exc
    if not any(any(one.tokens) for one in questions):
        raise WorkloadError(
            f"part {part.name!r}: every sample of its trace has 0 tokens, so that nothing says "
            "how long a call runs; take a trace with token counts"
        )
    check_recorded(part.program, questions)
    unscored = sum(not one.rewards for one in questions)
    if part.program == BestOfN.name and unscored:
        raise WorkloadError(
            f"part {part.name!r}: its program {part.program!r} asks for a reward of each sample, "
            f"and {unscored} of {len(questions)} questions do not have them; record rewards, or "
            f"replay {SelfConsistency.name!r}"
        )
    if part.deadline is not None:
        _check_difficulty(part, part.deadline, questions)


def _check_difficulty(part: Part, deadline: Deadline, questions: Sequence[Recorded]) -> None:
    """Raise `WorkloadError` unless votes can say how hard a question is, if that matters."""
    fewest = min(len(one.tokens) for one in questions)
    if deadline.judged_at is not None and deadline.judged_at > fewest:
        raise WorkloadError(
            f"part {part.name!r}: deadline.judged_at is {deadline.judged_at}, and some question "
            f"has only {fewest} samples; give at most {fewest}, or leave it out for the cap"
        )
    unjudged = sum(not one.has_quality for one in questions)
    if deadline.is_graded and unjudged:
        raise WorkloadError(
            f"part {part.name!r}: its deadlines depend on how hard a question is, and nothing "
            f"says what is right for {unjudged} of {len(questions)} questions; give three "
            "equal factors, or a trace with references"
        )


def check_fits(part: Part, questions: Sequence[Recorded], kv_tokens: int) -> None:
    """Raise `WorkloadError` unless each question's prompt and longest sample fit in the memory.

    `kv_tokens` is how many tokens the modelled engine's KV cache holds.
    """

    def needed(one: Recorded) -> int:
        return part.shared_tokens + prompt_tokens(part, one) + one.longest

    longest = max(questions, key=needed, default=None)
    if longest is not None and needed(longest) > kv_tokens:
        beyond = sum(needed(one) > kv_tokens for one in questions)
        raise WorkloadError(
            f"part {part.name!r}: the modelled memory holds {kv_tokens} tokens, and {beyond} of "
            f"{len(questions)} questions can need more, {longest.id!r} {needed(longest)} (prompt "
            "and longest sample); model more memory, or take shorter prompts"
        )
