from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.stage import toy
from toys.words import Words, compare

from dynasor.core.errors import IllegalTransition
from dynasor.core.events import Grouped
from dynasor.core.grouping import Grouping
from dynasor.core.program import Fork, Group, Sample
from dynasor.core.types import Generate, Prompt


def grouping():
    return Grouping(Words())


def test_equal_strings_skip_the_workers():
    """An answer seen before has its class at once."""
    one = grouping()
    assert one.place("ab") == 0
    assert one.place("ab") == 0
    assert one.next_batch() == ()


def test_quick_verdicts_skip_the_workers():
    """What the task decides at once needs no worker: other length, same case."""
    one = grouping()
    assert [one.place(word) for word in ("ab", "abc", "cd", "ab")] == [0, 1, 2, 0]
    assert one.representatives == ["ab", "abc", "cd"]


def test_quick_agreement():
    """What the task finds equal at once shares a class, and is known from then on."""

    class Loose(Words):
        def same(self, left, right):
            asked.append(left)
            return left.lower() == right.lower()

    asked = []
    one = Grouping(Loose())
    assert [one.place(word) for word in ("ab", "AB", "AB", "cd")] == [0, 0, 0, 1]
    assert asked == ["AB", "cd"]
    assert one.representatives == ["ab", "cd"]


def test_open_question():
    """Where one comparison needs a worker the answer waits, and a batch asks each answer once."""
    one = grouping()
    one.place("ab")
    assert one.place("AB") is None
    one.wait(7, "AB")
    one.wait(8, "CD")
    one.wait(9, "AB")
    assert one.next_batch() == ("AB", "CD")
    assert one.is_outstanding
    assert one.next_batch() == (), "one outstanding at a time"
    assert one.resolve((0, 2)) == [(7, 0), (8, 1), (9, 0)]
    assert not one.is_outstanding
    assert one.representatives == ["ab", "CD"]


def test_wait_while_outstanding():
    """While a comparison is out, an answer that equals no class waits for the next one."""
    one = grouping()
    one.place("ab")
    one.wait(1, "AB")
    assert one.next_batch() == ("AB",)
    assert one.place("xyz") is None, "AB may become a class of its own"
    assert one.place("ab") == 0
    one.wait(2, "xyz")
    one.wait(3, "CD")
    assert one.resolve((1,)) == [(1, 1), (2, 2)], "xyz differs from both at once"
    assert one.next_batch() == ("CD",), "ab is a lower-case word of the same length"


def test_classes_within_a_batch():
    """New answers may equal each other: the first of them names the class."""
    one = grouping()
    for strand, word in enumerate(("AB", "ab", "Ab")):
        one.wait(strand, word)
    assert one.next_batch() == ("AB", "ab", "Ab")
    assert one.resolve((0, 0, 0)) == [(0, 0), (1, 0), (2, 0)]
    assert one.representatives == ["AB"]


@pytest.mark.parametrize("classes", [(), (0, 0), (2,), (-1,)])
def test_impossible_verdicts(classes):
    """A verdict that does not fit the batch is refused and changes nothing."""
    one = grouping()
    one.place("ab")
    one.wait(1, "AB")
    one.next_batch()
    with pytest.raises(IllegalTransition, match="do not fit"):
        one.check(classes)
    one.check((0,))
    one.check((1,))


@given(st.lists(st.text("aAbB", min_size=1, max_size=2), max_size=20), st.data())
def test_classes_are_an_equivalence(words, data):
    """Answers end in one class exactly if a worker finds them equal, whatever the batches."""
    one, placed, waiting = grouping(), {}, {}
    for strand, word in enumerate(words):
        group = one.place(word)
        if group is None:
            one.wait(strand, word)
            waiting[strand] = word
        else:
            placed[strand] = group
        if data.draw(st.booleans()):
            _round(one, placed)
    while len(placed) < len(words):
        _round(one, placed)
    for strand, word in enumerate(words):
        assert one.representatives[placed[strand]].lower() == word.lower()
    assert len({name.lower() for name in one.representatives}) == len(one.representatives)


def _round(one, placed):
    known = tuple(one.representatives)
    batch = one.next_batch()
    if batch:
        classes = compare("words", batch, known)
        one.check(classes)
        placed.update(one.resolve(classes))


# On the scheduler.


def grouper(*words):
    """A program that groups these words, each in a strand that samples first."""

    def execute(self, context):
        for word in words:
            yield Fork(branch(self, word))

    def branch(self, word):
        yield Sample(Generate(Prompt(())))
        group = yield Group(word)
        self.heard.append((word, group))

    return toy(execute)


def test_batches(stage):
    """Answers that come while a comparison is out go into one next batch."""
    on = stage(grouper("ab", "AB", "CD", "Cd", None))
    program = on.arrive(spec="toy", params={})
    calls = on.calls
    on.finish(calls[0])
    assert on.compares == {}
    on.finish(calls[1])
    first = on.compares[program]
    assert (first.new, first.representatives) == (("AB",), ("ab",))
    assert (first.serial, first.task) == (1, "words")
    on.finish(calls[2])
    on.finish(calls[3])
    on.finish(calls[4])
    heard = on.run(program).program.heard
    assert heard == [("ab", 0), (None, None)], "no answer needs no class"
    on.verdict(program, 0, failures=2)
    second = on.compares[program]
    assert (second.new, second.representatives, second.serial) == (("CD", "Cd"), ("ab",), 2)
    assert on.run(program).grouping.failures == 2
    on.verdict(program, 1, 1)
    assert sorted(heard, key=str) == sorted(
        [("ab", 0), (None, None), ("AB", 0), ("CD", 1), ("Cd", 1)], key=str
    )
    assert on.answers[program].reason == "done"


def test_stale_verdicts(stage):
    """A verdict on another comparison, or on none, is ignored and counted."""
    on = stage(grouper("ab", "AB"))
    program = on.arrive(spec="toy", params={})
    for call in on.calls:
        on.finish(call)
    compare = on.compares[program]
    for serial, name in ((0, program), (2, program), (1, "nobody")):
        on.send(Grouped(name, serial, (0,)))
    assert on.scheduler.ignored == 3
    on.verdict(program, 0)
    on.send(Grouped(program, compare.serial, (0,)))
    assert on.scheduler.ignored == 4


def test_impossible_verdict_changes_nothing(stage):
    """An impossible verdict raises; the right one still counts afterwards."""
    on = stage(grouper("ab", "AB"))
    program = on.arrive(spec="toy", params={})
    for call in on.calls:
        on.finish(call)
    with pytest.raises(IllegalTransition):
        on.scheduler.handle(Grouped(program, 1, (5,)), on.now)
    on.verdict(program, 0)
    assert on.answers[program].status == "answered"
