"""Bodies: what a program's requests say."""

from __future__ import annotations

import pytest

from dynasor.core.errors import ConfigError
from dynasor.load.asking import LEAST_SECONDS, Asking
from dynasor.load.planning import Departure, Question
from dynasor.tasks import tasks

MATH = tasks()["math"]
ONE = Departure("bench-0-00001", 0.0, Question("a", "1 + 1?"))


def test_branches():
    """The requests of one program differ in their seeds alone, which any engine accepts."""
    bodies = Asking(MATH, 3, usual={"max_tokens": 9}).bodies(ONE, None)
    seeds = [body.pop("seed") for body in bodies]
    assert len(set(seeds)) == 3
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert bodies[0] == bodies[1] == bodies[2]
    assert bodies[0]["max_tokens"] == 9
    assert [one["role"] for one in bodies[0]["messages"]] == ["system", "user"]


def test_repeatable():
    """The same program of the same seed has the same bodies, another seed other samples."""
    first, again, other = (Asking(MATH, seed=seed).bodies(ONE, None) for seed in (4, 4, 5))
    assert first == again != other


def test_algorithm():
    """With an algorithm there is one request: the question alone, what is ours, the deadline."""
    asking = Asking(MATH, algorithm={"algorithm": "mcts", "cap": 4}, is_streamed=False)
    assert asking.bodies(ONE, 2.5) == [
        {
            "messages": [{"role": "user", "content": "1 + 1?"}],
            "dynasor": {"algorithm": "mcts", "cap": 4, "deadline_seconds": 2.5},
        }
    ]
    assert asking.bodies(ONE, -1.0)[0]["dynasor"]["deadline_seconds"] == LEAST_SECONDS


def test_fields():
    """Extra fields go before the question's own, those before the usual ones."""
    question = Question("a", "", None, {"max_tokens": 1, "model": "own", "messages": []})
    asking = Asking(
        MATH,
        usual={"max_tokens": 2, "top_p": 0.5},
        extra={"model": "mine"},
        session_field="session_id",
    )
    [body] = asking.bodies(Departure("p", 0.0, question), None)
    assert (body["max_tokens"], body["top_p"], body["model"]) == (1, 0.5, "mine")
    assert (body["messages"], body["session_id"]) == ([], "p")


def test_own_object():
    """A batch line's own object makes it a program of the gateway, with its own keys."""
    question = Question("a", "", None, {"messages": [], "dynasor": {"cap": 3}})
    [body] = Asking(MATH, 1).bodies(Departure("p", 0.0, question), 1.0)
    assert body["dynasor"] == {"cap": 3, "deadline_seconds": 1.0}
    assert "seed" not in body


def test_stream():
    """A streamed request asks for its bill."""
    [body] = Asking(MATH).bodies(ONE, None)
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})
    assert "stream" not in Asking(MATH, is_streamed=False).bodies(ONE, None)[0]


def test_mistakes():
    """Branches of an algorithm, and none at all, are refused."""
    with pytest.raises(ConfigError, match="at least 1"):
        Asking(MATH, 0)
    with pytest.raises(ConfigError, match="give one of them"):
        Asking(MATH, 2, algorithm={"algorithm": "mcts"})
