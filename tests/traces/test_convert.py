"""Recorded files become traces: by the fields of their lines, and by what is known of them."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from dynasor.tasks import ExpressionTask
from dynasor.traces import About, Sample, TraceError, convert, read_trace, validate

SHARED = Path(__file__).parents[3] / "shared"
TRACES = Path(os.environ.get("DYNASOR_TRACES") or SHARED / "traces")
GAME24 = TRACES.parent / "datasets" / "game24.jsonl.gz"

TOYS = About(model="toy", workload="toys")


def put(path, *records):
    """Write records, a line each."""
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return path


def question(name="q1", answers=("1", None), **others):
    """One question as recorded, with a sample of 3 tokens an answer."""
    samples = [{"text": f"so {answer}", "answer": answer, "tokens": 3} for answer in answers]
    return {"id": name, "question": "1+0?", "gold": "1", "samples": samples, **others}


@pytest.fixture
def source(tmp_path):
    """Where the recorded file is; nothing is known of its name."""
    return tmp_path / "toys.jsonl"


@pytest.fixture
def target(tmp_path):
    """Where the trace is to be."""
    return tmp_path / "t.jsonl.gz"


def converted(source, target, about=TOYS, questions=None):
    """Convert a file that makes one trace, and read that."""
    (path,) = convert(source, target, about, questions)
    assert path == target
    assert validate(path).is_usable
    return read_trace(path)


def failing(*arguments):
    """The message with which a conversion is refused."""
    with pytest.raises(TraceError) as caught:
        convert(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_samples(source, target):
    """Samples are taken as they are; fields of the question that are not known go into extra."""
    trace = converted(put(source, question(level=2, subject="sums")), target)
    (line,) = trace.lines
    assert (line.id, line.question, line.reference) == ("q1", "1+0?", "1")
    assert line.samples == (Sample("so 1", 3, "1"), Sample("so None", 3, None))
    assert line.extra == {"level": 2, "subject": "sums"}
    assert (trace.header.model, trace.header.workload) == ("toy", "toys")
    assert (trace.header.task, trace.header.has_estimated_tokens) == ("math", False)


@pytest.mark.parametrize("answer", ["none", "None", " NULL ", "", "  "])
def test_no_answer(source, target, answer):
    """What stands for no answer becomes null."""
    put(source, question(answers=[answer]))
    assert converted(source, target).lines[0].samples[0].answer is None


def test_about(source, target):
    """What the caller says goes into the header, and before what is known of a file's name."""
    source = put(source.with_name("svamp-codex.jsonl"), question())
    known = converted(source, target, None).header
    assert (known.model, known.workload) == ("code-davinci-002", "svamp")
    assert (known.has_estimated_tokens, known.sampling) == (True, {"temperature": 0.5})
    assert known.source.endswith("program of thought")
    about = About(
        model="other",
        task="choice",
        source="mine",
        has_estimated_tokens=False,
        sampling={"temperature": 1},
    )
    told = converted(source, target.with_name("u.jsonl"), about).header
    assert (told.model, told.workload, told.task, told.source) == (
        *("other", "svamp", "choice", "mine"),
    )
    assert (told.has_estimated_tokens, told.sampling) == (False, {"temperature": 1})


class TestGraded:
    """Samples with verdicts."""

    @pytest.fixture
    def graded(self, source):
        """One question with a right and a wrong sample."""
        record = question(answers=["(1+2+3)*4 = 24", "none"])
        for sample, verdict in zip(record["samples"], (True, False), strict=True):
            sample["correct"] = verdict
        return put(source, record)

    def test_verdicts(self, graded, target):
        """The verdicts are kept; without the questions' texts there is no reference."""
        trace = converted(graded, target)
        (line,) = trace.lines
        assert trace.header.task == "expression"
        assert [sample.is_right for sample in line.samples] == [True, False]
        assert (line.question, line.reference) == ("1+0?", None)

    def test_questions(self, graded, target, tmp_path):
        """A file of questions gives the texts that were asked, and the reference stands."""
        questions = put(tmp_path / "q.jsonl", {"id": "q1", "question": "1 2 3 4"})
        (line,) = converted(graded, target, TOYS, questions).lines
        assert (line.question, line.reference) == ("1 2 3 4", "1")

    def test_bad_questions(self, graded, target, tmp_path):
        """A file of questions that lacks one, or is of another kind, is refused."""
        questions = put(tmp_path / "q.jsonl", {"id": "q2", "question": "1 2 3 4"})
        assert failing(graded, target, TOYS, questions) == (
            f"{graded}, line 1: the file of questions has none with the id 'q1'"
        )
        put(questions, {"id": 1, "question": "1 2 3 4"})
        assert "line 1: `id` and `question` must be texts" in failing(
            graded, target, TOYS, questions
        )
        assert not target.exists()


def test_code(source, target):
    """A completion is its own answer; the reference is the program that grades it."""
    record = question(
        answers=[None, None],
        entry_point="add",
        test="def check(f):\n    assert f(1) == 2\n",
        generated_tests=["add(1) == 2"],
    )
    record["samples"][1]["text"] = " \n"
    trace = converted(put(source, record), target)
    (line,) = trace.lines
    assert trace.header.task == "code"
    assert [sample.answer for sample in line.samples] == ["so None", None]
    assert line.reference == "def check(f):\n    assert f(1) == 2\n\ncheck(add)\n"
    assert line.extra == {"entry_point": "add", "own_tests": ["add(1) == 2"]}


class TestBeams:
    """One file of beams makes a trace a model and width."""

    @pytest.fixture
    def beams(self, source):
        """Two models, one of them at two widths, under a name that is known."""
        records = []
        for model, width in (("A/1", 2), ("B", 2), ("B", 3)):
            record = question(f"q{width}", ["1"] * width, model=model, beams=width)
            for place, sample in enumerate(record["samples"]):
                sample["step_rewards"] = [0.5, 1.25 - place] if place < 2 else []
            records.append(record)
        return put(source.with_name("math500-beams-prm.jsonl"), *records)

    def test_traces(self, beams, tmp_path):
        """Each trace is named after its source, model and width, and says them."""
        paths = convert(beams, tmp_path / "new" / "traces")
        assert [path.name for path in paths] == [
            f"math500-beams-prm.{part}.jsonl.gz" for part in ("A-1.2", "B.2", "B.3")
        ]
        headers = [read_trace(path).header for path in paths]
        assert [header.model for header in headers] == ["A/1", "B", "B"]
        assert [header.sampling for header in headers] == [{"beams": n} for n in (2, 2, 3)]
        assert all(header.workload == "math500" for header in headers)

    def test_rewards(self, beams, tmp_path):
        """A beam is worth what its last step is, within [0, 1]; without steps nothing is known."""
        (line,) = read_trace(convert(beams, tmp_path)[2]).lines
        assert [sample.step_rewards for sample in line.samples] == [(0.5, 1.0), (0.5, 0.25), ()]
        assert [sample.reward for sample in line.samples] == [1.0, 0.25, None]

    def test_refused(self, beams, tmp_path, target):
        """A file as the target, and a model from the caller, are refused."""
        assert failing(beams, target).endswith("name a folder")
        existing = put(tmp_path / "file")
        assert failing(beams, existing).endswith("name a folder")
        assert failing(beams, tmp_path / "new", TOYS) == (
            f"{beams}: its lines name their models; leave the model out"
        )

    def test_all_or_nothing(self, beams, tmp_path):
        """Where one of the traces exists, none is written."""
        convert(beams, tmp_path)[0].unlink()
        assert "exists already" in failing(beams, tmp_path)
        assert len(list(tmp_path.glob("*.gz"))) == 2


def test_trees(source, target):
    """A logged search becomes a tree; its tokens are estimates."""
    step = {"x": "1 2 3 4", "ys": [""], "new_ys": ["a\n"], "values": [60], "select_new_ys": ["a\n"]}
    put(source, {"id": "q1", "steps": [step], "ys": ["a\n"], "infos": [{"r": 1}], "idx": 3})
    trace = converted(source, target)
    assert (trace.header.kind, trace.header.task) == ("tree", "expression")
    assert trace.header.has_estimated_tokens
    (node,) = trace.lines[0].trees[0].nodes
    assert (node.text, node.reward, node.is_right) == ("a\n", 1.0, True)


def test_folder_as_target(source, tmp_path):
    """In a folder a trace is named after its source."""
    (tmp_path / "to").mkdir()
    assert convert(put(source, question()), tmp_path / "to", TOYS) == [
        tmp_path / "to" / "toys.jsonl.gz"
    ]


def test_compressed_source(source, target):
    """A source may be gzip."""
    source.write_bytes(gzip.compress(json.dumps(question()).encode()))
    assert len(converted(source, target).lines) == 1


class TestRefused:
    """What cannot be made into a trace is one line that says why."""

    def test_unknown_layout(self, source, target):
        """A file of unknown fields: the error names them and those that are known."""
        message = failing(put(source, {"t": 0, "tokens": 1}), target, TOYS)
        assert message.startswith(
            f"{source}, line 1: no known layout has just the fields t, tokens"
        )
        assert "samples: id, question, samples)" in message
        assert "fields (none)" in failing(put(source, {}), target, TOYS)

    def test_empty(self, source, target):
        """A file without lines."""
        assert failing(put(source), target, TOYS).endswith("is empty; nothing can be made of it")

    def test_missing(self, source, target):
        """A file that is not there."""
        assert "cannot be read: No such file" in failing(source, target, TOYS)

    def test_trace(self, source, target):
        """A file that is a trace."""
        put(source, {"dynasor_trace": 1, "kind": "tree", "workload": "", "model": ""})
        assert failing(source, target, TOYS) == f"{source}, line 1: it is a trace already"

    @pytest.mark.parametrize(
        ("about", "missing"), [(About(), "model"), (About(model="toy"), "workload")]
    )
    def test_nobody_knows(self, source, target, about, missing):
        """A file of an unknown name whose model or workload nobody says."""
        message = failing(put(source, question()), target, about)
        assert message == f"{source} does not say what its {missing} is; give --{missing}"
        assert not target.exists()

    @pytest.mark.parametrize(
        ("record", "complaint"),
        [
            ({"id": "q2"}, "object missing required field `question`"),
            (question("q2", [3]), "samples[0].answer: expected `str | null`, got `int`"),
            (question("q2") | {"samples": {}}, "samples: expected `array`, got `object`"),
            (question("q2") | {"samples": [{"text": "", "tokens": -1}]}, "samples[0].tokens: "),
        ],
    )
    def test_line_that_does_not_fit(self, source, target, record, complaint):
        """A later line of another shape."""
        message = failing(put(source, question(), record), target, TOYS)
        assert message.startswith(f"{source}, line 2: {complaint}")
        assert not target.exists()

    @pytest.mark.parametrize("samples", [3, [3], None])
    def test_no_samples(self, source, target, samples):
        """Samples that are none."""
        record = question() | {"samples": samples}
        assert "line 1: samples" in failing(put(source, record), target, TOYS)

    def test_no_json(self, source, target):
        """A line that is no JSON, and one that is no object."""
        source.write_text("{\n")
        assert f"{source}, line 1 is cut off" in failing(source, target, TOYS)
        source.write_text("3\n")
        assert "line 1: expected `object`, got `int`" in failing(source, target, TOYS)

    def test_repeated_id(self, source, target):
        """An id that was there before."""
        assert "repeats the id 'q1'" in failing(put(source, question(), question()), target, TOYS)
        assert not target.exists()

    def test_existing_target(self, source, target):
        """A target that exists."""
        target.write_text("mine")
        assert "exists already" in failing(put(source, question()), target, TOYS)
        assert target.read_text() == "mine"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Convert one of the recorded files by its name; the paths of its traces."""

    def make(name, questions=None):
        source = TRACES / f"{name}.jsonl.gz"
        if not source.exists():
            pytest.skip(f"{source} is not there; $DYNASOR_TRACES says where the recorded files are")
        return convert(source, tmp_path_factory.mktemp("traces"), None, questions)

    return make


class TestRecordedFiles:
    """The recorded files convert; skipped where they are not there."""

    @pytest.mark.parametrize(
        ("name", "task", "shape", "counts"),
        [
            ("svamp-codex", "math", (999, 30, 199), (1_133_587, True)),
            ("math500-llama3.1-8b", "math", (100, 45, 362), (2_277_138, False)),
            ("humaneval-codegen16b", "code", (164, 100, 127), (1_125_901, True)),
            ("game24-gpt4", "expression", (100, 100, 345), (457_660, True)),
        ],
    )
    def test_samples(self, recorded, name, task, shape, counts):
        """The four files of samples."""
        (path,) = recorded(name)
        found = validate(path).summary
        assert (found.kind, found.task) == ("sampling", task)
        assert (found.questions, found.least, found.null_answers) == shape
        assert (found.tokens, found.has_estimated_tokens) == counts

    @pytest.mark.slow
    def test_verdicts_on_game24(self, recorded):
        """With the questions that were asked, our grading agrees with the recorded verdicts."""
        if not GAME24.exists():
            pytest.skip(f"{GAME24} is not there")
        (path,) = recorded("game24-gpt4", GAME24)
        task, agreed, right = ExpressionTask(), 0, 0
        for line in read_trace(path).lines:
            for sample in line.samples:
                verdict = task.grade(line.question, sample.answer, line.reference)
                agreed += verdict == sample.is_right
                right += sample.is_right
        assert (agreed, right) == (10_000, 403)  # 4 %, as its authors report

    def test_beams(self, recorded):
        """The beams of two models and three widths make four traces."""
        found = [validate(path).summary for path in recorded("math500-beams-prm")]
        assert [(one.model, one.questions, one.least) for one in found] == [
            ("Llama-3.1-8B-Instruct", 500, 3),
            ("Llama-3.2-3B-Instruct", 100, 16),
            ("Llama-3.1-8B-Instruct", 100, 4),
            ("Qwen2.5-Math-7B-Instruct", 100, 4),
        ]
        assert all(one.rewards == one.samples for one in found)

    def test_trees(self, recorded):
        """The searches make a hundred trees; four in ten are whole at every width."""
        (path,) = recorded("game24-gpt4-tot-trees")
        lines = read_trace(path).lines
        nodes = [node for line in lines for tree in line.trees for node in tree.nodes]
        assert (len(lines), len(nodes)) == (100, 8412)
        assert sum(node.is_finished for node in nodes) == 500
        assert sum(node.is_right is True for node in nodes) == 119
        assert sum(line.extra["exact_knobs"] == [1, 2, 3, 4, 5] for line in lines) == 44

    def test_arrivals(self, recorded):
        """The file of arrivals is no trace of answers."""
        with pytest.raises(TraceError, match="fields output_tokens, prompt_tokens, t"):
            recorded("azure-conv-arrivals")
