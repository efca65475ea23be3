"""benchmarks/in_flight.py: what branches in flight cost, counted by the shipping scheduler."""

from __future__ import annotations

import gzip
import importlib
import json

import pytest

from dynasor.core.types import PolicySpec

CAP = 10


@pytest.fixture
def in_flight(benchmarks):
    return importlib.import_module("in_flight")


@pytest.fixture
def traces(benchmarks):
    return importlib.import_module("_traces")


@pytest.fixture
def unanimous(traces):
    """Ten samples of ten tokens that agree: Beta 0.95 stops at the fourth vote."""
    return traces.Question("q", (0,) * CAP, (10,) * CAP, (0,))


@pytest.fixture
def folder(tmp_path):
    """Both traces, made up: formulas that are equal in several spellings, and a null."""
    for name, samples in (("svamp-codex", 30), ("math500-llama3.1-8b", 45)):
        answers = ["1/2", "0.5", "\\frac{2}{4}", "x+1", "1+x", None]
        lines = [
            {
                "id": f"{name}/{number}",
                "question": "secret words",
                "gold": "0.50",
                "samples": [
                    {"text": "t", "answer": answers[k % (2 + number)], "tokens": 5 + k}
                    for k in range(samples)
                ],
            }
            for number in range(5)
        ]
        text = "\n".join(json.dumps(line) for line in lines)
        (tmp_path / f"{name}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    return tmp_path


def beta(order: str, width: int | None) -> PolicySpec:
    return PolicySpec("beta", {"order": order, "in_flight": width})


@pytest.mark.parametrize(
    ("width", "calls", "aborted", "tokens"),
    [(1, 4, 0, 40), (4, 7, 3, 40), (8, 10, 6, 80), (None, 10, 6, 100)],
)
def test_stopped_branches_cost_what_they_generated(
    in_flight, unanimous, width, calls, aborted, tokens
):
    """Branches in flight at a stop are charged their tokens so far; `whole` charges all."""
    result = in_flight.simulate([unanimous], CAP, beta("finish", width), seed=0)
    assert (result.calls, result.aborted_calls) == (calls, aborted)
    assert result.tokens == tokens
    assert result.whole_tokens == calls * 10
    assert result.right == 1


def test_even_is_the_baseline(in_flight, unanimous):
    """Even allocation spends every sample up to its cap, and saves nothing on itself."""
    rows = in_flight.sequential_rows()
    results = in_flight.run_seeds([unanimous], CAP, rows, seeds=2)
    even, *others = in_flight.summarise("none", rows, results)
    assert results[0][0].tokens == CAP * 10
    assert (even["saved_percent"], even["accuracy"]) == (0.0, 1.0)
    assert all(other["saved_percent"] > 0 for other in others)


def test_finish_order_favours_short_answers(in_flight, traces):
    """Short wrong answers win where votes count as they finish, not in launch order."""
    question = traces.Question("q", (0,) * 4 + (1,) * 8, (1,) * 4 + (100,) * 8, (1,))
    run = in_flight.simulate
    for seed in range(5):
        assert [group for group, _ in in_flight.shuffle(question, seed)[:4]] != ["0"] * 4
        assert run([question], 12, beta("finish", None), seed).right == 0
        assert run([question], 12, beta("launch", None), seed).right == 1


def test_no_answer_is_wrong(in_flight, traces):
    """A question without any answer is graded wrong."""
    question = traces.Question("q", (None,) * CAP, (3,) * CAP, ())
    result = in_flight.simulate([question], CAP, beta("launch", 4), seed=0)
    assert (result.tokens, result.right) == (30, 0)


def test_shuffles_are_those_of_the_seed(in_flight, traces):
    """A seed gives one order of a question's samples, whatever else runs."""
    question = traces.Question("q", tuple(range(CAP)), tuple(range(CAP)), ())
    first, again, other = (in_flight.shuffle(question, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert sorted(first) == sorted(other)


def test_absent_traces_are_skipped(in_flight, tmp_path, capsys):
    """Without traces it says so, ends well and writes nothing."""
    in_flight.main(["--traces", str(tmp_path), "--json", str(tmp_path / "out.json")])
    assert capsys.readouterr().out.count("skipped:") == 2
    assert not (tmp_path / "out.json").exists()


@pytest.mark.process
def test_the_whole_script(in_flight, traces, folder, capsys):
    """It sorts answers as mathematics, keeps the classes, prints a table, writes aggregates."""
    out, cache = folder / "out.json", folder / "cache"
    common = ["--traces", str(folder), "--seeds", "1", "--processes", "1"]
    in_flight.main([*common, "--cache", str(cache), "--json", str(out)])
    printed = capsys.readouterr().out
    assert "beta+lock, finish, all" in printed
    measured = json.loads(out.read_text())
    assert [one["questions"] for one in measured] == [5, 5]
    assert "secret" not in out.read_text()
    path = folder / "svamp-codex.jsonl.gz"
    last = traces.read_questions(path, cache=cache)[-1]
    assert last.classes[:6] == (0, 0, 0, 3, 3, None)
    assert last.right == (0,)
    in_flight.main([*common, "--cache", str(cache)])
    assert capsys.readouterr().out.splitlines()[2][:80] == printed.splitlines()[2][:80]


@pytest.mark.process
def test_recorded_samples(in_flight, traces):
    """On recorded answers, each wider grant saves less, and one at a time saves over half."""
    path = traces.find_trace(traces.default_folder(), "svamp-codex")
    if path is None:
        pytest.skip(f"the recorded traces are not in {traces.default_folder()}")
    questions = traces.read_questions(path, limit=60)
    runs = [in_flight.simulate(questions, 30, beta("finish", w), 0) for w in in_flight.WIDTHS]
    spent = [run.tokens for run in runs]
    assert spent == sorted(spent)
    even = in_flight.simulate(questions, 30, in_flight.sequential_rows()[0].policy, 0)
    assert even.tokens == sum(sum(question.tokens) for question in questions)
    assert spent[0] < even.tokens / 2 < spent[-1] < even.tokens
