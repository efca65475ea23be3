"""Which cached blocks only one program used."""

from hypothesis import given
from hypothesis import strategies as st

from dynasor.plugins import footprints as module
from dynasor.plugins.footprints import Footprints

USES = st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.binary(max_size=1), max_size=5)))


def test_own_blocks_last_first():
    """A program's own blocks come back the deepest first, and only once."""
    prints = Footprints()
    prints.add("a", [b"1", b"2", b"3"])
    prints.add("a", [b"1", b"2", b"4"])
    assert prints.take("a") == [b"4", b"3", b"2", b"1"]
    assert prints.take("a") == []
    assert len(prints) == 0


@given(USES)
def test_shared_blocks_are_nobodys(uses):
    """A block that two programs used is never offered, whoever ends first."""
    prints, users = Footprints(), {}
    for program, blocks in uses:
        prints.add(program, blocks)
        for block in blocks:
            users.setdefault(block, set()).add(program)
    for program in "abc":
        taken = prints.take(program)
        assert sorted(taken) == sorted(block for block in users if users[block] == {program})


def test_memory_is_bounded(monkeypatch):
    """When too many blocks are known they are forgotten: nothing is offered, nothing breaks."""
    monkeypatch.setattr(module, "MOST", 3)
    prints = Footprints()
    prints.add("a", [b"1", b"2", b"3", b"4"])
    prints.add("b", [b"5"])
    assert len(prints) == 1
    assert prints.take("a") == []
    assert prints.take("b") == [b"5"]
