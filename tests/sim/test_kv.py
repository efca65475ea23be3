from __future__ import annotations

import pytest

from dynasor.sim import Segment
from dynasor.sim.kv import PagedCache

ALL, QUESTION = Segment("all", 6), Segment("q", 7)
PATH = (ALL, QUESTION)  # 13 tokens: three whole blocks of 4, and one begun


def cache(blocks=10, **rest):
    """Memory of blocks of 4 tokens."""
    return PagedCache(blocks, 4, **rest)


def test_blocks():
    """Tokens take the blocks that they fill and the one that they begin."""
    assert [cache().blocks_of(tokens) for tokens in (0, 1, 4, 5)] == [0, 1, 1, 2]


def test_whole_blocks_are_shared():
    """Two calls with one prompt share its whole blocks; the begun one is each one's own."""
    memory = cache()
    first = memory.hold(PATH, 13, "p")
    assert (memory.used, memory.found(PATH)) == (4, 12)
    second = memory.hold(PATH, 13, "p")
    assert memory.used == 5
    memory.release(first, 13)
    assert (memory.used, memory.kept, memory.free) == (4, 1, 5)
    memory.release(second, 13)
    assert (memory.used, memory.kept, memory.free) == (0, 5, 5)
    assert memory.found(PATH) == 12


def test_a_block_of_two_segments():
    """A block belongs to the segment that ends it: what follows the same beginning finds less."""
    memory = cache()
    memory.release(memory.hold(PATH, 13, "p"), 13)
    assert memory.found((ALL, Segment("other", 7))) == 4
    assert memory.found((ALL,)) == 4
    assert memory.found((Segment("nobody", 6), QUESTION)) == 0


def test_small_segments():
    """Segments too short for a block of their own are no obstacle."""
    memory = cache()
    path = (Segment("a", 1), Segment("ab", 1), Segment("abc", 3))
    memory.release(memory.hold(path, 5, "p"), 5)
    assert memory.found(path) == 4


def test_lacking():
    """Nothing is taken where memory lacks, what must be spared counts, and sharing helps."""
    memory = cache(4)
    assert memory.hold((), 17, "p") is None
    assert memory.hold((), 16, "p", spare=1) is None
    assert (memory.used, memory.free) == (0, 4)
    memory.hold(PATH, 13, "p")
    assert memory.hold(PATH, 13, "p") is None
    assert memory.hold(PATH[:1], 4, "p") is not None


def test_own_prompt_is_not_evicted_for_itself():
    """What a call finds is not what it may evict to get the rest."""
    memory = cache(4)
    memory.release(memory.hold(PATH, 12, "p"), 12)
    assert (memory.kept, memory.free) == (3, 1)
    assert memory.hold(PATH, 17, "p") is None
    assert memory.hold(PATH, 16, "p") is not None
    assert (memory.used, memory.kept, memory.free) == (4, 0, 0)


def test_eviction_from_the_end():
    """What was given back first goes first, and of a path its end; the free ones before all."""
    memory = cache(5)
    memory.release(memory.hold(PATH, 13, "p"), 13)
    found = []
    for _ in range(5):
        memory.grow(1)
        found.append(memory.found(PATH))
    assert found == [12, 12, 8, 4, 0], "free, begun, and then the three whole ones"
    assert (memory.used, memory.kept, memory.free) == (5, 0, 0)


def test_use_renews():
    """A prompt that is used again goes after those that were not."""
    memory = cache(4)
    for key in ("a", "b", "a"):
        memory.release(memory.hold((Segment(key, 8),), 8, key), 8)
    memory.grow(2)
    assert [memory.found((Segment(key, 8),)) for key in "ab"] == [8, 0]


def test_generated_under_a_key():
    """What a call leaves under a key is found behind its prompt; a second time adds nothing."""
    memory = cache()
    path = (*PATH, Segment("step", 6))
    for _ in range(2):
        holding = memory.hold(PATH, 13, "p")
        memory.grow(1)
        memory.release(holding, 18, "step", "p")
    assert memory.found(path) == 16
    assert memory.found((*PATH, Segment("step", 7))) == 16


@pytest.mark.parametrize("tokens", [0, 3, 4, 9, 12, 13])
def test_forgetting(tokens):
    """Of a prompt that was never computed to its end only what was is found later."""
    memory = cache()
    holding = memory.hold(PATH, 13, "p")
    memory.forget(holding, tokens)
    memory.release(holding, 13)
    assert memory.found(PATH) == min(12, tokens // 4 * 4)
    assert (memory.used, memory.kept) == (0, 4)


def test_forgetting_what_others_have():
    """What was in memory before a call came stays, as does what another call uses."""
    memory = cache()
    memory.release(memory.hold(PATH[:1], 6, "p"), 6)
    holding = memory.hold(PATH, 13, "p")
    memory.forget(holding, 0)
    memory.release(holding, 13)
    assert memory.found(PATH) == 4
    first, second = memory.hold(PATH, 13, "p"), memory.hold(PATH, 13, "p")
    memory.forget(second, 0)
    memory.release(second, 13)
    memory.release(first, 13)
    assert memory.found(PATH) == 12


def test_retired_first():
    """`idle-first` evicts what retired programs left before all else, in its order."""
    memory = cache(3, eviction="idle-first")
    for key in "abc":
        memory.release(memory.hold((Segment(key, 4),), 4, key), 4)
    memory.retire("c")
    memory.retire("b")
    gone = []
    for _ in "abc":
        memory.grow(1)
        gone += [key for key in "abc" if key not in gone and not memory.found((Segment(key, 4),))]
    assert gone == ["c", "b", "a"]


def test_retired_in_use():
    """What a retired program shares with a running call is evicted only when that has ended."""
    memory = cache(2, eviction="idle-first")
    path = (Segment("a", 4),)
    holding = memory.hold(path, 4, "p")
    memory.retire("p")
    memory.retire("p")
    memory.grow(1)
    assert memory.found(path) == 4
    memory.release(holding, 4)
    memory.grow(1)
    assert memory.found(path) == 0
    assert not memory._owned, "nothing is remembered of programs that are over"


def test_repr():
    """A cache says how full it is."""
    assert repr(cache()) == "<PagedCache 0 of 10 blocks used, 0 kept>"
