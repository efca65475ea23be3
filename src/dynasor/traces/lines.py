"""One line of a trace: from its bytes to what it says, or to an error that names line and field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from dynasor.core.errors import UserError
from dynasor.traces.format import (
    VERSION,
    ChainLine,
    Header,
    Kind,
    Line,
    SamplingLine,
    Tree,
    TreeLine,
)

__all__ = ["LineReader", "TraceError", "decode", "kind_of", "read_header", "shown", "spoken"]

T = TypeVar("T")

_TYPES: dict[Kind, type[Line]] = {"sampling": SamplingLine, "chain": ChainLine, "tree": TreeLine}
_DECODERS = {kind: msgspec.json.Decoder(cls) for kind, cls in _TYPES.items()}
_HEADERS = msgspec.json.Decoder(Header)


class TraceError(UserError):
    """A trace that cannot be read, written, made or used."""

    def __init__(self, message: str) -> None:
        super().__init__(shown(message))


class _Marks(Struct):
    """The fields that tell what a line is, whatever is wrong with it."""

    dynasor_trace: int | UnsetType = UNSET
    samples: msgspec.Raw | UnsetType = UNSET
    chains: msgspec.Raw | UnsetType = UNSET
    trees: msgspec.Raw | UnsetType = UNSET


_MARKS = msgspec.json.Decoder(_Marks)


def shown(text: object) -> str:
    """Return a path or a message as text; bytes of a path that are no text become '?'."""
    return str(text).encode("utf-8", "replace").decode()


def kind_of(line: Line) -> Kind:
    """Return the kind of trace that a line belongs to."""
    return next(kind for kind, cls in _TYPES.items() if isinstance(line, cls))


def decode(where: str, data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Read one line of JSON; raises `TraceError` that begins with `where` and names the field."""
    try:
        data.decode()  # the decoder checks only what it keeps
        return decoder.decode(data)
    except UnicodeDecodeError as exc:
        raise TraceError(f"{where} is not UTF-8 (byte {exc.start}); save the file as UTF-8") from (
            exc
        )
    except msgspec.ValidationError as exc:
        raise TraceError(f"{where}: {spoken(exc)}") from exc
    except msgspec.DecodeError as exc:
        if "truncated" in str(exc):
            raise TraceError(f"{where} is cut off: the file ends early, or was joined") from exc
        raise TraceError(f"{where} is not JSON: {exc}") from exc
    except RecursionError as exc:
        raise TraceError(f"{where} is nested too deeply to be read") from exc


def spoken(error: msgspec.ValidationError) -> str:
    """Say what is wrong with which field: "samples[3].tokens: expected `int` >= 0"."""
    said, _, at = str(error).partition(" - at ")
    field = at.strip("`").removeprefix("$").removeprefix(".")
    return f"{field}: {said[0].lower()}{said[1:]}".removeprefix(": ")


def read_header(path: Path, number: int, data: bytes) -> Header:
    """Read a trace's first line; raises `TraceError` where it is no header of this version."""
    where = f"trace {path}, line {number}"
    version = decode(where, data, _MARKS).dynasor_trace
    if version is UNSET:
        raise TraceError(
            f"{where} is no header: it has no `dynasor_trace`; `dynasor trace convert` makes "
            "traces of other files"
        )
    if version != VERSION:
        raise TraceError(f"{where} is a header of version {version}; this build reads {VERSION}")
    return decode(where, data, _HEADERS)


class LineReader:
    """Reads the lines below one header, in order; `places` maps the ids so far to their lines."""

    def __init__(self, path: Path, header: Header) -> None:
        self.path, self.header = path, header
        self.places: dict[str, int] = {}

    def read(self, number: int, data: bytes) -> Line:
        """Return what line `number` (from 1) says; raises `TraceError` for what it may not say."""
        line, problems = self.check(number, data)
        for problem in problems:
            raise TraceError(problem)
        assert line is not None
        return line

    def check(self, number: int, data: bytes) -> tuple[Line | None, list[str]]:
        """Return a line and all that is wrong with it; None for one that cannot be read."""
        where = f"trace {self.path}, line {number}"
        try:
            line = decode(where, data, _DECODERS[self.header.kind])
        except TraceError as exc:
            return None, [self._misplaced(where, data) or str(exc)]
        problems = [f"{where}: {flaw}" for flaw in _flaws(line)]
        first = self.places.setdefault(line.id, number)
        if first != number:
            problems.append(f"{where} repeats the id {line.id!r} of line {first}; ids are unique")
        return line, problems

    def _misplaced(self, where: str, data: bytes) -> str:
        """Say what a line is that belongs elsewhere; empty for one that belongs nowhere."""
        try:
            marks = _MARKS.decode(data)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return ""
        if marks.dynasor_trace is not UNSET:
            return (
                f"{where} is a second header (version {marks.dynasor_trace}): files were joined; "
                "keep them apart"
            )
        found: dict[Kind, object] = {
            "sampling": marks.samples,
            "chain": marks.chains,
            "tree": marks.trees,
        }
        others = [kind for kind, mark in found.items() if mark is not UNSET]
        if not others or self.header.kind in others:
            return ""
        return f"{where} is of kind {others[0]}; the header says {self.header.kind}"


def _flaws(line: Line) -> Iterator[str]:
    """Yield what the types cannot say: the order of probes, and what nodes are to each other."""
    if isinstance(line, ChainLine):
        for number, chain in enumerate(line.chains):
            for index in range(1, len(chain.probes)):
                if chain.probes[index].at < chain.probes[index - 1].at:
                    yield (
                        f"chains[{number}].probes[{index}].at: "
                        f"{chain.probes[index].at} after {chain.probes[index - 1].at}; "
                        "probes stand in the order of `at`"
                    )
    elif isinstance(line, TreeLine):
        for number, tree in enumerate(line.trees):
            yield from _tree_flaws(f"trees[{number}]", tree)


def _tree_flaws(name: str, tree: Tree) -> Iterator[str]:
    for index, node in enumerate(tree.nodes):
        where = f"{name}.nodes[{index}]"
        if node.unit > tree.knob:
            yield f"{where}.unit: {node.unit} is beyond the tree's knob, {tree.knob}"
        if node.parent is None:
            continue
        if node.parent >= index:
            yield f"{where}.parent: {node.parent}; a parent stands before its child"
        elif tree.nodes[node.parent].unit > node.unit:
            yield (
                f"{where}.unit: {node.unit}, but its parent's is {tree.nodes[node.parent].unit}; "
                "a search makes no child without its parent"
            )
