"""How a run over many questions shows itself."""

from __future__ import annotations

import io

from rich.console import Console

from dynasor import batch, record
from dynasor.cli.long_run import Bar, Lines


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.seconds = 0.0

    def now(self):
        """Return what it is set to."""
        return self.seconds


def busy():
    """The tally of a run on its way."""
    return batch.Tally(
        total=1000,
        found=100,
        answered=200,
        failed=3,
        completion_tokens=5000,
        answered_tokens=4000,
        even_tokens=10000.0,
    )


def test_lines():
    """Off a terminal there is a line every ten seconds, however many questions end."""
    heard, clock = io.StringIO(), Clock()
    lines = Lines(Console(file=heard, width=40), clock)
    for _ in range(100):
        clock.seconds += 0.203
        lines.moved(busy())
    assert heard.getvalue() == (
        "303 of 1,000 lines, 20.0 a second, 35 s left, 5,000 tokens, "
        "saved about 60% (estimate), 3 failed\n"
        "303 of 1,000 lines, 10.0 a second, 70 s left, 5,000 tokens, "
        "saved about 60% (estimate), 3 failed\n"
    )


def test_bar():
    """On a terminal a bar shows count, rate, tokens, the estimate and failures."""
    heard, clock = io.StringIO(), Clock()
    with Bar(Console(file=heard, width=140, force_terminal=True), clock) as bar:
        clock.seconds = 10.15
        bar.moved(busy())
    shown = heard.getvalue()
    for part in ("303/1000", "20.0/s", "5,000 tokens", "about 60% (estimate)", "3 failed"):
        assert part in shown


def test_recording():
    """A recording is shown as a batch is, without a word of savings."""
    heard, clock = io.StringIO(), Clock()
    clock.seconds = 20.0
    tally = record.Tally(total=100, found=10, recorded=38, failed=2, completion_tokens=900)
    Lines(Console(file=heard), clock).moved(tally)
    assert heard.getvalue() == ("50 of 100 lines, 2.0 a second, 25 s left, 900 tokens, 2 failed\n")
