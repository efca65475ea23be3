"""Traces of programs: grouped by syntax or by the model's own tests, graded in the sandbox."""

from __future__ import annotations

import pytest

from dynasor.core.errors import ConfigError, UserError
from dynasor.evaluate.classes import Sorting, sort_trace
from dynasor.traces import Header, Sample, SamplingLine, read_trace, write_trace

pytestmark = pytest.mark.process

QUESTION = 'def add(a, b):\n    """Add two numbers."""\n'
REFERENCE = "assert add(2, 2) == 4\nassert add(-1, 0) == -1\n"
RIGHT = "    return a + b\n"
RENAMED = "    total = a + b\n    return total\n"
LUCKY = "    return a * b\n"  # 2 * 2 is 4, too
BROKEN = "    return nothing\n"
LOST = "    raise ValueError\n"
TESTS = ["assert add(2, 2) == 4", "assert add(1, 2) == 3", "assert add("]


def trace(tmp_path, *answers, tests=TESTS):
    path = tmp_path / "code.jsonl"
    head = Header(dynasor_trace=1, kind="sampling", workload="w", model="m", task="code")
    samples = tuple(Sample(one or "", 5, one) for one in answers)
    extra = {} if tests is None else {"own_tests": tests}
    write_trace(path, head, [SamplingLine("q", QUESTION, samples, REFERENCE, extra)])
    return read_trace(path)


def test_by_the_models_own_tests(tmp_path):
    """Programs that pass the same tests are one class; those that pass none are no answer."""
    given = trace(tmp_path, RIGHT, BROKEN, RENAMED, LUCKY, LOST, None)
    (found,) = sort_trace(given, Sorting(grouping="tests", run_code=True))
    assert found.classes == (0, None, 0, 1, None, None)
    assert found.quality == (1.0, 0.0)


def test_by_syntax(tmp_path):
    """Programs are one class that differ in local names only; each is graded by running it."""
    other = RENAMED.replace("total", "result")
    (found,) = sort_trace(trace(tmp_path, RENAMED, other, LUCKY, BROKEN), Sorting(run_code=True))
    assert found.classes == (0, 0, 1, 2)
    assert found.quality == (1.0, 0.0, 0.0)


def test_members_are_graded_each(tmp_path):
    """A class of programs is worth the share of its members that the reference proves right."""
    given = trace(tmp_path, RIGHT, LUCKY, LUCKY, RENAMED, tests=TESTS[:1])
    (found,) = sort_trace(given, Sorting(grouping="tests", run_code=True))
    assert found.classes == (0, 0, 0, 0)
    assert found.quality == (0.5,)


@pytest.mark.parametrize("grouping", ["task", "tests"])
def test_consent(tmp_path, grouping):
    """Without consent no recorded program is run."""
    with pytest.raises(ConfigError, match="--run-code"):
        sort_trace(trace(tmp_path, RIGHT), Sorting(grouping=grouping))


def test_no_tests(tmp_path):
    """A question without tests of the model's own cannot be grouped by them."""
    with pytest.raises(UserError, match="'q' has no 'own_tests'"):
        sort_trace(trace(tmp_path, RIGHT, tests=None), Sorting(grouping="tests", run_code=True))
