"""Questions of data sets and of batch files."""

from __future__ import annotations

import json

import pytest

from dynasor.datasets.questions import DatasetError, QuestionLine
from dynasor.load.questions import of_batch, of_dataset


def write(path, *lines):
    """Write lines of JSON."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_dataset():
    """A data set's question keeps its id, its text and its reference."""
    [one] = of_dataset([QuestionLine("a", "1 + 1?", "2")])
    assert (one.id, one.text, one.reference, one.fields) == ("a", "1 + 1?", "2", {})


def test_batch(tmp_path):
    """A batch line is its body, and its reference where it has one."""
    body = {"messages": [{"role": "user", "content": "1 + 1?"}], "max_tokens": 3}
    path = write(
        tmp_path / "in.jsonl", {"custom_id": "a", "body": body}, {"body": body, "reference": "2"}
    )
    first, second = of_batch(path)
    assert (first.id, first.text, first.reference, first.fields) == ("a", "1 + 1?", None, body)
    assert (second.reference, second.id.endswith("line 2")) == ("2", True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"custom_id": "a"}, "has no body with messages"),
        ({"body": {"messages": []}}, "has no body with messages"),
        ({"body": {"messages": ["q"]}, "reference": 3}, "reference is 3; expected a text"),
    ],
)
def test_bad_line(tmp_path, line, message):
    """A line that asks nothing is named by its number."""
    good = {"body": {"messages": [{"role": "user", "content": "q"}]}}
    path = write(tmp_path / "in.jsonl", good, line)
    with pytest.raises(DatasetError, match=f"line 2.*{message}"):
        of_batch(path)


def test_empty(tmp_path):
    """A file without requests is refused."""
    with pytest.raises(DatasetError, match="has no requests"):
        of_batch(write(tmp_path / "in.jsonl"))
