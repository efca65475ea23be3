"""Recorded settings for the offline figures: found, converted or recorded, and sorted once.

Traces are no part of the repository. They are looked for in `$DYNASOR_TRACES`, else in
`../shared/traces` beside the checkout: traces as they are, other files are converted into the
user's cache. The embedded model's own trace is recorded there where it is not found.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import _script
from _script import finish
from dynasor.config import Settings
from dynasor.core.errors import UserError
from dynasor.core.types import ProgramSpec
from dynasor.datasets.questions import load_questions
from dynasor.evaluate.classes import BY_TESTS, Sorting, default_cache, sort_trace
from dynasor.evaluate.processes import cores
from dynasor.evaluate.recorded import Recorded
from dynasor.record import RecordJob, Tally, record
from dynasor.traces import Header, convert, read_trace

__all__ = [
    "BEAMS",
    "OWN",
    "SETTINGS",
    "AbsentError",
    "Known",
    "Setting",
    "arguments",
    "find_trace",
    "finish",
    "open_setting",
    "open_settings",
]

OWN = "arithmetic-embedded"
OWN_QUESTIONS, OWN_SAMPLES = 300, 20


@dataclass(frozen=True, slots=True)
class Known:
    """What a setting is called in a figure, how many samples it has use for, and where it lies.

    `source` is the name of the file that its trace is converted from, where that is another one.
    """

    title: str
    default_cap: int
    source: str = ""
    runs_code: bool = False


_BEAMS = "math500-beams-prm"

SETTINGS = {
    "svamp-codex": Known("SVAMP, code-davinci-002", 30),
    "math500-llama3.1-8b": Known("MATH-500, Llama-3.1-8B", 45),
    "humaneval-codegen16b": Known("HumanEval, CodeGen-16B", 30, runs_code=True),
    "game24-gpt4": Known("Game of 24, GPT-4", 30),
    OWN: Known("arithmetic, embedded model", OWN_SAMPLES),
    f"{_BEAMS}.Llama-3.1-8B-Instruct.3": Known("MATH-500 beams, Llama-3.1-8B (3)", 3, _BEAMS),
    f"{_BEAMS}.Llama-3.1-8B-Instruct.4": Known("MATH-500 beams, Llama-3.1-8B (4)", 4, _BEAMS),
    f"{_BEAMS}.Llama-3.2-3B-Instruct.16": Known("MATH-500 beams, Llama-3.2-3B (16)", 16, _BEAMS),
    f"{_BEAMS}.Qwen2.5-Math-7B-Instruct.4": Known("MATH-500 beams, Qwen2.5-Math-7B (4)", 4, _BEAMS),
}
"""Every recorded setting by the name of its trace; the caps are the evaluation's."""
BEAMS = tuple(name for name, known in SETTINGS.items() if known.source == _BEAMS)


class AbsentError(UserError):
    """A setting cannot be had here: its trace is absent, or needs a consent that was not given."""


SAMPLES = ProgramSpec("self-consistency")


@dataclass(frozen=True, slots=True)
class Setting:
    """One recorded setting: its questions that can be judged, sorted and graded."""

    name: str
    title: str
    header: Header
    questions: list[Recorded]
    default_cap: int
    program: ProgramSpec = SAMPLES


def open_setting(name: str, *, run_code: bool = False, processes: int = 1) -> Setting:
    """Find a setting's trace, convert it if need be, and sort its answers (kept in the cache).

    Raises `AbsentError` where the trace is absent, or would run programs without `run_code`.
    """
    known = SETTINGS[name]
    trace = read_trace(find_trace(name), "sampling")
    sorting = Sorting(cache=default_cache(), processes=processes, run_code=run_code)
    if known.runs_code:
        if not run_code:
            raise AbsentError(f"{name} needs recorded programs to be run: give --run-code")
        sorting = replace(sorting, grouping=BY_TESTS)
    questions = [one for one in sort_trace(trace, sorting) if one.tokens and one.has_quality]
    return Setting(name, known.title, trace.header, questions, known.default_cap)


def open_settings(names: Sequence[str], options: argparse.Namespace) -> list[Setting]:
    """Open those of the settings that can be had and that the options ask for; name the others.

    Ends the script with one line where none is left.
    """
    found: list[Setting] = []
    for name in [one for one in names if one in (options.setting or names)]:
        try:
            one = open_setting(name, run_code=options.run_code, processes=options.processes)
        except AbsentError as exc:
            print(f"skipped: {exc}", file=sys.stderr)
        else:
            found.append(one)
    if not found:
        raise SystemExit(f"none of the settings {', '.join(names)} can be had here")
    return found


def find_trace(name: str) -> Path:
    """Return the path of a setting's trace, made of another file in the cache where needed.

    Raises `AbsentError` where there is nothing to make it of.
    """
    folder, made = _folder(), default_cache().parent / "traces"
    file = f"{name}.jsonl.gz"
    for path in (folder / file, folder / "beams" / file):
        if path.is_file() and _is_trace(path):
            return path
    if name == OWN:
        return _recorded(made / file)
    known = SETTINGS.get(name)
    stem = name if known is None else known.source or name
    source = folder / f"{stem}.jsonl.gz"
    if not source.is_file():
        looked_for = " or ".join(dict.fromkeys((file, source.name)))
        raise AbsentError(f"{name}: there is no {looked_for} in {folder}")
    made = made / hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    if not (made / file).is_file():
        made.mkdir(parents=True, exist_ok=True)
        convert(source, made)
    return made / file


def arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser with what all figure scripts take."""
    parser = _script.arguments(description)
    parser.add_argument("--seeds", type=int, default=20, help="shuffles of every question")
    parser.add_argument("--setting", action="append", choices=SETTINGS, help="only this one")
    parser.add_argument("--processes", type=int, default=cores())
    parser.add_argument("--run-code", action="store_true", help="run recorded programs, sandboxed")
    return parser


def _folder() -> Path:
    beside = Path(__file__).resolve().parents[2] / "shared" / "traces"
    return Path(os.environ.get("DYNASOR_TRACES") or beside)


def _is_trace(path: Path) -> bool:
    """Say if a file begins as a trace does; what it was made of may have the same name."""
    with gzip.open(path) as file:
        return b'"dynasor_trace"' in file.readline()


class _Silent:
    """Watches a recording without a word."""

    def moved(self, tally: Tally) -> None:
        pass

    def warn(self, message: str) -> None:
        print(message, file=sys.stderr)


def _recorded(path: Path) -> Path:
    """Record the embedded model on its held-out problems, unless that was done before."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        begun = path.with_name(f"begun-{path.name}")  # goes on there if it is interrupted
        print(f"recording {OWN}: some minutes, once", file=sys.stderr)
        questions = load_questions(f"arithmetic:{OWN_QUESTIONS}")
        job = RecordJob(questions, "arithmetic", begun, OWN_SAMPLES, has_logprobs=True)
        # Not the user's settings: what is recorded here is the same for everyone.
        asyncio.run(record(job, Settings(), _Silent()))
        begun.rename(path)
    return path
