"""The validator names everything that is wrong, and says what is in a trace that can be used."""

from __future__ import annotations

import gzip
from collections import Counter

import pytest
from toys.traces import chain_line, header, sampling_line, text_of, tree_line, write

from dynasor.traces import Problem, Sample, SamplingLine, validate


@pytest.fixture
def path(tmp_path):
    """Where a trace is."""
    return tmp_path / "t.jsonl"


def summary_of(path, *objects, **of_header):
    """The summary and the warnings of a trace."""
    report = validate(write(path, header(**of_header), *objects))
    assert report.is_usable
    return report.summary, report.warnings


def test_sampling_summary(path):
    """A sampling trace's questions, samples, answers and tokens are counted."""
    samples = tuple(
        Sample("", 4, answer, mean_logprob=-1.0, reward=0.5, is_right=True) for answer in "12"
    )
    found, warnings = summary_of(
        path, sampling_line("a"), SamplingLine("b", "?", samples, "2"), has_estimated_tokens=True
    )
    assert (found.questions, found.samples, found.least, found.most) == (2, 5, 2, 3)
    assert (found.answers, found.null_answers, found.null_share) == (5, 1, 0.2)
    assert (found.verdicts, found.rewards, found.logprobs) == (2, 2, 2)
    assert (found.tokens, found.has_estimated_tokens) == (3 * 5 + 2 * 4, True)
    assert (found.without_reference, warnings) == (0, ())


def test_chain_summary(path):
    """A chain's tokens are its own and its probes'."""
    found, warnings = summary_of(path, chain_line("a"), chain_line("b", at=()), kind="chain")
    assert (found.samples, found.answers, found.logprobs) == (2, 2, 2)
    assert found.tokens == 2 * 30 + 2 * 2
    assert warnings == ()


def test_tree_summary(path):
    """A tree's answers are those of its finished paths, its tokens those of all nodes."""
    found, warnings = summary_of(path, tree_line(), kind="tree")
    assert (found.samples, found.answers, found.null_answers) == (1, 2, 1)
    assert (found.verdicts, found.rewards, found.tokens) == (1, 4, 16)
    assert warnings == ()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], ["no questions"]),
        (
            [sampling_line("a", answers=[]), sampling_line("b"), sampling_line("c", ["1"])],
            ["1 question without a sample", "1 question with one sample: a vote needs two"],
        ),
        (
            [sampling_line("a", [None, None])],
            ["all answers are null: there is nothing to vote on"],
        ),
        (
            [sampling_line("a", [None, None]), sampling_line("b")],
            ["1 question with null answers only"],
        ),
        (
            [sampling_line("a", reference=None), sampling_line("b", reference=None)],
            ["2 questions without a reference; nothing says what is right"],
        ),
        (
            [SamplingLine("a", "", (Sample("", 1, "1", is_right=True),) * 2)],
            ["1 question without a reference; its verdicts say what is right"],
        ),
        (
            [SamplingLine("a", "", (Sample("", 0, "1"), Sample("", 1, "1")), "1")],
            ["1 of 2 samples have zero tokens"],
        ),
    ],
)
def test_warnings(path, lines, expected):
    """What a trace is no good for is a warning, not an error."""
    assert list(summary_of(path, *lines)[1]) == expected


def test_all_problems(path):
    """Every line that is wrong is named with its number, and all that is wrong with a line."""
    write(
        path,
        header("tree"),
        b"{\n",
        tree_line("a"),
        b"\n",
        sampling_line("b"),
        header("tree"),
        tree_line("a", knob=1),
    )
    report = validate(path)
    assert Counter(one.line for one in report.problems) == {2: 1, 5: 1, 6: 1, 7: 2}
    assert (report.summary, report.is_usable, report.omitted) == (None, False, 0)
    assert all(f"trace {path}, line {one.line}" in one.message for one in report.problems)


def test_most_problems(path):
    """Of very many problems the first ones are kept and the others counted."""
    report = validate(write(path, header(), *[b"?\n"] * 30), most=4)
    assert [one.line for one in report.problems] == [2, 3, 4, 5]
    assert report.omitted == 26


def test_files_that_are_no_traces(path):
    """A file that is missing, empty or no trace is a report with one problem."""
    assert [one.line for one in validate(path).problems] == [0]
    path.touch()
    assert validate(path).problems == (
        Problem(0, f"trace {path} is empty; its first line should be a header"),
    )
    assert [one.line for one in validate(write(path, b"{}\n", b"{}\n")).problems] == [1]


def test_truncated_gzip(tmp_path):
    """What is wrong before the place where a gzip file was cut off is named too."""
    path = tmp_path / "t.jsonl.gz"
    whole = gzip.compress(text_of(header(), b"{}\n"))
    path.write_bytes(whole + gzip.compress(text_of(sampling_line()))[:-4])
    report = validate(path)
    assert len(report.problems) == 2
    assert "is cut off or damaged after line 3" in report.problems[1].message
