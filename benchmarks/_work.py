"""What a long benchmark has found so far: lines in a file, so that a killed run goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from dynasor.core.errors import UserError
from dynasor.locked import LockedFile

__all__ = ["Work", "WorkError"]

T = TypeVar("T")
Key = tuple[str | int, ...]


class WorkError(UserError):
    """A work file that cannot be gone on with."""


class Work(Generic[T]):
    """Values by key in one file, `name`.jsonl of a folder, held by one process until `close`.

    The first line says under which `conditions` the values were found: a run under others would
    mix what cannot be compared, and raises `WorkError`. A last line that a kill has torn is
    dropped. Keys are texts and whole numbers.
    """

    def __init__(
        self, folder: Path, name: str, conditions: Mapping[str, Any], shape: type[T]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{name}.jsonl"
        self._found: dict[Key, T] = {}
        self._file = LockedFile(self.path, "work file", "benchmark", WorkError)
        try:
            self._file.cut(self._read(conditions, shape))
            if self._file.end == 0:
                self._file.append(_line({"conditions": conditions}))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Work[T]:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __contains__(self, key: Key) -> bool:
        return key in self._found

    def __getitem__(self, key: Key) -> T:
        return self._found[key]

    def __len__(self) -> int:
        return len(self._found)

    def add(self, key: Key, value: T) -> None:
        """Keep a value: it is in the file when this returns."""
        self._file.append(_line({"key": key, "value": value}))
        self._found[key] = value

    def close(self) -> None:
        """Give the file to others."""
        self._file.close()

    def _read(self, conditions: Mapping[str, Any], shape: type[T]) -> int:
        """Take in what is there; return where the whole lines end."""
        end = 0
        for number, line in enumerate(_whole_lines(self.path.read_bytes())):
            try:
                read = msgspec.json.decode(line)
                if number == 0:
                    self._check(read["conditions"], conditions)
                else:
                    self._found[tuple(read["key"])] = msgspec.convert(read["value"], shape)
            except (msgspec.MsgspecError, LookupError, TypeError) as exc:
                raise WorkError(
                    f"work file {self.path}, line {number + 1} is none of its own ({exc}); name "
                    "another folder with --work"
                ) from exc
            end += len(line)
        return end

    def _check(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        now = msgspec.json.decode(msgspec.json.encode(now))
        for name in dict.fromkeys([*before, *now]):
            if before.get(name) != now.get(name):
                raise WorkError(
                    f"work file {self.path} was begun with {name} {before.get(name)!r}, not "
                    f"{now.get(name)!r}; give the same, or name another folder with --work"
                )


def _whole_lines(data: bytes) -> Iterator[bytes]:
    return (line for line in data.splitlines(keepends=True) if line.endswith(b"\n"))


def _line(value: Any) -> bytes:
    return msgspec.json.encode(value) + b"\n"
