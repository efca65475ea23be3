"""benchmarks/_work.py: what a killed benchmark has found is there again, and nothing else is."""

from __future__ import annotations

import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.core.errors import UserError

CONDITIONS = {"engine": "embedded", "live": 16}


@pytest.fixture
def work(benchmarks):
    return importlib.import_module("_work")


@pytest.fixture
def opened(work, tmp_path):
    """Return what opens the work file; conditions may be said anew."""

    def begin(shape=int, **said):
        return work.Work(tmp_path, "runs", {**CONDITIONS, **said}, shape)

    return begin


def test_what_was_added_is_there_again(opened):
    """Another run finds every value under its key, numbers as numbers."""
    with opened() as first:
        first.add(("mcts 20", 0, "q1"), 3)
        first.add(("mcts 20", 1, "q1"), 4)
    with opened() as again:
        assert len(again) == 2
        assert again["mcts 20", 1, "q1"] == 4
        assert ("mcts 20", 0, "q1") in again
        assert ("mcts 20", "0", "q1") not in again


@given(cut=st.integers(0, 200))
def test_a_torn_line_is_dropped(cut, tmp_path_factory):
    """Wherever a kill cuts the file, whole lines are kept, and the rest is found anew."""
    work = importlib.import_module("_work")
    folder = tmp_path_factory.mktemp("work")
    with work.Work(folder, "runs", CONDITIONS, int) as first:
        for number in range(3):
            first.add(("q", number), number)
    data = first.path.read_bytes()
    first.path.write_bytes(data[:cut])
    whole = max(0, data[:cut].count(b"\n") - 1)
    with work.Work(folder, "runs", CONDITIONS, int) as again:
        assert len(again) == whole
        for number in range(whole, 3):
            again.add(("q", number), number)
    assert first.path.read_bytes() == data


def test_other_conditions_are_refused(opened):
    """What was found with another engine is not mixed in."""
    opened().close()
    with pytest.raises(UserError, match="begun with engine 'embedded', not 'http://a'"):
        opened(engine="http://a")
    opened().close()  # and the file was let go of


def test_another_file_is_refused(opened, tmp_path):
    """A file of something else is named, and not written over."""
    (tmp_path / "runs.jsonl").write_text('{"some": "thing"}\n')
    with pytest.raises(UserError, match="line 1 is none of its own"):
        opened()
    assert (tmp_path / "runs.jsonl").read_text() == '{"some": "thing"}\n'


def test_values_of_another_shape_are_refused(opened):
    """A line that an older form of the benchmark wrote is named."""
    with opened(str) as first:
        first.add(("q",), "a text")
    with pytest.raises(UserError, match="line 2 is none of its own"):
        opened()


def test_one_run_at_a_time(opened):
    """A second run on the same file is refused while the first one has it."""
    with opened(), pytest.raises(UserError, match="another run"):
        opened()
