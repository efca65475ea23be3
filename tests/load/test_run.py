"""Loads on a real server: what is sent, and what becomes of it."""

from __future__ import annotations

import asyncio

import pytest

from dynasor.core.errors import EngineBusy, EngineGarbage, EngineRefused, EngineUnreachable
from dynasor.load import Asking, Client, Load, Question, judge, plan
from dynasor.tasks import tasks
from dynasor.workers import Workers

MATH = tasks()["math"]


@pytest.fixture
async def client(served):
    """A client of that server."""
    one = Client(served.url)
    await one.open()
    yield one
    await one.close()


def departures(count, gap=0.0, reference="42"):
    """A plan of programs that leave one `gap` after the other."""
    questions = [Question("a", "6 * 7?", reference)]
    return plan(questions, (number * gap for number in range(count)), programs=count)


@pytest.mark.parametrize("is_streamed", [True, False])
async def test_outcomes(served, client, is_streamed):
    """Every program has an outcome with its times, its bill and its answer."""
    load = Load(client, Asking(MATH, 2, is_streamed=is_streamed))
    await load.run(departures(3))
    assert len(load.outcomes) == load.sent == 3
    assert len(served.asked) == 6
    for one in load.outcomes:
        assert (one.status, one.answers, one.error) == ("answered", ("42", "42"), "")
        assert (one.usage.prompt_tokens, one.usage.completion_tokens) == (18, 10)
        assert one.usage.is_counted
        assert 0 <= one.lag <= one.first - one.due <= one.latency


async def test_open_loop(served, client):
    """Programs leave when they are due, although none before them has been answered."""
    served.gate.clear()
    load = Load(client, Asking(MATH))
    running = asyncio.ensure_future(load.run(departures(5, gap=0.001)))
    async with asyncio.timeout(20):
        while len(served.asked) < 5:
            await asyncio.sleep(0)
    assert load.outcomes == []
    served.gate.set()
    await running
    assert len(load.outcomes) == 5


async def test_latency_counts_from_the_schedule(served, client):
    """A program that left late has waited: its latency has the lag in it."""
    load = Load(client, Asking(MATH))
    await load.run(plan([Question("a", "q")], iter([-5.0]), programs=1))
    [one] = load.outcomes
    assert one.lag >= 5.0
    assert one.latency > one.lag


async def test_story(served, client):
    """What a gateway says of a program is its answer and its status."""
    served.story = {"status": "deadline", "answer": "43", "certaindex": {}}
    load = Load(client, Asking(MATH, algorithm={"algorithm": "mcts"}), deadline_seconds=9.0)
    await load.run(departures(1))
    [one] = load.outcomes
    assert (one.status, one.answers) == ("deadline", ("43",))
    assert 8.0 < served.asked[0]["dynasor"]["deadline_seconds"] <= 9.0


async def test_deadline_that_is_kept(served, client):
    """A deadline that is not told is not sent."""
    asking = Asking(MATH, algorithm={"algorithm": "mcts"})
    load = Load(client, asking, deadline_seconds=9.0, is_deadline_told=False)
    await load.run(departures(1))
    assert "deadline_seconds" not in served.asked[0]["dynasor"]


async def test_failures(served, client):
    """A failed program says why; the others are not disturbed."""
    served.refuse = {1: 400, 2: 429}
    heard = []
    load = Load(client, Asking(MATH), on_end=heard.append)
    await load.run(departures(4))
    assert heard == load.outcomes
    assert sorted(one.error for one in load.outcomes) == ["", "", "EngineBusy", "EngineRefused"]
    failed = next(one for one in load.outcomes if one.error == "EngineBusy")
    assert (failed.status, failed.message) == ("failed", f"engine {served.url}: HTTP 429: no")


async def test_branch_that_fails(served, client):
    """A program that lost a branch is answered by the others."""
    served.refuse = {2: 500}
    load = Load(client, Asking(MATH, 3))
    await load.run(departures(1))
    [one] = load.outcomes
    assert (one.status, one.failed_calls, one.answers) == ("answered", 1, ("42", "42"))


async def test_stream_that_breaks(served, client):
    """A stream without its end is a failure, not a short answer."""
    served.breaks_off = True
    load = Load(client, Asking(MATH))
    await load.run(departures(1))
    assert load.outcomes[0].error == "EngineUnreachable"


async def test_no_usage(served, client):
    """Tokens that no server counted are estimated from the text, and marked."""
    served.usage = None
    load = Load(client, Asking(MATH))
    await load.run(departures(1))
    bill = load.outcomes[0].usage
    assert (bill.completion_tokens, bill.is_counted) == (4, False)


async def test_a_bug_is_not_an_outcome(served, client):
    """What is no failure of the server ends the load with its own error."""

    def fail(outcome):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Load(client, Asking(MATH), on_end=fail).run(departures(2))


async def test_solo(served, client):
    """Programs for the time alone are sent one after the other, and leave no outcome."""
    load = Load(client, Asking(MATH))
    assert await load.solo_seconds(departures(3, gap=60.0)) > 0
    assert (len(served.asked), load.outcomes) == (3, [])
    served.refuse = {4: 429}
    with pytest.raises(EngineBusy):
        await load.solo_seconds(departures(1))


async def test_judging(served, client):
    """Answers vote, and the winner is compared with the reference as the task compares."""
    answers = iter(["41", "84/2", "42", "no", "no", "no", "7", "8", "7"])
    served.text = lambda body: text if (text := next(answers)) == "no" else f"\\boxed{{{text}}}"
    load = Load(client, Asking(MATH, 3))
    plans = [departures(1), departures(1), departures(1, reference=None)]
    for one in plans:
        await load.run(one)
    async with Workers() as workers:
        await judge(load.outcomes, workers, "math")
    assert [one.is_right for one in load.outcomes] == [True, False, None]


async def test_models(served, client):
    """The server's first model is the one to ask for; a server without any says so."""
    assert await client.model() == "toy"
    served.models = []
    with pytest.raises(EngineRefused, match="lists no model"):
        await client.model()


async def test_programs(served, client):
    """What a gateway knows of a program is read; None where it knows nothing."""
    served.programs["a"] = {"id": "a", "knob": 3}
    assert await client.program("a") == {"id": "a", "knob": 3}
    assert await client.program("b") is None


async def test_garbage(served, client):
    """An answer that is no completion is an error that names the server."""
    served.text = lambda body: 3  # no text
    with pytest.raises(EngineGarbage, match="not OpenAI's protocol"):
        await client.ask({"stream": False})


async def test_nobody_there():
    """A server that is not there is one line."""
    client = Client("http://127.0.0.1:9")
    await client.open()
    try:
        with pytest.raises(EngineUnreachable, match="is it running"):
            await client.model()
    finally:
        await client.close()
