"""The README can be followed."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

import dynasor
from dynasor.api import Dynasor
from dynasor.api.handle import Result
from dynasor.cli import app
from dynasor.config import parse_policy
from dynasor.core.allocation import make_policy, policies
from dynasor.core.ordering import orderings
from dynasor.programs import programs

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
)


def blocks(language):
    """The README's code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def shell_lines():
    """Every command in the README's shell blocks, without its comment."""
    lines = [
        shlex.split(line, comments=True) for text in blocks("bash") for line in text.split("\n")
    ]
    return [line for line in lines if line]


COMMANDS = [line[1:] for line in shell_lines() if line[0] == "dynasor"]
SCRIPTS = [line[0] for line in shell_lines() if line[0].startswith("scripts/")]


def test_there_is_something_to_check():
    """The README shows both scripts, both commands and one program."""
    assert {"scripts/demo", "scripts/test"} <= set(SCRIPTS)
    assert {"ask", "batch"} <= {line[0] for line in COMMANDS}
    assert len(blocks("python")) == 1


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_command(arguments):
    """Each command is one that the real parser takes."""
    group = get_command(app)
    command = group.commands[arguments[0]]
    with command.make_context(arguments[0], arguments[1:]) as context:
        assert not context.args


@pytest.mark.parametrize("script", SCRIPTS)
def test_script(script):
    """Each script is there and may be run."""
    assert (ROOT / script).stat().st_mode & 0o111


def test_python_example():
    """The program compiles, and every name that it uses of ours is there."""
    (text,) = blocks("python")
    compile(text, "README.md", "exec")
    tree = ast.parse(text)
    imported = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "dynasor"
        for alias in node.names
    ]
    assert imported
    assert all(hasattr(dynasor, name) for name in imported)
    used = {
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    result = {name for owner, name in used if owner == "result"}
    assert {"answer", "certaindex"} <= result
    assert result <= set(Result.__dataclass_fields__)
    assert all(hasattr(Dynasor, name) for owner, name in used if owner == "dynasor")


def table_of(title):
    """Return what stands in code in the first column of a section's tables."""
    section = README.partition(f"## {title}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+`) \|", section, re.MULTILINE)
    return [text for row in rows for text in re.findall(r"`([^`]+)`", row)]


def test_programs():
    """The table shows every program that ships."""
    assert set(table_of("Which algorithm?")) == set(programs())


def test_policies():
    """The table shows policies as they may be written; docs/policies.md has them all."""
    shown = table_of("How far a question goes")
    for text in shown:
        make_policy(parse_policy(text), policies())
    assert {"even", "beta", "sequential"} <= {parse_policy(text).name for text in shown}


def test_orderings():
    """Every ordering that ships is named."""
    assert all(f"`{name}`" in README for name in orderings())


def test_options():
    """Every option that the text names is one of `ask`."""
    known = {name for p in get_command(app).commands["ask"].params for name in p.opts}
    known |= {name for p in get_command(app).commands["ask"].params for name in p.secondary_opts}
    named = re.findall(r"`(--[a-z-]+)`", README)
    assert named
    assert set(named) <= known


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links(document):
    """Every link to a file leads to one."""
    text = (ROOT / document).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    paths = [link.split("#")[0] for link in links if "://" not in link and link[0] != "#"]
    missing = [path for path in paths if not ((ROOT / document).parent / path).exists()]
    assert missing == []
