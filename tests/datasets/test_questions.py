from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.core.errors import UserError
from dynasor.datasets.arithmetic import heldout
from dynasor.datasets.questions import (
    MOST_PROBLEMS,
    DatasetError,
    QuestionLine,
    load_questions,
    workload_of,
)


@pytest.fixture
def file(tmp_path):
    """Write a JSONL file of values, bytes as they are, and return its name."""

    def write(*lines, packed=False, name="some.jsonl"):
        whole = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in lines]
        data = b"".join(one + b"\n" for one in whole)
        path = tmp_path / name
        path.write_bytes(gzip.compress(data) if packed else data)
        return str(path)

    return write


@pytest.mark.parametrize("packed", [False, True])
def test_file(file, packed):
    """A file's lines become questions in order, gzip or not, whatever its name."""
    name = file(
        {"id": "a", "question": "1+1?", "reference": "2", "level": 3},
        b"  ",
        {"question": "What is this?"},
        {"id": 7, "question": "1+2?", "gold": 3},
        packed=packed,
    )
    assert load_questions(name) == [
        QuestionLine("a", "1+1?", "2", {"level": 3}),
        QuestionLine("q2", "What is this?"),
        QuestionLine("7", "1+2?", "3"),
    ]


@pytest.mark.parametrize("name", ["reference", "gold", "answer"])
def test_reference_names(file, name):
    """A reference may be called reference, gold or answer; null stands for none."""
    assert load_questions(file({"question": "?", name: "5"}))[0].reference == "5"
    assert load_questions(file({"question": "?", name: None}))[0].reference is None
    assert load_questions(file({"question": "?", name: " "}))[0].reference is None


def test_likeliest_reference(file):
    """Where there are several, the likeliest one is the reference and the others are kept."""
    (one,) = load_questions(file({"question": "?", "answer": "because", "gold": "5"}))
    assert (one.reference, one.extra) == ("5", {"answer": "because"})


@pytest.mark.parametrize(
    ("reference", "kept"),
    [
        ("He has 2*21=<<2*21=42>>42.\n#### 42", "42"),
        ("#### 1,000\n", "1,000"),
        ("the mark ####", "the mark ####"),
        ("#### first\nand more", "#### first\nand more"),
        (2.5, "2.5"),
    ],
)
def test_conclusion(file, reference, kept):
    """Of a worked solution in GSM8K's form its last line is kept, of anything else all."""
    assert load_questions(file({"question": "?", "answer": reference}))[0].reference == kept


def test_named_fields(file):
    """Fields that were named go before the guesses."""
    name = file({"prompt": "1+1?", "question": "no", "answer": "no", "result": 2})
    (one,) = load_questions(name, question_field="prompt", reference_field="result")
    assert (one.question, one.reference) == ("1+1?", "2")
    assert one.extra == {"question": "no", "answer": "no"}


def test_limit(file):
    """The first so many questions are read, and nothing of the lines behind them."""
    name = file({"question": "a"}, {"question": "b"}, b"{oops")
    assert [one.question for one in load_questions(name, 2)] == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{oops", "is not JSON"),
        (b"[1]", "is no JSON object"),
        (b'{"question": "\xff"}', "is not UTF-8"),
        ({"text": "?"}, r"has no field question \(it has: text\); --question-field"),
        ({"question": ""}, "question is ''; expected a text"),
        ({"question": 5}, "question is 5; expected a text"),
        ({"id": "", "question": "?"}, "id is ''; expected a text or a whole number"),
        ({"id": True, "question": "?"}, "id is True; expected"),
        ({"id": "a", "question": "?"}, "repeats the id 'a' of .*line 1; ids are unique"),
        ({"question": "?", "gold": [1]}, r"gold is \[1\]; expected a text or a number"),
        ({"question": "?", "gold": False}, "gold is False; expected"),
    ],
)
def test_bad_line(file, line, said):
    """A line that cannot be used is one error with the file and the line's number."""
    name = file({"id": "a", "question": "fine"}, b"", line)
    with pytest.raises(DatasetError, match=rf"some\.jsonl, line 3:? {said}") as raised:
        load_questions(name)
    assert "\n" not in str(raised.value)


def test_made_up_id_is_taken(file):
    """An id that was made up and one that was given may not be the same."""
    with pytest.raises(DatasetError, match="line 2 repeats the id 'q2'"):
        load_questions(file({"id": "q2", "question": "a"}, {"question": "b"}))


def test_named_field_is_missing(file):
    """A reference's field that was named must be there: a slip of the pen goes nowhere else."""
    with pytest.raises(DatasetError, match=r"has no field golt \(it has: question, gold\)"):
        load_questions(file({"question": "?", "gold": 1}), reference_field="golt")


def test_no_file(tmp_path):
    """A name that stands for nothing is one error that says what names there are."""
    with pytest.raises(DatasetError, match=r"no such file; expected a JSONL file, arithmetic"):
        load_questions(str(tmp_path / "none.jsonl"))
    with pytest.raises(DatasetError, match="cannot be read: Is a directory"):
        load_questions(str(tmp_path))


def test_no_questions(file):
    """A data set without questions is an error."""
    with pytest.raises(DatasetError, match="has no questions"):
        load_questions(file())
    with pytest.raises(UserError, match="limit is 0; at least one"):
        load_questions("arithmetic", 0)


def test_cut_off(file, tmp_path):
    """A gzip file that is cut off is an error, not a shorter data set."""
    file(*({"question": f"{n}{n * 7919}?"} for n in range(400)), packed=True)
    path = tmp_path / "some.jsonl"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DatasetError, match="is cut off or damaged after line"):
        load_questions(str(path))


def test_arithmetic():
    """The generated problems come by number, with their answers and their steps."""
    problems = heldout(5)
    assert load_questions("arithmetic:5") == [
        QuestionLine(one.id, one.question, one.answer, {"steps": one.steps}) for one in problems
    ]
    assert load_questions("arithmetic:5", 2) == load_questions("arithmetic", 2)


@pytest.mark.parametrize("name", ["arithmetic:", "arithmetic:x", "arithmetic:0", "arithmetic:²"])
def test_bad_number(name):
    """A number of problems that is none, or too many, is an error with the bounds."""
    for one in (name, f"arithmetic:{MOST_PROBLEMS + 1}"):
        with pytest.raises(DatasetError, match=r"expected arithmetic or arithmetic:N with N from"):
            load_questions(one)


@pytest.mark.parametrize(
    ("name", "workload"),
    [
        ("arithmetic:500", "arithmetic"),
        ("hf:openai/gsm8k:main", "openai/gsm8k:main"),
        ("../sets/svamp.jsonl.gz", "svamp"),
        ("questions.json", "questions.json"),
        (".jsonl", ".jsonl"),
    ],
)
def test_workload(name, workload):
    """A trace calls a data set by its name, without place, ending and number."""
    assert workload_of(name) == workload


@given(
    st.lists(
        st.fixed_dictionaries(
            {"question": st.text(min_size=1).filter(str.strip)},
            optional={
                "answer": st.text() | st.integers() | st.none(),
                "level": st.integers(0, 9) | st.text(),
            },
        ),
        min_size=1,
        max_size=8,
    )
)
def test_nothing_is_lost(tmp_path_factory, rows):
    """Every line is a question, in order, with its text and its other fields untouched."""
    path = tmp_path_factory.mktemp("set") / "any.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = load_questions(str(path))
    assert [one.question for one in found] == [row["question"] for row in rows]
    assert [one.id for one in found] == [f"q{n}" for n in range(1, len(rows) + 1)]
    for one, row in zip(found, rows, strict=True):
        assert one.extra == {name: row[name] for name in row if name == "level"}
