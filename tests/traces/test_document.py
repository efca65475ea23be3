"""docs/traces.md shows lines that are lines of a trace, and names every field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dynasor.traces import Chain, Header, Node, Probe, Sample, SamplingLine, Tree, validate

TEXT = (Path(__file__).parents[2] / "docs" / "traces.md").read_text(encoding="utf-8")
HEADER, *LINES = re.findall(r"^```json\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
KINDS = ("sampling", "chain", "tree")


@pytest.mark.parametrize(("kind", "line"), [*zip(KINDS, LINES, strict=True)])
def test_examples(tmp_path, kind, line):
    """The example of each kind of line passes the check without a warning."""
    path = tmp_path / "t.jsonl"
    path.write_text(HEADER.replace("sampling", kind, 1) + line)
    report = validate(path)
    assert report.is_usable
    assert report.warnings == ()
    assert report.summary.questions == 1


@pytest.mark.parametrize("struct", [Header, Sample, SamplingLine, Chain, Probe, Node, Tree])
def test_fields(struct):
    """Every field has its place in the document."""
    missing = [name for name in struct.__struct_fields__ if f"`{name}`" not in TEXT]
    assert missing == []


def test_program(tmp_path, monkeypatch):
    """The program in the document writes a trace, and does nothing the second time."""
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    for _ in range(2):
        exec(compile(program, "docs/traces.md", "exec"), {})
    assert validate(Path("samples.jsonl.gz")).summary.samples == 1
