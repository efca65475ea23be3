"""A seeded generator of graded arithmetic word problems with one to eight steps.

A problem is a short story about a count: an opening sentence, sentences that change the count,
and a question. Each step of the solution is one operation on whole numbers. Difficulty is set by
the number of steps and by the largest number allowed on the way (:func:`limits`).

The training and the held-out problems are disjoint by construction: a SHA-256 hash of the
*solution* decides the split, so no chain of calculations that is held out ever appears in
training, in whatever words.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import Literal

from dynasor.datasets.arithmetic_wordings import PARTS, SETTINGS, SPOTS, TIMES, Owner, Setting

Split = Literal["train", "heldout"]

MAX_STEPS = 8
"""The longest problem; the generator accepts 1 to this many steps."""

_QUESTION_CHARACTERS, _SOLUTION_CHARACTERS = 320, 102
"""Longer drafts are thrown away: about 90 and 80 tokens of the embedded model's tokenizer."""

_HELDOUT_SHARE = 16
"""One solution in this many is held out."""

_LARGEST_FACTOR = 9
"""Factors and divisors are single digits, as in a multiplication table."""


@dataclass(frozen=True, slots=True)
class Problem:
    r"""Hold one word problem and its worked solution.

    ``id`` is unique among problems drawn with the same split, seed and steps. ``solution`` has
    one line per step, like ``12+7=19.``, and ends with ``The answer is \boxed{19}.``;
    ``answer`` is that number in decimal digits; ``steps`` is 1 to 8.
    """

    id: str
    question: str
    solution: str
    answer: str
    steps: int


def problems(
    split: Split, seed: int = 0, steps: Sequence[int] = range(1, MAX_STEPS + 1)
) -> Iterator[Problem]:
    """Yield problems of one split for ever; the same arguments yield the same problems.

    Step counts follow ``steps`` in turn, so ``range(1, 9)`` is an even mix of difficulties and a
    list with repeated entries is a weighted one. Training problems may repeat; held-out ones may
    too, but very rarely with more than one step (use :func:`heldout` for distinct ones).

    Raises:
        ValueError: ``steps`` is empty or has an entry outside 1 to 8, or the split is unknown.
    """
    if split not in ("train", "heldout"):
        raise ValueError(f"split is {split!r}, expected 'train' or 'heldout'")
    if not steps or not all(1 <= count <= MAX_STEPS for count in steps):
        raise ValueError(f"steps is {steps!r}, expected counts from 1 to {MAX_STEPS}")
    return _generate(split, seed, steps)


def heldout(count: int, seed: int = 0) -> list[Problem]:
    """Return ``count`` distinct held-out problems, an even mix of 1 to 8 steps.

    Problem ``i`` has ``1 + i % 8`` steps as long as no duplicate is skipped, so every prefix of
    the list is a mix as well: a quarter easy (1 and 2 steps, numbers to 50), a quarter with 3
    and 4 steps (to 100), a quarter with 5 and 6 (to 200) and a quarter with 7 and 8 (to 300).

    Raises:
        ValueError: ``count`` is negative.
    """
    if count < 0:
        raise ValueError(f"count is {count}, expected 0 or more")
    return list(islice(_distinct(problems("heldout", seed)), count))


def split_of(solution: str) -> Split:
    """Tell which split a solution belongs to; one in sixteen is held out."""
    first = hashlib.sha256(solution.encode()).digest()[0]
    return "heldout" if first % _HELDOUT_SHARE == 0 else "train"


def limits(steps: int) -> tuple[int, ...]:
    """Return the bounds one of which a problem's numbers keep to; a final sum may be twice that."""
    return {0: (20, 50), 1: (50, 100), 2: (100, 200), 3: (100, 300)}[(steps - 1) // 2]


def _distinct(stream: Iterator[Problem]) -> Iterator[Problem]:
    seen: set[str] = set()
    for problem in stream:
        if problem.question not in seen:
            seen.add(problem.question)
            yield problem


def _generate(split: Split, seed: int, steps: Sequence[int]) -> Iterator[Problem]:
    rng = Random(f"arithmetic/{split}/{seed}")
    index = 0
    while True:
        count = steps[index % len(steps)]
        story = _tell(rng, count)
        if story is None or not story.is_short or split_of(story.solution) != split:
            continue
        yield Problem(
            id=f"arithmetic-{split}-{seed}-{index}",
            question=story.question,
            solution=story.solution,
            answer=str(story.value),
            steps=count,
        )
        index += 1


@dataclass(slots=True)
class _Story:
    """Grow one problem: the sentences so far, the lines of its solution and the current count."""

    rng: Random
    setting: Setting
    limit: int
    owner: Owner
    things: str
    value: int = 0
    is_pronoun_clear: bool = False
    sentences: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def question(self) -> str:
        return " ".join(self.sentences)

    @property
    def is_short(self) -> bool:
        return (
            len(self.question) <= _QUESTION_CHARACTERS
            and len(self.solution) <= _SOLUTION_CHARACTERS
        )

    @property
    def solution(self) -> str:
        return "\n".join([*self.lines, f"The answer is \\boxed{{{self.value}}}."])

    def calculate(self, left: int, sign: str, right: int) -> int:
        """Write one step into the solution and return its result."""
        result = {"+": left + right, "-": left - right, "*": left * right, "/": left // right}[sign]
        self.lines.append(f"{left}{sign}{right}={result}.")
        return result

    def operand(self, sign: str) -> int | None:
        """Draw a number that keeps the count between 1 and the limit, or None if there is none."""
        low, high = 1, 0
        if sign == "+":
            high = min(self.limit - self.value, self.limit // 2)
        elif sign == "-":
            high = self.value - 1
        elif sign == "*":
            low, high = 2, min(_LARGEST_FACTOR, self.limit // self.value)
        elif sign == "/":
            divisors = [d for d in range(2, _LARGEST_FACTOR + 1) if self.value % d == 0]
            return self.rng.choice(divisors) if divisors and self.value > 1 else None
        return self.rng.randint(low, high) if high >= low else None

    def groups(self, room: int) -> tuple[int, int] | None:
        """Draw a count of groups and a group size whose product is at most ``room``."""
        if room < 4:
            return None
        count = self.rng.randint(2, min(_LARGEST_FACTOR, room // 2))
        return count, self.rng.randint(2, min(2 * _LARGEST_FACTOR, room // count))

    def say(self, kind: str, friend: Owner, **numbers: int) -> None:
        """Append a sentence of one kind; its owner may become a pronoun where that is clear."""
        template = self.rng.choice(self.setting.sentences[kind])
        name = self.owner.name
        inner = _the(name) if self.owner.pronoun == "It" else name
        is_pronoun = self.is_pronoun_clear and self.rng.random() < 0.5
        who = self.owner.pronoun if is_pronoun else (inner[0].upper() + inner[1:])
        n = numbers.get("n", 0)
        text = template.format(
            who=who,
            name=name if not self.sentences else inner,
            friend=friend.name,
            things=self.things,
            spot=self.rng.choice(SPOTS),
            times=self.rng.choice((TIMES.get(n, f"{n} times"), f"{n} times")),
            part=PARTS.get(n, f"one of {n} equal parts"),
            a=numbers.get("a", 0),
            b=numbers.get("b", 0),
            n=n,
        )
        self.sentences.append(text[0].upper() + text[1:])
        self.is_pronoun_clear = True


def _the(name: str) -> str:
    """Turn "A shop" or "The bus" into the form used inside a sentence."""
    return "the " + name.split(" ", 1)[1]


_Move = Callable[[_Story, str], bool]
"""Extend a story by one sentence of the named kind, or change nothing and return False."""


def _start(story: _Story, kind: str) -> bool:
    story.value = story.rng.randint(2, max(4, story.limit // 2))
    story.say(kind, story.owner, n=story.value)
    return True


def _start_groups(story: _Story, kind: str) -> bool:
    drawn = story.groups(story.limit)
    if drawn is None:
        return False
    a, b = drawn
    story.value = story.calculate(a, "*", b)
    story.say(kind, story.owner, a=a, b=b)
    return True


def _start_sum(story: _Story, kind: str) -> bool:
    a, b = (story.rng.randint(2, story.limit // 2) for _ in range(2))
    story.value = story.calculate(a, "+", b)
    story.say(kind, story.owner, a=a, b=b)
    return True


def _friend(story: _Story) -> Owner:
    return story.rng.choice([owner for owner in story.setting.owners if owner != story.owner])


def _operate(sign: str, *, is_new_owner: bool = False) -> _Move:
    def move(story: _Story, kind: str) -> bool:
        n = story.operand(sign)
        if n is None:
            return False
        friend = _friend(story)
        story.say(kind, friend, n=n)
        story.value = story.calculate(story.value, sign, n)
        if is_new_owner:
            story.owner, story.is_pronoun_clear = friend, False
        return True

    return move


def _operate_groups(sign: str) -> _Move:
    def move(story: _Story, kind: str) -> bool:
        drawn = story.groups(story.limit - story.value if sign == "+" else story.value - 1)
        if drawn is None:
            return False
        a, b = drawn
        story.say(kind, _friend(story), a=a, b=b)
        story.value = story.calculate(story.value, sign, story.calculate(a, "*", b))
        return True

    return move


def _ask(story: _Story, kind: str) -> bool:
    story.say(kind, story.owner)
    return True


def _ask_missing(story: _Story, kind: str) -> bool:
    if story.value >= story.limit:
        return False
    goal = story.rng.randint(story.value + 1, story.limit)
    story.say(kind, _friend(story), n=goal)
    story.value = story.calculate(goal, "-", story.value)
    return True


def _ask_together(sign: str) -> _Move:
    def move(story: _Story, kind: str) -> bool:
        n = story.operand(sign)
        if n is None:
            return False
        story.say(kind, _friend(story), n=n)
        own = story.value
        story.value = story.calculate(own, "+", story.calculate(own, sign, n))
        return True

    return move


_STARTS: dict[str, tuple[int, _Move]] = {
    "start": (0, _start),
    "start_groups": (1, _start_groups),
    "start_sum": (1, _start_sum),
}
_CHANGES: dict[str, tuple[int, _Move]] = {
    "add": (1, _operate("+")),
    "remove": (1, _operate("-")),
    "multiply": (1, _operate("*")),
    "divide": (1, _operate("/")),
    "add_groups": (2, _operate_groups("+")),
    "remove_groups": (2, _operate_groups("-")),
    "compare_more": (1, _operate("+", is_new_owner=True)),
    "compare_fewer": (1, _operate("-", is_new_owner=True)),
    "compare_times": (1, _operate("*", is_new_owner=True)),
    "compare_part": (1, _operate("/", is_new_owner=True)),
}
_ASKS: dict[str, tuple[int, _Move]] = {
    "ask": (0, _ask),
    "ask_price": (1, _operate("*")),
    "ask_share": (1, _operate("/")),
    "ask_missing": (1, _ask_missing),
    "ask_together_times": (2, _ask_together("*")),
    "ask_together_more": (2, _ask_together("+")),
}


def _play(story: _Story, moves: dict[str, tuple[int, _Move]], budget: int) -> int | None:
    """Make one random move of at most ``budget`` steps; return its steps, None if it failed."""
    known = story.setting.sentences
    kinds = [kind for kind, (cost, _) in moves.items() if cost <= budget and kind in known]
    kind = story.rng.choice(kinds)
    cost, move = moves[kind]
    return cost if move(story, kind) else None


def _tell(rng: Random, steps: int) -> _Story | None:
    """Try to tell a story with exactly that many steps; None where the numbers did not fit."""
    setting = rng.choice(SETTINGS)
    owner, things = rng.choice(setting.owners), rng.choice(setting.things)
    story = _Story(rng, setting, rng.choice(limits(steps)), owner, things)
    used = _play(story, _STARTS, steps)
    if used is None:
        return None
    left = steps - used
    is_plain = rng.random() < 0.5
    while left > (0 if is_plain else 2):
        change = _play(story, _CHANGES, left)
        if change is None:
            return None
        left -= change
    asked = _play(story, _ASKS if left else {"ask": _ASKS["ask"]}, left)
    return story if asked == left else None
