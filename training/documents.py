"""What the embedded model is trained on: one document a problem, in one of three modes.

A document has, after each of its tokens, the token that should follow and how much it counts.
In the judging mode what should follow is the verdict so far, although the next token follows.
"""

from dataclasses import dataclass
from random import Random

from tokenizers import Encoding, Tokenizer

from dynasor.datasets import Problem
from dynasor.datasets.arithmetic import conclusion
from dynasor.datasets.arithmetic.slips import Attempt, careless
from dynasor.datasets.arithmetic.thoughts import think
from vocabulary import END, JUDGE, SOLVE, THINK, THOUGHT_END

LIMITS = (20, 50, 100, 200, 500, 999)  # bounds of the numbers, whatever the count of steps
PROMPT_WEIGHT = 0.1  # learning to write questions is not the goal, but helps to read them
LINE_WEIGHT, TOKEN_WEIGHT = 6.0, 1.5  # of the verdict after a line, and within one
READ_WEIGHT = 0.5  # of the next token instead
CARELESSNESS = 0.25  # chance of a slip at a step with numbers of three digits
CUT_SHARE = 0.4  # of the traces are cut anywhere and the answer is asked for at once
GOOD, BAD = "+", "-"


@dataclass(frozen=True, slots=True)
class Document:
    """Hold token ids, the ids that should follow each, and the loss weight of each of those."""

    ids: list[int]
    targets: list[int]
    weights: list[float]


def solve(
    tokenizer: Tokenizer, problem: Problem, rng: Random, carelessness: float = CARELESSNESS
) -> Document:
    """Return a problem and a solution, by default as careless as the model shall work it out.

    ``carelessness`` is the chance of a slip at a step with a number of three digits; with 0 the
    solution is right.
    """
    prompt = f"{SOLVE}{problem.question}\n"
    encoding = tokenizer.encode(prompt + careless(problem, carelessness, rng) + END)
    return _continuation(encoding.ids, [_prompt_or(1.0, encoding, len(prompt))])


def think_at_length(tokenizer: Tokenizer, problem: Problem, rng: Random) -> Document:
    """Return a problem and a thinking trace, or its beginning, and the answer.

    Slips do not count, so that noticing them is learned and making them is not. Where a trace is
    cut, its sudden end does not count either.
    """
    prompt = f"{THINK}{problem.question}\n"
    thought = think(problem, rng)
    encoding = tokenizer.encode(prompt + thought.text)
    slips = [(len(prompt) + start, len(prompt) + end) for start, end in thought.slips]
    counts = _prompt_or(1.0, encoding, len(prompt))
    for index, (start, end) in enumerate(encoding.offsets):
        if any(start < slip_end and slip_start < end for slip_start, slip_end in slips):
            counts[index] = 0.0
    ids, is_cut = encoding.ids, rng.random() < CUT_SHARE
    if is_cut:
        first = sum(1 for _, end in encoding.offsets if end <= len(prompt))
        keep = rng.randint(first, len(ids))
        ids, counts = ids[:keep], counts[:keep]
    closing = tokenizer.encode(f"{THOUGHT_END}\n{conclusion(problem.answer)}{END}").ids
    closing_counts = [0.0 if is_cut else 1.0] + [1.0] * (len(closing) - 1)
    return _continuation([*ids, *closing], [counts, closing_counts])


def judge(tokenizer: Tokenizer, problem: Problem, attempt: Attempt, rng: Random) -> Document:
    """Return a problem and a solution with the verdict after each of its lines.

    Within its lines, one document in two has verdicts too, which tell a learner what it is that
    makes a line wrong; the other one has the next tokens, as far as they are right: who can tell
    what comes next sees that something else came.
    """
    good, bad = (tokenizer.token_to_id(label) for label in (GOOD, BAD))
    prompt = f"{JUDGE}{problem.question}\n"
    encoding = tokenizer.encode(prompt + "".join(f"{line}\n" for line in attempt.lines))
    verdicts = _verdicts(problem, attempt)
    is_read = rng.random() < 0.5
    targets, weights = [*encoding.ids[1:], 0], []
    for index, (_, end) in enumerate(encoding.offsets):
        place = end - len(prompt)
        if place <= 0:
            weights.append(PROMPT_WEIGHT if place < 0 else 0.0)
            continue
        is_right, is_line = verdicts[place - 1]
        if is_read and not is_line:
            next_end = encoding.offsets[index + 1][1] - len(prompt)
            weights.append(READ_WEIGHT if verdicts[next_end - 1][0] else 0.0)
            continue
        targets[index] = good if is_right else bad
        weights.append(LINE_WEIGHT if is_line else TOKEN_WEIGHT)
    return Document(encoding.ids, targets, weights)


def _verdicts(problem: Problem, attempt: Attempt) -> list[tuple[bool, bool]]:
    """Tell of each character whether all is right so far, and whether it ends a line."""
    expected = problem.solution.split("\n")
    found: list[tuple[bool, bool]] = []
    was_right = True
    for number, (line, is_right) in enumerate(zip(attempt.lines, attempt.is_right, strict=True)):
        right_line = expected[number] if number < len(expected) else ""
        found += [
            (is_right or (was_right and right_line.startswith(line[:end])), False)
            for end in range(1, len(line) + 1)
        ]
        found.append((is_right, True))
        was_right = is_right
    return found


def _prompt_or(weight: float, encoding: Encoding, prompt: int) -> list[float]:
    return [weight if start >= prompt else PROMPT_WEIGHT for start, _ in encoding.offsets]


def _continuation(ids: list[int], counts: list[list[float]]) -> Document:
    """Make each token the target of the one before; ``counts`` are weights of tokens as targets."""
    weights = [weight for part in counts for weight in part]
    return Document(ids, [*ids[1:], 0], [*weights[1:], 0.0])
