"""One completion while it comes in: text, token counts, reports, and the verdict at the end."""

from __future__ import annotations

from dynasor.core.types import Generate, Generated, Usage
from dynasor.engines.protocol import Meter, OnReport
from dynasor.engines.wire import (
    Choice,
    Completion,
    Delta,
    NotTheProtocol,
    TokenLogprob,
    estimated_tokens,
    mean_logprob,
    read_usage,
)

__all__ = ["Transcript"]

# Between a model's thoughts and its answer, where the server hands them over apart.
PARAGRAPH = "\n\n"

# A piece is at most one token, but who splits tokens into characters is no runaway yet.
RUNAWAY_FACTOR = 8


class Transcript:
    """Collect the chunks of one streamed completion, keep its meter and send its reports.

    A piece of text counts as one token until the server says better: exactly with usage in each
    chunk (vLLM, SGLang) or log-probabilities, a little too few where tokens that end within a
    UTF-8 character arrive together (llama.cpp).
    """

    def __init__(self, work: Generate, meter: Meter, on_report: OnReport | None) -> None:
        self._work = work
        self._meter = meter
        self._on_report = on_report if work.report_every > 0 else None
        self._pieces: list[str] = []
        self._reported_pieces = 0
        self._reported_tokens = 0
        self._is_thinking = False
        self._tokens = 0
        self._prompt_tokens = estimated_tokens(
            "".join(m.content for m in work.prompt.messages) + work.prompt.prefix
        )
        self._logprobs: list[TokenLogprob] = []
        self._usage: Usage | None = None
        self.finish_reason: str | None = None

    @property
    def tokens(self) -> int:
        """Tokens that have arrived, as well as is known."""
        return self._meter.completion_tokens

    def add(self, chunk: Completion) -> None:
        """Take in one chunk; sends a report when one is due."""
        before = self._tokens
        if chunk.choices:
            self._add_choice(chunk.choices[0])
        if chunk.usage is not None:
            self._usage = read_usage(chunk.usage, self._tokens, self._work.sampling.max_tokens)
        elif self._tokens > before:
            # What was said of earlier tokens says nothing of these.
            self._usage = None
        self._update_meter()
        self._report()

    def done(self) -> None:
        """Take in the end of the stream; raises `NotTheProtocol` if nothing came before it."""
        if self.finish_reason is None and not self._pieces:
            raise NotTheProtocol("a stream that ends before its completion")
        self.finish_reason = self.finish_reason or "stop"

    def finish(self) -> Generated:
        """Return the completion; the caller has made sure that it is whole."""
        usage = self._meter.usage()
        return Generated(
            text="".join(self._pieces),
            usage=usage,
            finish_reason=self.finish_reason or "stop",
            mean_logprob=mean_logprob(self._logprobs),
        )

    def _add_choice(self, choice: Choice) -> None:
        listed = choice.logprobs.listed if choice.logprobs is not None else []
        said = choice.said
        has_text = said is not None and self._add_text(said)
        if listed:
            self._logprobs += listed
            self._tokens += len(listed)
        elif has_text:
            self._tokens += 1
        if self._tokens > RUNAWAY_FACTOR * self._work.sampling.max_tokens + RUNAWAY_FACTOR:
            raise NotTheProtocol(f"{self._tokens} tokens of {self._work.sampling.max_tokens}")
        if choice.finish_reason:
            self.finish_reason = choice.finish_reason

    def _add_text(self, delta: Delta) -> bool:
        thoughts, content = delta.thoughts, delta.content or ""
        if thoughts:
            self._pieces.append(thoughts)
            self._is_thinking = True
        if content:
            if self._is_thinking:
                self._pieces.append(PARAGRAPH)
                self._is_thinking = False
            self._pieces.append(content)
        return bool(thoughts or content)

    def _update_meter(self) -> None:
        meter, usage = self._meter, self._usage
        meter.is_counted = usage is not None
        if usage is None:
            meter.prompt_tokens = self._prompt_tokens
            meter.completion_tokens = self._tokens
        else:
            meter.prompt_tokens = usage.prompt_tokens
            meter.completion_tokens = usage.completion_tokens

    def _report(self) -> None:
        due = self._meter.completion_tokens - self._reported_tokens
        if self._on_report is None or due < self._work.report_every:
            return
        delta = "".join(self._pieces[self._reported_pieces :])
        self._reported_pieces = len(self._pieces)
        self._reported_tokens = self._meter.completion_tokens
        self._on_report(delta, due)
