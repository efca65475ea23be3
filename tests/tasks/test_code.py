from __future__ import annotations

import ast
import gzip
import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.tasks import CodeTask
from dynasor.tasks.code import assertions, program
from dynasor.tasks.syntax import LONGEST_PARSED, normal_form

TASK = CodeTask()
QUESTION = 'import math\n\n\ndef area(r: float) -> float:\n    """Return the area of a circle."""\n'
FUNCTION = "def area(r):\n    return math.pi * r * r"
BODY = "    square = r * r\n    return math.pi * square"

TRACES = Path(os.environ.get("DYNASOR_TRACES") or Path(__file__).parents[3] / "shared" / "traces")
HUMANEVAL = TRACES / "humaneval-codegen16b.jsonl.gz"

# Text that nearly is Python, and text that is anything.
TEXTS = st.text("def f(x):=+*[]{}'\"\\\n \t#@`0.\x00\ud800,asertlmbforinifw") | st.text(
    st.characters(exclude_categories=())
)
NAMES = st.lists(st.sampled_from("abcdefghk"), min_size=3, max_size=3, unique=True)


def test_the_last_block_of_python_is_the_answer():
    """Of several fenced blocks the last one that is a program counts, not what it prints."""
    text = f"First:\n```python\nx = 1\n```\nthen\n```py\n{FUNCTION}\n```\nIt prints\n```\n3\n```\n"
    assert TASK.extract(text) == FUNCTION


def test_a_block_counts_as_it_is():
    """A block that does not parse, or was cut off, is still what the model answered."""
    assert TASK.extract("```python\ndef f(:\n```") == "def f(:"
    assert TASK.extract("So:\n```python\ndef f(x):\n    return (x") == "def f(x):\n    return (x"


def test_a_body_keeps_its_indentation():
    """In a block and outside of one, a body's first line keeps the blanks before it."""
    assert TASK.extract(f"\n\n{BODY}\n\n\n") == BODY
    assert TASK.extract(f"```\n\n{BODY}\n```") == BODY


def test_a_body_ends_where_the_function_ends():
    """What a base model writes after the function is not part of the answer."""
    for rest in ("print(area(1))", "assert area(1", "def next_one(", "# the end", "if __name__"):
        assert TASK.extract(f"{BODY}\n\n\n{rest}") == BODY


def test_unindented_lines_within_a_body():
    """A bracket or a string may reach over unindented lines."""
    body = '    text = """\none\n"""\n    return [\n1,\n]'
    assert TASK.extract(f"{body}\nprint(1)\n") == body


@pytest.mark.parametrize(
    "text", ["", " \n\t", "```python\n\n```", "    # nothing", "Paris", "42", "I do not know."]
)
def test_what_is_no_program_is_no_answer(text):
    """Blank text, comments, words and values alone are no answer."""
    assert TASK.extract(text) is None


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("    return  x+1 # one", "    return (x + 1)"),
        ("    return x", "  '''Say x.'''\n  return x"),
        ("    y = x\n    return y", "    z = x\n    return z"),
        ("    return [a for a in x]", "    return [b for b in x]"),
        ("    y: int = x\n    return y", "    y = x\n    return y"),
        ("    def g(a): return a\n    g(x)", "    def h(b):\n        return b\n    h(x)"),
        ("    try: y = x\n    except E as e: y = e\n    return y",
         "    try:\n        a = x\n    except E as b:\n        a = b\n    return a"),
        ("def f(x: int) -> int:\n    return x", "def f(y):\n    return y"),
        ("y = 1\nreturn y", "    z = 1\n    return z"),
        ('    return "a"', "    return 'a'"),
        ("    if x:\n        pass\n    return 1", "    if x:\n        'nothing'\n    return 1"),
    ],
)  # fmt: skip
def test_spellings_of_one_program(left, right):
    """Layout, comments, docstrings, annotations and the names of locals do not matter."""
    assert TASK.same(left, right)
    assert TASK.equal(right, left)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("    return x", "    return y"),
        ("    return a + b", "    return b + a"),
        ("def f(x):\n    return 1", "def g(x):\n    return 1"),
        ("    numbers = sorted(numbers)\n    return numbers", "    n = sorted(n)\n    return n"),
        ("    n += 1\n    return n", "    m += 1\n    return m"),
        ("    return [a for a in a]", "    return [b for b in b]"),
        ("    y = [a for a in x]\n    return a", "    y = [b for b in x]\n    return b"),
        ("    import math\n    return math.pi", "    import cmath\n    return cmath.pi"),
        ("    def g(a): pass\n    g(a=1)", "    def g(b): pass\n    g(a=1)"),
        ("    y = x\n    return eval('y')", "    z = x\n    return eval('y')"),
        ("    class A: y = 1\n    return A", "    class A: z = 1\n    return A"),
        ("    a = 1\n    b = 2\n    return a", "    a = 1\n    b = 2\n    return b"),
        ("    return 1", "    return 1.0"),
        ("    return x", "x"),
    ],
)
def test_different_programs(left, right):
    """Arguments, free names, keywords, attributes and values stay what they are."""
    assert not TASK.same(left, right)


def test_what_does_not_parse_is_compared_as_text():
    """Broken code equals its own text, blanks folded, and nothing that parses."""
    assert TASK.same("def f(:\n  x", "def f(:   x")
    assert not TASK.same("def f(:", "def g(:")
    assert not TASK.same("def f(:", "def f(): pass")
    assert TASK.same("x = 1\n" * LONGEST_PARSED, " x = 1\n" * LONGEST_PARSED)


@pytest.mark.parametrize(
    "code",
    ["(" * 9_000, "-" * 9_000 + "1", "a" + "()" * 9_000, "1+" * 9_000 + "1", "x=" + "9" * 9_000,
     "x\x00", "\ud800", "lambda:" * 2_000 + "x", "x = 0x" + "f" * 9_000, 'x = "\\d"', "x is 1"],
)  # fmt: skip
def test_no_code_is_too_deep_or_too_odd(code):
    """Nested, huge, broken and questionable code is compared without an error or a warning."""
    assert TASK.same(code, code + " ") in (True, False)
    assert TASK.extract(code) != ""
    assert program("def f():\n", code)
    assertions(code, "f")


@given(names=NAMES, other=NAMES)
def test_renaming_locals_never_matters(names, other):
    """A body with its locals renamed, one to one, is the same body."""
    body = "    {0} = []\n    for {1} in x:\n        {0}.append({2} := {1})\n    return {0}"
    assert TASK.same(body.format(*names), body.format(*other))


@given(text=TEXTS)
def test_the_form_belongs_to_the_syntax(text):
    """Code that parses as a module has a form, and writing its tree anew does not change it."""
    form = normal_form(text)
    if form is not None and not text[:1].isspace():
        try:
            tree = ast.parse(text)
        except (SyntaxError, SyntaxWarning, DeprecationWarning, ValueError):
            return
        if not any(isinstance(one, ast.Return) for one in tree.body):
            assert normal_form(ast.unparse(tree)) == form


def test_grading_takes_a_sandbox():
    """The task itself says only that no answer is wrong."""
    assert TASK.runs_programs
    assert TASK.grade(QUESTION, None, "assert True") is False
    assert TASK.grade(QUESTION, FUNCTION, "assert True") is None


def test_a_body_completes_the_question():
    """A body is appended to the question, and indented where it is not."""
    assert program(QUESTION, BODY) == (QUESTION + BODY,)
    assert program(QUESTION, "return math.pi * r * r") == (f"{QUESTION}    return math.pi * r * r",)
    assert program("def f(x):", "    return x") == ("def f(x):\n    return x",)


def test_a_whole_function_follows_the_question():
    """A whole function keeps the imports and helpers of a question that is Python."""
    assert program(QUESTION, FUNCTION) == (QUESTION, FUNCTION)
    assert program("Write a function that...", FUNCTION) == (FUNCTION,)
    assert program("Print one.", "print(1)") == ("print(1)",)


def test_assertions_of_a_model():
    """Whole assert statements about the function are kept, once each, on one line."""
    text = " f(1) == 2, 'one'\nassert f(\n    2\n) == 3\nassert f(1) == 2, 'one'\nassert g(1)\n"
    text += "assert f(3) == 4\nprint(f(3))\n\nassert f(4"
    assert assertions(text, "f") == (
        "assert f(1) == 2, 'one'",
        "assert f(2) == 3",
        "assert f(3) == 4",
    )


def test_recorded_completions_fall_into_classes():
    """A hundred recorded completions of one question have fewer forms than texts."""
    if not HUMANEVAL.exists():
        pytest.skip(f"no recorded completions in {HUMANEVAL}")
    with gzip.open(HUMANEVAL, "rt") as lines:
        samples = json.loads(next(lines))["samples"]
    answers = [TASK.extract(sample["text"]) for sample in samples]
    found = [answer for answer in answers if answer is not None]
    random.Random(1).shuffle(found)
    assert len(found) == 96
    assert len(set(found)) == 78
    assert len({normal_form(answer) for answer in found}) == 63
