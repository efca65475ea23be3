"""Traces made of other files: recorded samples, beams and searches as research projects keep them.

What a file is, is told by the fields of its first line (`dynasor.traces.layouts`), what it does
not say of itself by `About`, or by what is known of a file of its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from dynasor.traces.files import numbered, opened, write_trace
from dynasor.traces.format import VERSION, Header, Line
from dynasor.traces.layouts import Layout, Record, layout_of
from dynasor.traces.lines import TraceError, decode

__all__ = ["About", "convert"]


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a file does not say of itself; fields as in `Header`, None where it is not known."""

    model: str | None = None
    workload: str | None = None
    task: str | None = None
    source: str | None = None
    has_estimated_tokens: bool | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)

    def completed(self, other: About) -> About:
        """Return what this one says, and of the rest what the other one does."""
        own = {
            name: value
            for name in self.__slots__
            if (value := getattr(self, name)) not in (None, {})
        }
        return About(**{name: getattr(other, name) for name in self.__slots__} | own)


# By the name of the file without its endings. Where tokens are estimated, they are one for so many
# characters throughout: 2.6 (programs, Game of 24), 3.2 (code), 3 (beams).
_KNOWN = {
    "svamp-codex": About(
        model="code-davinci-002",
        workload="svamp",
        source="TIGER-AI-Lab/Program-of-Thoughts, MIT; program of thought",
        has_estimated_tokens=True,
        sampling={"temperature": 0.5},
    ),
    "math500-llama3.1-8b": About(
        model="Llama-3.1-8B-Instruct-AWQ-INT4",
        workload="math500",
        source="mert-cemri/search-and-learn, Apache-2.0; the first 100 questions of MATH-500",
        sampling={"temperature": 0.8},
    ),
    "humaneval-codegen16b": About(
        model="CodeGen-16B",
        workload="humaneval",
        source="microsoft/CodeT, MIT",
        has_estimated_tokens=True,
        sampling={"temperature": 0.8},
    ),
    "game24-gpt4": About(
        model="GPT-4",
        workload="game24",
        source="princeton-nlp/tree-of-thought-llm, MIT; chain of thought",
        has_estimated_tokens=True,
        sampling={"temperature": 0.7},
    ),
    "game24-gpt4-tot-trees": About(
        model="GPT-4",
        workload="game24",
        source="princeton-nlp/tree-of-thought-llm, MIT; breadth-first tree search",
        sampling={"temperature": 0.7},
    ),
    "math500-beams-prm": About(
        workload="math500",
        source="mert-cemri/search-and-learn, Apache-2.0; beams scored by a process reward model",
        has_estimated_tokens=True,
    ),
}


def convert(
    source: Path, target: Path, about: About | None = None, questions: Path | None = None
) -> list[Path]:
    """Make traces of a file and return their paths.

    `target` is the new trace, or a folder that gets one named after the source. A file of beams
    always makes a folder, with one trace a model and width: `NAME.MODEL.WIDTH.jsonl.gz`.
    `questions` is a JSONL file of `id` and `question` whose texts replace those of the source.
    Graded samples are given no reference without it: their `is_right` says what is right, and
    the question's text need not be what was asked.

    Raises `TraceError` for an unknown layout, a line that does not fit, a model or workload that
    nobody named, or a target that exists.
    """
    stem = _stem(source)
    known = (about or About()).completed(_KNOWN.get(stem, About()))
    asked = None if questions is None else _texts(questions)
    layout, parts = _read(source, asked)
    targets = {part: _path(target, stem, part) for part in parts}
    for path in targets.values():
        if path.exists():
            raise TraceError(f"trace {path} exists already; name a new file")
    for part, lines in parts.items():
        header = _header(source, layout, known, part)
        targets[part].parent.mkdir(parents=True, exist_ok=True)
        write_trace(targets[part], header, lines)
    return list(targets.values())


_Part = tuple[str, int] | None
"""What a trace of its own is made of: model and width of its beams, or everything."""


def _read(source: Path, asked: Mapping[str, str] | None) -> tuple[Layout, dict[_Part, list[Line]]]:
    layout: Layout | None = None
    parts: dict[_Part, list[Line]] = {}
    for number, record in _records(source):
        try:
            layout = layout or layout_of(record)
            line = _joined(layout, layout.line(record), asked)
        except TraceError as exc:
            raise TraceError(f"{source}, line {number}: {exc}") from exc
        part = (record["model"], record["beams"]) if layout.name == "beams" else None
        parts.setdefault(part, []).append(line)
    if layout is None:
        raise TraceError(f"{source} is empty; nothing can be made of it")
    return layout, parts


def _joined(layout: Layout, line: Line, asked: Mapping[str, str] | None) -> Line:
    """Give a question the text that was asked, where that is known."""
    if asked is not None:
        if line.id not in asked:
            raise TraceError(f"the file of questions has none with the id {line.id!r}")
        return msgspec.structs.replace(line, question=asked[line.id])
    return msgspec.structs.replace(line, reference=None) if layout.is_graded else line


def _header(source: Path, layout: Layout, known: About, part: _Part) -> Header:
    model, sampling = known.model, dict(known.sampling)
    if part is not None:
        if model is not None:
            raise TraceError(f"{source}: its lines name their models; leave the model out")
        model, sampling["beams"] = part
    if not model or not known.workload:
        missing = "workload" if model else "model"
        raise TraceError(f"{source} does not say what its {missing} is; give --{missing}")
    return Header(
        dynasor_trace=VERSION,
        kind=layout.kind,
        workload=known.workload,
        model=model,
        task=known.task or layout.task,
        sampling=sampling,
        has_estimated_tokens=layout.kind == "tree" or bool(known.has_estimated_tokens),
        source=known.source or "",
    )


def _path(target: Path, stem: str, part: _Part) -> Path:
    if part is not None:
        if re.search(r"\.(jsonl|gz)$", target.name) or target.is_file():
            raise TraceError(f"{target}: beams make a trace a model and width; name a folder")
        model, width = part
        return target / f"{stem}.{re.sub(r'[^A-Za-z0-9._-]', '-', model)}.{width}.jsonl.gz"
    return target / f"{stem}.jsonl.gz" if target.is_dir() else target


def _stem(path: Path) -> str:
    """Return a file's name without `.gz` and without `.jsonl` or `.json`."""
    return re.sub(r"\.jsonl?$", "", re.sub(r"\.gz$", "", path.name))


def _texts(path: Path) -> dict[str, str]:
    """Return the questions of a data set by their ids."""
    texts: dict[str, str] = {}
    for number, record in _records(path):
        name, text = record.get("id"), record.get("question")
        if not isinstance(name, str) or not isinstance(text, str):
            raise TraceError(f"{path}, line {number}: `id` and `question` must be texts")
        texts[name] = text
    return texts


def _records(path: Path) -> Iterator[tuple[int, Record]]:
    decoder = msgspec.json.Decoder(dict[str, Any])
    with opened(path) as file:
        for number, data in numbered(path, file):
            yield number, decode(f"{path}, line {number}", data, decoder)
