"""Thoughts are parted from what follows them, however the text is cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dynasor.gateway.thoughts import Thoughts


@given(st.text(alphabet="<a/b>"), st.text(alphabet="<a/b>"), st.data())
def test_any_cuts(before, after, data):
    """What is passed on is the text before the first tag, whatever the pieces are."""
    whole = before + "</ab>" + after if data.draw(st.booleans()) else before
    thoughts, passed = Thoughts("</ab>"), ""
    while whole or not passed:
        size = data.draw(st.integers(1, 4))
        piece, rest = whole[:size], whole[size:]
        passed += thoughts.pass_on(piece)
        if not rest:
            passed += thoughts.rest()
            break
        whole = rest
    text = before + ("</ab>" + after)
    assert passed in {text.partition("</ab>")[0], before.partition("</ab>")[0]}


def test_held_back():
    """What may be the beginning of the tag is held back until it is known not to be."""
    thoughts = Thoughts("</think>")
    assert thoughts.pass_on("so </th") == "so "
    assert thoughts.pass_on("at") == "</that"
    assert thoughts.pass_on("</think>4") == ""
    assert thoughts.pass_on("more") == thoughts.rest() == ""
