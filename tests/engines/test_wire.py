"""Bytes to events to values, for all inputs."""

import contextlib
import math
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.core.errors import ConfigError
from dynasor.engines.faults import api_root
from dynasor.engines.sse import EventLines
from dynasor.engines.wire import (
    Completion,
    NotTheProtocol,
    TokenLogprob,
    decode,
    mean_logprob,
    read_usage,
)

DECODER = msgspec.json.Decoder(Completion)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def payloads(*pieces):
    lines = EventLines()
    found = [payload for piece in pieces for payload in lines.feed(piece)]
    return found + list(lines.last())


@given(st.lists(st.text(alphabet="ab:é{} \r", max_size=8)), st.lists(st.integers(0, 60)))
def test_cuts_do_not_matter(words, cuts):
    """The same bytes give the same events, however the network cuts them."""
    data = "".join(f"data: {word}\n\n" for word in words).encode()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(edges)]
    assert payloads(*pieces) == payloads(data)
    assert len(payloads(data)) == len(words)


@given(st.binary(max_size=200))
def test_any_bytes(data):
    """Any bytes are either an answer or not the protocol; nothing else is raised."""
    for payload in payloads(data, b"\n", b"data: " + data):
        with contextlib.suppress(NotTheProtocol):
            assert isinstance(decode(payload, DECODER), Completion)


@given(
    JSON
    | st.fixed_dictionaries(
        {
            "prompt_tokens": st.integers() | st.none() | st.floats(),
            "completion_tokens": st.integers() | st.none() | st.booleans(),
        }
    ),
    st.integers(0, 50),
    st.integers(1, 100),
)
def test_usage_is_sane_or_none(raw, seen, max_tokens):
    """Usage that is believed is counted, not negative, and near what was seen and asked."""
    usage = read_usage(raw, seen, max_tokens)
    if usage is not None:
        assert usage.is_counted
        assert usage.prompt_tokens >= 0
        assert seen // 2 <= usage.completion_tokens <= max_tokens + 16


@given(st.lists(st.floats() | st.none()))
def test_mean_logprob_is_finite(values):
    """A mean log-probability is a finite number or none."""
    mean = mean_logprob([TokenLogprob("x", value) for value in values])
    assert mean is None or math.isfinite(mean)


@given(st.text(max_size=30))
def test_any_url(text):
    """Any text is an address or a ConfigError, and an address ends in /v1 once."""
    try:
        root = api_root(text)
    except ConfigError:
        return
    assert root.startswith(("http://", "https://"))
    assert root.endswith("/v1")


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("http://h:1", "http://h:1/v1"),
        ("http://h:1/", "http://h:1/v1"),
        ("https://h/v1/", "https://h/v1"),
        ("http://h/proxy/v1", "http://h/proxy/v1"),
        (" http://[::1]:80 ", "http://[::1]:80/v1"),
    ],
)
def test_api_root(url, root):
    """The API's root is found from each form of address."""
    assert api_root(url) == root
