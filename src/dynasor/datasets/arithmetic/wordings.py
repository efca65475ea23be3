"""The words of the arithmetic problems: who, what, where, and how a sentence says an operation.

This file is data. A :class:`Setting` is a small world (a child with apples, a bus with
passengers) and has, for every *kind* of sentence it can use, several templates. What a kind
computes is defined in :mod:`dynasor.datasets.arithmetic.stories`, not here.

Fields of a template:

* ``{who}``: the current owner, sometimes replaced by a pronoun; only at a sentence's start;
* ``{name}``: the current owner, never a pronoun; ``{friend}``: another owner;
* ``{things}``: what is counted; ``{spot}``: a place;
* ``{n}``: the number; ``{a}`` and ``{b}``: a count of groups and the size of a group;
* ``{times}``: the number as a factor ("twice", "3 times"); ``{part}``: as a share ("half").
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Owner:
    """Name somebody or something that has a count, and the pronoun that stands for it."""

    name: str
    pronoun: str


@dataclass(frozen=True, slots=True)
class Setting:
    """Collect the owners, the things and the sentence templates of one small world."""

    owners: tuple[Owner, ...]
    things: tuple[str, ...]
    sentences: Mapping[str, tuple[str, ...]]


TIMES = {2: "twice", 3: "three times", 4: "four times", 5: "five times", 6: "six times"}
PARTS = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth", 6: "a sixth"}

SPOTS = ("the park", "the school", "the market", "the lake", "the station", "the beach", "the hill")

_HE = "Tom Ben Max Leo Sam Dan Omar Ravi Ken Luis Ivan Hugo Paul Nico Amir Jack".split()
_SHE = "Ann Mia Eva Lena Sara Nina Aisha Mei Rosa Ida Kate Lucy Vera Yuki Zoe Emma".split()
_PEOPLE = tuple(Owner(n, "He") for n in _HE) + tuple(Owner(n, "She") for n in _SHE)

_COLLECTOR = Setting(
    owners=_PEOPLE,
    things=tuple(
        "apples pears plums nuts cookies pens books cards stamps coins shells marbles "
        "stickers balloons beads buttons eggs lemons".split()
    ),
    sentences={
        "start": (
            "{name} has {n} {things}.",
            "{name} starts with {n} {things}.",
            "At {spot} {name} finds {n} {things}.",
            "There are {n} {things} on the desk of {name}.",
        ),
        "start_groups": (
            "{name} has {a} bags with {b} {things} each.",
            "{name} buys {a} boxes of {b} {things}.",
            "{name} fills {a} jars with {b} {things} each.",
        ),
        "start_sum": (
            "{name} has {a} red and {b} blue {things}.",
            "{name} finds {a} {things} on Monday and {b} on Tuesday.",
            "{name} has {a} old and {b} new {things}.",
        ),
        "add": (
            "{who} buys {n} more.",
            "{who} finds {n} more at {spot}.",
            "{friend} gives {name} {n} {things}.",
            "{who} gets {n} more from {friend}.",
            "Then {n} more are added.",
        ),
        "remove": (
            "{who} loses {n} of them.",
            "{who} gives {n} to {friend}.",
            "{who} sells {n}.",
            "{friend} takes {n} {things} away.",
            "{who} leaves {n} at {spot}.",
        ),
        "add_groups": (
            "{who} buys {a} boxes of {b}.",
            "{a} friends give {name} {b} {things} each.",
            "{who} gets {b} more on each of {a} days.",
        ),
        "remove_groups": (
            "{who} gives {b} to each of {a} friends.",
            "{who} sells {a} bags of {b}.",
            "{who} loses {b} on each of {a} days.",
        ),
        "multiply": (
            "Soon {name} has {times} as many.",
            "{who} trades them for {times} as many.",
            "The number of {things} grows to {times} as many.",
        ),
        "divide": (
            "{who} keeps only {part} of them.",
            "{who} makes {n} equal piles and keeps one.",
            "{who} shares them equally among {n} people and keeps one share.",
        ),
        "compare_more": ("{friend} has {n} more {things} than {name}.", "{friend} has {n} more."),
        "compare_fewer": ("{friend} has {n} fewer {things} than {name}.", "{friend} has {n} less."),
        "compare_times": ("{friend} has {times} as many {things} as {name}.",),
        "compare_part": ("{friend} has {part} as many {things} as {name}.",),
        "ask": (
            "How many {things} does {name} have now?",
            "How many {things} does {name} have?",
            "How many {things} does {name} end up with?",
        ),
        "ask_price": (
            "{who} sells all for {n} dollars each. How many dollars does {name} get?",
            "Each one costs {n} dollars. How many dollars do they cost?",
        ),
        "ask_share": (
            "{who} shares all equally with {n} bags. How many {things} are in each bag?",
            "{who} puts {n} in each box. How many boxes are needed?",
            "{who} uses {n} every day. How many days do they last?",
        ),
        "ask_missing": (
            "{who} wants {n} {things}. How many more are needed?",
            "How many {things} are missing to have {n}?",
        ),
        "ask_together_times": (
            "{friend} has {times} as many as {name}. How many do they have together?",
        ),
        "ask_together_more": (
            "{friend} has {n} more than {name}. How many do they have together?",
        ),
    },
)

_MONEY = Setting(
    owners=_PEOPLE,
    things=("dollars", "euros", "coins", "pounds"),
    sentences={
        "start": (
            "{name} has {n} {things}.",
            "{name} saves {n} {things}.",
            "In the wallet of {name} are {n} {things}.",
        ),
        "start_groups": (
            "{name} earns {b} {things} a day for {a} days.",
            "{name} works {a} hours for {b} {things} an hour.",
            "{name} sells {a} hats for {b} {things} each.",
        ),
        "start_sum": (
            "{name} earns {a} {things} in May and {b} in June.",
            "{name} gets {a} {things} from mother and {b} from father.",
        ),
        "add": (
            "{who} earns {n} more.",
            "{who} gets {n} {things} from {friend}.",
            "{friend} pays {name} {n} {things}.",
            "{who} sells a toy for {n}.",
        ),
        "remove": (
            "{who} spends {n} {things}.",
            "{who} pays {n} for a bag.",
            "A ticket costs {name} {n} {things}.",
            "{who} lends {n} to {friend}.",
        ),
        "add_groups": (
            "{who} earns {b} {things} a day for {a} days.",
            "{who} sells {a} cakes for {b} each.",
        ),
        "remove_groups": (
            "{who} buys {a} hats for {b} {things} each.",
            "{who} pays {b} {things} for each of {a} meals.",
        ),
        "multiply": ("{who} works until the sum is {times} as much.",),
        "divide": ("{who} keeps only {part} of it.", "{who} spends all but {part}."),
        "compare_more": ("{friend} has {n} {things} more than {name}.",),
        "compare_fewer": ("{friend} has {n} {things} less than {name}.",),
        "compare_times": ("{friend} has {times} as much as {name}.",),
        "compare_part": ("{friend} has {part} as much as {name}.",),
        "ask": (
            "How many {things} does {name} have now?",
            "How much money does {name} have?",
        ),
        "ask_share": (
            "One book costs {n}. How many books can {name} buy?",
            "{who} shares all equally among {n} people. How much does each get?",
        ),
        "ask_missing": ("A bike costs {n}. How much more does {name} need?",),
        "ask_together_times": (
            "{friend} has {times} as much as {name}. How much do they have together?",
        ),
        "ask_together_more": ("{friend} has {n} more than {name}. How much is that together?",),
    },
)

_TRANSPORT = Setting(
    owners=tuple(Owner(f"The {n}", "It") for n in "bus train ship tram ferry plane".split()),
    things=("people", "passengers", "children", "tourists"),
    sentences={
        "start": (
            "{name} starts with {n} {things}.",
            "{name} leaves {spot} with {n} {things}.",
        ),
        "start_groups": (
            "{name} has {a} rows with {b} {things} each.",
            "{name} picks up {a} groups of {b} {things}.",
        ),
        "start_sum": ("{name} has {a} {things} in front and {b} in the back.",),
        "add": (
            "At {spot} {n} get on.",
            "{n} more {things} come in.",
            "{who} picks up {n} at {spot}.",
        ),
        "remove": (
            "At {spot} {n} get off.",
            "{n} {things} leave.",
            "{who} drops {n} at {spot}.",
        ),
        "add_groups": (
            "{a} groups of {b} get on at {spot}.",
            "At each of {a} stops {b} {things} get on.",
        ),
        "remove_groups": (
            "{a} groups of {b} get off at {spot}.",
            "At each of {a} stops {b} {things} get off.",
        ),
        "multiply": ("At {spot} the number becomes {times} as big.",),
        "divide": ("At {spot} all but {part} get off.", "Only {part} of the {things} stay."),
        "ask": (
            "How many {things} are there now?",
            "How many {things} are left?",
        ),
        "ask_price": ("Each ticket costs {n} dollars. How many dollars are paid?",),
        "ask_share": ("They form {n} equal teams. How many {things} are in a team?",),
        "ask_missing": ("There are {n} seats. How many seats are free?",),
    },
)

_STOCK = Setting(
    owners=tuple(
        Owner(f"A {n}", "It") for n in "shop farm library bakery garden school museum".split()
    ),
    things=("plants", "boxes", "chairs", "lamps", "toys", "pots", "cakes", "bottles", "tables"),
    sentences={
        "start": ("{name} has {n} {things}.", "{name} opens with {n} {things}."),
        "start_groups": (
            "{name} has {a} shelves with {b} {things} each.",
            "{name} has {a} rows of {b} {things}.",
        ),
        "start_sum": ("{name} has {a} big and {b} small {things}.",),
        "add": (
            "{who} gets {n} more.",
            "A truck brings {n} {things}.",
            "{n} new {things} arrive.",
        ),
        "remove": (
            "{n} {things} break.",
            "{who} sells {n}.",
            "A visitor takes {n} {things}.",
        ),
        "add_groups": ("{a} trucks bring {b} {things} each.", "{who} orders {a} packs of {b}."),
        "remove_groups": (
            "{a} visitors take {b} {things} each.",
            "{who} sells {b} a day for {a} days.",
        ),
        "multiply": ("After a year there are {times} as many.",),
        "divide": ("After a fire only {part} of the {things} are left.",),
        "ask": ("How many {things} are there now?", "How many {things} are left?"),
        "ask_price": ("Each one is sold for {n} dollars. How many dollars is that?",),
        "ask_share": (
            "They are put in {n} equal rows. How many {things} are in a row?",
            "A cart holds {n}. How many carts are needed for all?",
        ),
        "ask_missing": ("There is room for {n}. How many more fit?",),
    },
)

SETTINGS: tuple[Setting, ...] = (_COLLECTOR, _COLLECTOR, _MONEY, _TRANSPORT, _STOCK)
"""Every setting; the richest one is listed twice and so is drawn twice as often."""
