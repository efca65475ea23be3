"""Traces sorted: every sample's class and every class's quality, compared once and then kept."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from toys.recorded import header, line, write

from dynasor.core.errors import UserError
from dynasor.evaluate import classes
from dynasor.evaluate.classes import Sorting, default_cache, sort_trace
from dynasor.traces import Chain, ChainLine, Sample, SamplingLine, read_trace, write_trace


def sort(tmp_path, *lines, cache=False, on_question=None, **rest):
    """Sort these lines; each call writes the same file."""
    path = tmp_path / "t.jsonl"
    path.unlink(missing_ok=True)
    trace = read_trace(write(path, *lines))
    return sort_trace(
        trace, Sorting(cache=tmp_path / "kept" if cache else None, **rest), on_question
    )


def samples(*given, **rest):
    """Samples from pairs of an answer and a field's value."""
    (name,) = rest
    return tuple(
        Sample("so", 5, answer, **{name: value})
        for answer, value in zip(given, rest[name], strict=True)
    )


def labelled(*given, reference=None, **rest):
    return SamplingLine("q", "q?", samples(*given, **rest), reference)


def test_classes(tmp_path):
    """Equal answers share a class, numbered by first appearance; no answer has none."""
    (found,) = sort(tmp_path, line("q", ["3", None, "1", "03", "1.0", "3"]))
    assert found.classes == (0, None, 1, 0, 1, 0)
    assert found.quality == (0.0, 1.0)
    assert found.tokens == (10,) * 6
    assert (found.id, found.question, found.has_quality) == ("q", "q?", True)


@pytest.mark.process
def test_classes_by_workers(tmp_path):
    """Answers that take mathematics to compare are compared in a process."""
    (found,) = sort(tmp_path, line("q", [r"\frac{1}{2}", "x+1", "0.5", "1+x"], reference="1/2"))
    assert found.classes == (0, 1, 0, 1)
    assert found.quality == (1.0, 0.0)


def test_questions_in_order(tmp_path):
    """Questions keep the trace's order, and each is told of once."""
    told = []
    found = sort(
        tmp_path, *(line(f"q{n}", ["1"]) for n in range(9)), on_question=lambda: told.append(1)
    )
    assert [one.id for one in found] == [f"q{n}" for n in range(9)]
    assert len(told) == 9


# Labels.


def test_reference(tmp_path):
    """By reference a class is right where its first member equals it, also without being asked."""
    one = line("q", ["1", "2"], reference="2")
    for labels in ("auto", "reference"):
        assert sort(tmp_path, one, labels=labels)[0].quality == (0.0, 1.0)


def test_no_reference(tmp_path):
    """A question without a reference is judged by nothing, and says so."""
    found = sort(tmp_path, line("a", ["1"]), line("b", ["1"], reference=None))
    assert [one.has_quality for one in found] == [True, False]
    assert found[1].quality == (0.0,)


def test_verdicts(tmp_path):
    """Verdicts that came along win over the reference; a class is worth the mean of its members."""
    one = labelled("1", "2", "1", None, is_right=[True, None, False, None], reference="2")
    assert sort(tmp_path, one)[0].quality == (0.5, 0.0)
    assert sort(tmp_path, one, labels="reference")[0].quality == (0.0, 1.0)


def test_no_verdict(tmp_path):
    """Asked for verdicts, a question without any is not judged by its reference instead."""
    assert not sort(tmp_path, line("q", ["1"]), labels="verdict")[0].has_quality


def test_ranking(tmp_path):
    """The first place is worth 1, the last 0, a class the mean over its members."""
    one = labelled("1", "2", "1", "3", None, rank=[1, 2, 4, 5, 3])
    assert sort(tmp_path, one, labels="ranking")[0].quality == pytest.approx((0.625, 0.75, 0.0))
    alone = labelled("1", rank=[1])
    assert sort(tmp_path, alone, labels="ranking")[0].quality == (1.0,)


def test_rank_beyond_the_samples(tmp_path):
    """A place beyond the number of samples is worth nothing, not less."""
    one = labelled("1", "2", rank=[1, 9])
    assert sort(tmp_path, one, labels="ranking")[0].quality == (1.0, 0.0)


def test_rewards(tmp_path):
    """By reward a class is worth its members' mean; rewards are also kept a sample."""
    one = labelled("1", "2", "1", None, reward=[0.5, 0.1, 1.0, 0.9])
    (found,) = sort(tmp_path, one, labels="reward")
    assert found.quality == pytest.approx((0.75, 0.1))
    assert found.rewards == (0.5, 0.1, 1.0, 0.9)


def test_part_of_the_rewards(tmp_path):
    """Rewards or log-probabilities of some samples only are as good as none."""
    rewards = labelled("1", "2", reward=[0.5, None], reference="1")
    logprobs = labelled("1", "2", mean_logprob=[-0.5, None], reference="1")
    whole = labelled("1", "2", mean_logprob=[-0.5, -1.0], reference="1")
    assert sort(tmp_path, rewards)[0].rewards == ()
    assert sort(tmp_path, logprobs)[0].logprobs == ()
    assert sort(tmp_path, whole)[0].logprobs == (-0.5, -1.0)


@pytest.mark.parametrize("labels", ["ranking", "reward"])
def test_missing_label(tmp_path, labels):
    """Labels that were asked for and are missing are an error that names the question."""
    with pytest.raises(UserError, match=f"'q' has a sample without {labels}"):
        sort(tmp_path, line("q", ["1"]), labels=labels)


def test_no_labels(tmp_path):
    """Without labels nothing is graded."""
    (found,) = sort(tmp_path, line("q", ["1", "2"]), labels="none")
    assert (found.has_quality, found.quality, found.classes) == (False, (0.0, 0.0), (0, 1))


# Poor traces.


@pytest.mark.parametrize("answers", [[], ["1"], [None], [None, None]])
@pytest.mark.parametrize("labels", ["auto", "verdict", "ranking", "none"])
def test_poor_questions(tmp_path, answers, labels):
    """No sample, one sample and nulls only are sorted like any others."""
    one = line("q", answers)
    ranked = tuple(replace(sample, rank=1) for sample in one.samples)
    (found,) = sort(tmp_path, replace(one, samples=ranked), labels=labels)
    assert found.classes == tuple(None if answer is None else 0 for answer in answers)
    assert len(found.quality) == len({answer for answer in answers if answer})


def test_no_question(tmp_path):
    """A trace without questions is an empty list."""
    assert sort(tmp_path) == []


def test_another_kind(tmp_path):
    """A trace of chains that does not say what thought them is refused."""
    path = tmp_path / "chains.jsonl"
    write_trace(path, header(kind="chain"), [ChainLine("q", "q?", (Chain("so", 3),))])
    with pytest.raises(UserError, match="kind 'chain' that does not say which program"):
        sort_trace(read_trace(path), Sorting())


# What is kept.


def no_workers(*given):
    raise AssertionError(f"workers were asked for: {given}")


def test_kept(tmp_path, monkeypatch):
    """What was compared once is not compared again."""
    lines = [line("q", ["1", "2", None]), line("r", ["3"])]
    first = sort(tmp_path, *lines, cache=True)
    monkeypatch.setattr(classes, "Workers", no_workers)
    assert sort(tmp_path, *lines, cache=True) == first


@pytest.mark.parametrize(
    ("lines", "rest"),
    [([line("q", ["1", "1"])], {}), ([line("q", ["1", "2"])], {"labels": "none"})],
)
def test_not_kept(tmp_path, monkeypatch, lines, rest):
    """Another trace and other labels are compared anew."""
    sort(tmp_path, line("q", ["1", "2"]), cache=True)
    monkeypatch.setattr(classes, "Workers", no_workers)
    with pytest.raises(AssertionError, match="workers were asked for"):
        sort(tmp_path, *lines, cache=True, **rest)


def test_another_version(tmp_path, monkeypatch):
    """What an older way of sorting kept is not used."""
    sort(tmp_path, line("q", ["1"]), cache=True)
    monkeypatch.setattr(classes, "SORTING_VERSION", classes.SORTING_VERSION + 1)
    monkeypatch.setattr(classes, "Workers", no_workers)
    with pytest.raises(AssertionError, match="workers were asked for"):
        sort(tmp_path, line("q", ["1"]), cache=True)


@pytest.mark.parametrize("torn", [b"", b"[", b"[{}]", b'[{"id":1}]', b"\xff\xfe"])
def test_torn(tmp_path, torn):
    """A torn file of kept answers is made again."""
    first = sort(tmp_path, line("q", ["1", "2"]), cache=True)
    (kept,) = (tmp_path / "kept").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(torn)
    assert sort(tmp_path, line("q", ["1", "2"]), cache=True) == first
    assert kept.read_bytes() == whole
    assert list((tmp_path / "kept").iterdir()) == [kept]


def test_cannot_be_kept(tmp_path):
    """A cache folder that cannot be is an error that names it."""
    (tmp_path / "kept").write_text("a file")
    with pytest.raises(UserError, match="cannot be kept in .*kept: .*; name a folder"):
        sort(tmp_path, line("q", ["1"]), cache=True)


def test_default_cache(monkeypatch, tmp_path):
    """The user's cache folder is where the desktop standard says."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "dynasor" / "classes"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "dynasor" / "classes"
