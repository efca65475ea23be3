"""The hub, with a stand-in for its package, which is optional and fetches from the network."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from dynasor.datasets.questions import DatasetError, QuestionLine, load_questions

ROWS = {
    ("openai/gsm8k", "main", "test"): [
        {"question": "6*7?", "answer": "6*7=42\n#### 42", "picture": object()},
        {"question": "1+1?", "answer": "#### 2", "picture": object()},
    ],
    ("openai/gsm8k", "main", "train"): [{"question": "2+2?", "answer": "#### 4"}],
    ("h/math", None, "test"): [{"problem": "x?", "solution": "so 5", "answer": "5", "level": 1}],
    ("h/math", None, "extra"): [{"text": "x?"}],
}


@pytest.fixture
def hub(monkeypatch):
    """Stand in for the package `datasets`: the rows above, and its kinds of errors."""

    def get_dataset_split_names(path, config=None):
        found = [split for one, two, split in ROWS if (one, two) == (path, config)]
        if not found:
            raise ConnectionError(f"Couldn't reach '{path}' on the Hub\n(LocalEntryNotFoundError)")
        return found[::-1]

    def load_dataset(path, config=None, *, split):
        if (path, config, split) not in ROWS:
            raise ValueError(f"Unknown split \"{split}\". Should be one of ['test'].")
        return ROWS[path, config, split]

    package = SimpleNamespace(
        get_dataset_split_names=get_dataset_split_names, load_dataset=load_dataset
    )
    monkeypatch.setitem(sys.modules, "datasets", package)


def test_gsm8k(hub):
    """The split for tests is taken, references are cut, and what is no JSON is left out."""
    assert load_questions("hf:openai/gsm8k:main") == [
        QuestionLine("q1", "6*7?", "42"),
        QuestionLine("q2", "1+1?", "2"),
    ]
    assert len(load_questions("hf:openai/gsm8k:main", 1)) == 1


@pytest.mark.parametrize("name", ["hf:h/math", "hf:h/math:test", "hf:h/math::test"])
def test_names(hub, name):
    """One word behind the name may be a split; an answer goes before a whole solution."""
    assert load_questions(name) == [QuestionLine("q1", "x?", "5", {"solution": "so 5", "level": 1})]


def test_split(hub):
    """Configuration and split may both be given."""
    assert [one.reference for one in load_questions("hf:openai/gsm8k:main:train")] == ["4"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hf:", r"hf:: expected hf:OWNER/NAME\[:config\]\[:split\]"),
        ("hf:a/b:c:d:e", r"expected hf:OWNER/NAME"),
        ("hf:no/such", r"Couldn't reach 'no/such' on the Hub \(Local\w+\); check the name and the"),
        ("hf:h/math::dev", r"Unknown split \"dev\". Should be one of \['test'\]; name another one"),
        ("hf:h/math::extra", r"row 1 of extra has no field question or problem or prompt"),
    ],
)
def test_errors(hub, name, said):
    """Whatever the package raises is one line that says what to do."""
    with pytest.raises(DatasetError, match=said) as raised:
        load_questions(name)
    assert "\n" not in str(raised.value)


def test_not_installed(monkeypatch):
    """Without the package one line says how to install it."""
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DatasetError, match="needs the package `datasets`: pip install datasets"):
        load_questions("hf:openai/gsm8k:main")
