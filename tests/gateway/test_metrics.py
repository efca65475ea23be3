"""Series: what happened to programs, calls and requests, as Prometheus reads it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import Counter, Histogram
from prometheus_client.parser import text_string_to_metric_families
from toys.asgi import Echo, ask
from toys.stage import Stage, toy

from dynasor import Dynasor, SelfConsistency
from dynasor.config import Settings
from dynasor.core.commands import Shadowed
from dynasor.core.errors import EngineRefused
from dynasor.core.program import Ask, Sample
from dynasor.core.types import Generate, Generated, Prompt, Spending, Usage
from dynasor.engines.scripted import Fail, ScriptedEngine
from dynasor.gateway.access import Access, route_of
from dynasor.gateway.lives import Ended
from dynasor.gateway.metrics import MOST_VALUES, Metrics

PROGRAM = {"algorithm": "self-consistency"}


def read(metrics, name, **labels):
    """One sample, as it is after rendering; None where there is none."""
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            if sample.name == f"dynasor_{name}" and sample.labels == labels:
                return sample.value
    return None


def two_calls(self, context):
    """A program of two calls side by side, one after the other asked for."""
    for _ in range(2):
        yield Ask(1)
        yield Sample(Generate(Prompt(())))
        self.knob += 1


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def ended():
    """Make the end of a program."""

    def make(**more):
        usual = {
            "program": "p",
            "algorithm": "self-consistency",
            "workload": "default",
            "tenant": "",
            "status": "answered",
            "reason": "lock",
            "error_kind": "",
            "knob": 4,
            "cap": 10,
            "certainty": 0.9,
            "spending": Spending(10, 40, 5, 1),
            "calls": 5,
            "aborted_calls": 1,
            "failed_attempts": 0,
            "grouping_failures": 0,
            "seconds": 6.0,
            "engine_seconds": 8.0,
            "solo_seconds": 2.0,
            "deadline_seconds": 7.5,
            "slack_seconds": 1.5,
        }
        return Ended(**{**usual, **more})

    return make


async def served(metrics, engine, **flags):
    """Run one question with everything recorded."""
    settings = Settings(policy="even", lock=False, **flags)
    async with Dynasor(engine, settings=settings) as dynasor:
        dynasor.machine.driver.record_in(metrics)
        metrics.watch(dynasor.machine.driver.scheduler)
        return await dynasor.run(SelfConsistency("q", cap=3), tenant="app")


async def test_a_program(metrics):
    """A program that ended is counted once: its status, calls, tokens, and what it stopped for."""
    result = await served(metrics, ScriptedEngine(lambda work: r"\boxed{42}"))
    assert read(metrics, "programs_total", **PROGRAM, status="answered") == 1
    assert read(metrics, "stops_total", **PROGRAM, reason=result.reason) == 1
    assert read(metrics, "calls_total", pool="generate", end="finished") == 3
    finished = read(metrics, "tokens_total", **PROGRAM, kind="finished")
    assert finished == result.spending.finished_tokens
    spent = result.spending.prompt_tokens + result.spending.completion_tokens
    assert read(metrics, "key_tokens_total", key="app") == spent
    assert read(metrics, "certaindex_at_stop_count", **PROGRAM) == 1
    assert read(metrics, "program_seconds_count", **PROGRAM) == 1
    assert read(metrics, "slack_seconds_count") == 0
    assert read(metrics, "programs_live") == 0
    assert read(metrics, "calls_waiting", pool="generate") == 0


async def test_a_program_that_fails(metrics):
    """What failed is counted as such, and its tokens as wasted."""
    with pytest.raises(EngineRefused):
        await served(
            metrics,
            ScriptedEngine(faults={n: Fail(EngineRefused("e", "no")) for n in range(3)}),
        )
    assert read(metrics, "programs_total", **PROGRAM, status="failed") == 1
    assert read(metrics, "calls_total", pool="generate", end="failed") == 3


def test_fairness_and_slack(metrics, ended):
    """Fairness is the latency over the time alone; slack may be negative."""
    metrics._program_ended(ended())
    metrics._program_ended(ended(slack_seconds=-5.0, seconds=2.0))
    assert read(metrics, "finish_time_fairness_sum", **PROGRAM) == 4.0
    assert read(metrics, "slack_seconds_bucket", le="0.0") == 1
    assert read(metrics, "slack_seconds_bucket", le="10.0") == 2


def test_slack_that_nobody_asked_for(ended):
    """What is left of the time that every request has is no slack."""
    metrics = Metrics(request_seconds=600.0)
    metrics._program_ended(ended(deadline_seconds=600.0, slack_seconds=594.0))
    assert read(metrics, "slack_seconds_count") == 0
    metrics._program_ended(ended())
    assert read(metrics, "slack_seconds_count") == 1


def test_saved_and_wasted(metrics, ended):
    """Units that were not granted are saved; what helped no answer is wasted."""
    metrics._program_ended(ended())
    assert read(metrics, "saved_tokens_total", by="policy") == 60
    assert read(metrics, "wasted_tokens_total", why="aborted") == 5
    assert read(metrics, "wasted_tokens_total", why="failed") == 1
    metrics._program_ended(ended(status="withdrawn"))
    assert read(metrics, "wasted_tokens_total", why="unanswered") == 46
    assert read(metrics, "saved_tokens_total", by="policy") == 60


@pytest.mark.parametrize(
    ("shadow", "outcome", "tokens"),
    [
        (Shadowed(2, "certain", 20, "42", is_same=True), "same answer", 20),
        (Shadowed(2, "certain", 20, "41", is_same=False), "other answer", 20),
        (Shadowed(4, "", 0, "42", is_same=True), "same length", 0),
        (Shadowed(0, "", 0, None, is_same=False, error="broken"), "error", 0),
    ],
)
def test_shadow(metrics, ended, shadow, outcome, tokens):
    """What another policy would have saved is counted, and whether its answer is the same."""
    metrics._program_ended(ended(shadow=shadow))
    assert read(metrics, "saved_tokens_total", by="shadow") == tokens
    assert read(metrics, "shadows_total", outcome=outcome) == 1


def test_the_solo_time_is_the_calls_time_over_their_width(metrics):
    """Calls one after the other make a program's time alone their sum; side by side, less."""
    heard = []
    metrics.when_ended(heard.append)
    stage = Stage(toy(two_calls, cap=2), slots=3)
    stage.arrive(spec="toy", tenant="t")
    stage.arrive(params={"question": "q", "task": "words", "cap": 2})
    for _ in range(4):
        stage.finish(stage.calls[0], Generated("x", Usage(3, 5)), after=2.0)
    for entry in stage.log:
        metrics.record(*entry)
    first, second = sorted(heard, key=lambda one: one.program)
    assert (first.tenant, first.tokens, first.cap) == ("t", 16, 2)
    assert first.engine_seconds == first.solo_seconds == first.seconds
    assert second.solo_seconds == second.engine_seconds / 2


def test_gauges(metrics):
    """Queues and windows are read off the scheduler when they are asked for."""
    stage = Stage(slots=2)
    metrics.watch(stage.scheduler)
    stage.arrive(params={"question": "q", "cap": 5})
    assert read(metrics, "calls_running", pool="generate", replica="a") == 2
    assert read(metrics, "calls_waiting", pool="generate") == 3
    assert read(metrics, "slots", pool="generate", replica="a") == 2
    assert read(metrics, "window", pool="generate", replica="a") == 2
    assert read(metrics, "replica_paused", pool="generate", replica="a") == 0


def test_labels_are_bounded(metrics, ended):
    """However many names there are, the series stay few; the rest is counted as other."""
    for number in range(2 * MOST_VALUES):
        metrics._program_ended(ended(algorithm=f"a{number}", tenant=f"t{number}", reason="cap"))
    assert read(metrics, "programs_total", algorithm="other", status="answered") == MOST_VALUES
    names = metrics.render().decode()
    assert names.count("dynasor_key_tokens_total{") == MOST_VALUES + 1


def test_no_program_is_a_label(metrics, ended):
    """The id of a program stands nowhere."""
    metrics._program_ended(ended(program="prog_secret"))
    assert "prog_secret" not in metrics.render().decode()


def test_own_registry():
    """Two gateways in one process do not meet."""
    first, second = Metrics(), Metrics()
    first.refused("queue")
    assert read(second, "http_refusals_total", why="queue") is None


def test_handling(metrics):
    """The scheduler's own time is counted by event."""
    stage, clock = Stage(slots=2), Ticks()
    metrics.watch(stage.scheduler, clock)
    for entry in stage.log:
        metrics.record(*entry)
    assert read(metrics, "handle_seconds_count") == len(stage.log)
    assert read(metrics, "handle_seconds_sum") == 0.25


def test_every_series_is_documented(metrics):
    """docs/metrics.md has a row for each series, with its labels, and for no other."""
    metrics.watch(Stage(slots=2).scheduler)
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    rows = set(re.findall(r"^\| `(dynasor_\w+)` \|", text, re.MULTILINE))
    families = [one for one in metrics.registry.collect() if one.name.startswith("dynasor_")]
    made = {f"{one.name}_total" if one.type == "counter" else one.name for one in families}
    assert rows == made
    for name, labels in labels_of(metrics):
        listed = ", ".join(f"`{label}`" for label in labels)
        assert f"| `{name}` | {listed} |".replace("|  |", "| |") in text


def labels_of(metrics):
    """The labels of each series that is counted here, in their order."""
    for one in vars(metrics).values():
        if isinstance(one, Counter | Histogram):
            yield one._name + "_total" * isinstance(one, Counter), one._labelnames


# Requests.


class Ticks:
    """A clock that goes on by a quarter of a second each time it is read."""

    def __init__(self):
        self.time = 0.0

    def now(self):
        self.time += 0.25
        return self.time


async def test_requests(metrics):
    """A request is counted by its route and status, with its time."""
    await ask(Access(Echo(), metrics, Ticks()), b"{}")
    route = {"path": "/v1/chat/completions"}
    assert read(metrics, "http_requests_total", **route, status="200") == 1
    assert read(metrics, "http_request_seconds_sum", **route) == 0.25


async def test_time_added_to_a_passed_request(metrics, ended):
    """Of a request that passed through, its time beside the engine's is counted, once."""
    metrics._program_ended(ended(algorithm="pass-through", program="prog_1", engine_seconds=0.2))
    app = Access(Echo(), metrics, Ticks())
    await ask(app, b"{}")
    await ask(app, b"{}")
    assert read(metrics, "pass_through_added_seconds_count") == 1
    assert read(metrics, "pass_through_added_seconds_sum") == pytest.approx(0.05)


async def test_a_client_that_left(metrics):
    """A request whose client left before its answer is counted as 499."""
    await ask(Access(Echo(), metrics), b"{", stays=False)
    assert read(metrics, "http_requests_total", path="/v1/chat/completions", status="499") == 1


async def test_a_request_that_broke(metrics):
    """A request whose application raised before its answer is counted as 500."""

    async def broken(scope, receive, send):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        await ask(Access(broken, metrics), b"{}")
    assert read(metrics, "http_requests_total", path="/v1/chat/completions", status="500") == 1


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/completions", "/v1/completions"),
        ("/v1/programs/prog_1", "/v1/programs/{id}"),
        ("/v1/models/a/b", "/v1/models/{id}"),
        ("/v1/programs", "/v1/programs"),
        ("/", "other"),
        ("/wp-admin", "other"),
    ],
)
def test_routes(path, route):
    """Paths are counted by route; what a client makes up is one of them."""
    assert route_of(path) == route
