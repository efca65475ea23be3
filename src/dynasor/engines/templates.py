"""Chat messages as the text that a model reads, so that a text can be continued exactly.

A chat endpoint renders a last assistant message as one that was finished long ago: templates cut
its thoughts out, or close it. What goes on after a prefix is therefore sent to the endpoint for
plain text, with the messages rendered once: by the server, or here from the model's own template.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from dynasor.core.errors import ConfigError, EngineGarbage, EngineRefused
from dynasor.core.types import Message
from dynasor.engines.dialects import written
from dynasor.engines.kept import Kept
from dynasor.engines.link import Link
from dynasor.engines.wire import Tokens

__all__ = ["FileTemplate", "ServerTemplate", "Template"]

RENDERINGS_KEPT = 4096
"""A program asks with the same messages from its first call to its last; so many at once."""
CONFIG, SEPARATE = "tokenizer_config.json", "chat_template.jinja"

Roles = Sequence[Mapping[str, str]]
T = TypeVar("T")


class _Rendered(msgspec.Struct):
    prompt: str


class Template(Protocol):
    """Renders messages up to where the assistant's answer begins."""

    async def render(self, messages: Sequence[Message]) -> str | None:
        """Return the text; None where it cannot be had and the chat endpoint must do."""


class ServerTemplate:
    """The template that a server has: llama.cpp renders with it, vLLM shows its tokens.

    `path` is what of the two the server offers: `/../apply-template`, or `/../tokenize`, whose
    tokens `/../detokenize` turns into text. Where it offers neither after all, or its template
    refuses the messages, there is no text. Raises `EngineError`s as any request does.
    """

    def __init__(self, link: Link, path: str, model: str) -> None:
        self._link = link
        self._path = path
        self._model = model
        self._is_offered: bool | None = None
        self._known: Kept[tuple[Message, ...], str] = Kept(RENDERINGS_KEPT)

    async def render(self, messages: Sequence[Message]) -> str | None:
        """Return the server's rendering, asked for once."""
        key = tuple(messages)
        text = self._known.get(key)
        if text is not None:
            return text
        if self._is_offered is None:
            self._is_offered = await self._link.offers(self._path)
        if not self._is_offered:
            return None
        try:
            text = await self._ask(written(messages))
        except EngineRefused:
            return None  # the chat endpoint says better what is wrong
        self._known.put(key, text)
        return text

    async def _ask(self, messages: Roles) -> str:
        body: dict[str, Any] = {"model": self._model, "messages": messages}
        if self._path.endswith("tokenize"):
            data = await self._link.post(self._path, body | {"add_generation_prompt": True})
            tokens = self._read(data, Tokens).tokens
            body = {"model": self._model, "tokens": tokens}
            return self._read(await self._link.post("/../detokenize", body), _Rendered).prompt
        return self._read(await self._link.post(self._path, body), _Rendered).prompt

    def _read(self, data: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.MsgspecError as exc:
            raise EngineGarbage(self._link.address, f"{self._path}: {exc}") from exc


class FileTemplate:
    """A template in a file: a model's folder, its `tokenizer_config.json`, or a Jinja file.

    `has_start`: whether the text keeps the token that begins a text; most servers add their own.
    `setting` is what messages call it.
    Raises `ConfigError` for a file that cannot be read or holds no template, and where jinja2 is
    not installed. As transformers does it:
    https://huggingface.co/docs/transformers/chat_templating
    """

    def __init__(
        self, path: Path, *, has_start: bool = False, setting: str = "chat_template"
    ) -> None:
        self._path = path
        self._has_start = has_start
        try:
            source, self._tokens = _read_template(path)
            self._template = self._compile(source)
        except ConfigError as exc:
            raise ConfigError(f"{setting} {exc}") from exc

    async def render(self, messages: Sequence[Message]) -> str:
        """Return the rendering; raises `EngineRefused` where the template refuses the messages."""
        return self._rendered(messages, is_open=True)

    def whole(self, messages: Sequence[Message]) -> str:
        """Return a conversation that is over, for a reward model; raises as `render` does."""
        return self._rendered(messages, is_open=False)

    def _rendered(self, messages: Sequence[Message], *, is_open: bool) -> str:
        try:
            text: str = self._template.render(
                messages=written(messages), add_generation_prompt=is_open, **self._tokens
            )
        except Exception as exc:  # a template may do anything, and says why in its own words
            raise EngineRefused(str(self._path), f"refuses the messages: {exc}") from exc
        start = self._tokens.get("bos_token", "")
        return text if self._has_start or not start else text.removeprefix(start)

    def _compile(self, source: str) -> Any:
        try:
            import jinja2  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
            from jinja2.sandbox import (  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
                ImmutableSandboxedEnvironment,
            )
        except ImportError as exc:
            raise ConfigError("needs jinja2: pip install jinja2") from exc
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise
        try:
            return environment.from_string(source)
        except jinja2.TemplateError as exc:
            raise ConfigError(f"{self._path}: {exc}") from exc


def _read_template(path: Path) -> tuple[str, dict[str, str]]:
    """Return a template and the special tokens that it may name."""
    folder = path if path.is_dir() else path.parent
    config: dict[str, Any] = {}
    tokens_in = path if path.suffix == ".json" else folder / CONFIG
    if tokens_in.is_file() or path.suffix == ".json":
        config = _json(tokens_in)
    separate = folder / SEPARATE if path.is_dir() else path
    if not path.is_dir() and not path.is_file():
        raise ConfigError(f"{path}: there is no such file")
    if separate.suffix != ".json" and separate.is_file():
        return _text(separate), _special(config)
    template = config.get("chat_template")
    if isinstance(template, list):
        listed = [each for each in template if isinstance(each, dict)]
        named = {each.get("name"): each.get("template") for each in listed}
        template = named.get("default")
    if not isinstance(template, str):
        raise ConfigError(
            f"{path}: no template there; expected a model's folder, its {CONFIG} "
            f"with a chat_template, or its {SEPARATE}"
        )
    return template, _special(config)


def _special(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the special tokens of a configuration: texts, or objects that hold one."""
    found = {}
    for name, value in config.items():
        text = value.get("content") if isinstance(value, dict) else value
        if name.endswith("_token") and isinstance(text, str):
            found[name] = text
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_text(path))
    except json.JSONDecodeError as exc:
        raise ConfigError(f"{path}: not JSON ({exc})") from exc
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a JSON object")
    return value


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} cannot be read: {exc}") from exc


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise(message: str) -> None:
    raise ValueError(message)
