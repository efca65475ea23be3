"""Telling a story: sentences that change a count, and the calculation that they amount to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from dynasor.datasets.arithmetic.steps import Quantity, Sign, Step, conclusion, operate
from dynasor.datasets.arithmetic.wordings import PARTS, SETTINGS, SPOTS, TIMES, Owner, Setting

NOTHING = Quantity(0)

_LARGEST_FACTOR = 9
"""Factors and divisors are single digits, as in a multiplication table."""


@dataclass(slots=True)
class Story:
    """Grow one problem: the sentences so far, the lines of its solution and the current count."""

    rng: Random
    setting: Setting
    limit: int
    owner: Owner
    things: str
    count: Quantity = NOTHING
    is_pronoun_clear: bool = False
    sentences: list[str] = field(default_factory=list)
    calculation: list[Step] = field(default_factory=list)

    @property
    def value(self) -> int:
        """The current count."""
        return self.count.value

    @property
    def question(self) -> str:
        """The sentences so far."""
        return " ".join(self.sentences)

    @property
    def solution(self) -> str:
        """The calculation so far, a line a step, and the count that it ends with."""
        return "\n".join([*(f"{step}." for step in self.calculation), conclusion(self.value)])

    def calculate(self, left: Quantity | int, sign: Sign, right: Quantity | int) -> Quantity:
        """Write one step into the solution and return its result."""
        a, b = (x if isinstance(x, Quantity) else Quantity(x) for x in (left, right))
        self.calculation.append(Step(a, sign, b, operate(a.value, sign, b.value)))
        return Quantity(self.calculation[-1].result, len(self.calculation) - 1)

    def operand(self, sign: Sign) -> int | None:
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
        largest = max(2 * _LARGEST_FACTOR, self.limit // 10)
        return count, self.rng.randint(2, min(largest, room // count))

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


_Move = Callable[[Story, str], bool]
"""Extend a story by one sentence of the named kind, or change nothing and return False."""


def _start(story: Story, kind: str) -> bool:
    story.count = Quantity(story.rng.randint(2, max(4, story.limit // 2)))
    story.say(kind, story.owner, n=story.value)
    return True


def _start_groups(story: Story, kind: str) -> bool:
    drawn = story.groups(story.limit)
    if drawn is None:
        return False
    a, b = drawn
    story.count = story.calculate(a, "*", b)
    story.say(kind, story.owner, a=a, b=b)
    return True


def _start_sum(story: Story, kind: str) -> bool:
    a, b = (story.rng.randint(2, story.limit // 2) for _ in range(2))
    story.count = story.calculate(a, "+", b)
    story.say(kind, story.owner, a=a, b=b)
    return True


def _friend(story: Story) -> Owner:
    return story.rng.choice([owner for owner in story.setting.owners if owner != story.owner])


def _operate(sign: Sign, *, is_new_owner: bool = False) -> _Move:
    def move(story: Story, kind: str) -> bool:
        n = story.operand(sign)
        if n is None:
            return False
        friend = _friend(story)
        story.say(kind, friend, n=n)
        story.count = story.calculate(story.count, sign, n)
        if is_new_owner:
            story.owner, story.is_pronoun_clear = friend, False
        return True

    return move


def _operate_groups(sign: Sign) -> _Move:
    def move(story: Story, kind: str) -> bool:
        drawn = story.groups(story.limit - story.value if sign == "+" else story.value - 1)
        if drawn is None:
            return False
        a, b = drawn
        story.say(kind, _friend(story), a=a, b=b)
        story.count = story.calculate(story.count, sign, story.calculate(a, "*", b))
        return True

    return move


def _ask(story: Story, kind: str) -> bool:
    story.say(kind, story.owner)
    return True


def _ask_missing(story: Story, kind: str) -> bool:
    if story.value >= story.limit:
        return False
    goal = story.rng.randint(story.value + 1, story.limit)
    story.say(kind, _friend(story), n=goal)
    story.count = story.calculate(goal, "-", story.count)
    return True


def _ask_together(sign: Sign) -> _Move:
    def move(story: Story, kind: str) -> bool:
        n = story.operand(sign)
        if n is None:
            return False
        story.say(kind, _friend(story), n=n)
        own = story.count
        story.count = story.calculate(own, "+", story.calculate(own, sign, n))
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


def _play(story: Story, moves: dict[str, tuple[int, _Move]], budget: int) -> int | None:
    """Make one random move of at most ``budget`` steps; return its steps, None if it failed."""
    known = story.setting.sentences
    kinds = [kind for kind, (cost, _) in moves.items() if cost <= budget and kind in known]
    kind = story.rng.choice(kinds)
    cost, move = moves[kind]
    return cost if move(story, kind) else None


def tell(rng: Random, steps: int, bounds: Sequence[int]) -> Story | None:
    """Try to tell a story with exactly that many steps; None where the numbers did not fit."""
    setting = rng.choice(SETTINGS)
    owner, things = rng.choice(setting.owners), rng.choice(setting.things)
    story = Story(rng, setting, rng.choice(bounds), owner, things)
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
