"""What Prometheus reads: programs, calls, tokens, queues and our own cost.

docs/metrics.md has each series for people. Labels are few and bounded: names from the catalog, the
keys file and the settings, never a program's id; what a client could make up is counted under
`other` once there are too many of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dynasor.core.commands import Command, Shadowed
from dynasor.core.events import Event
from dynasor.core.scheduler import Scheduler
from dynasor.gateway.lives import CallEnded, Ended, Lives
from dynasor.programs.pass_through import PassThrough
from dynasor.runtime.clock import Clock

__all__ = ["Listener", "Metrics", "SchedulerGauges"]

Listener = Callable[[Ended], None]

MOST_VALUES = 100
"""Values of one label; each of them is a series more in each place that stores them."""
OTHER = "other"
MOST_PASSED = 4_096
"""Passed requests whose times wait for the end of their response: more have been forgotten."""

_REQUEST_SECONDS = (0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_ADDED_SECONDS = (0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5)
_HANDLE_SECONDS = (5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2, 0.1)
_CERTAINDEX = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)
_SLACK_SECONDS = (-60, -10, -1, 0, 1, 10, 60, 600)
_FAIRNESS = (1, 1.25, 1.5, 2, 3, 5, 10, 20, 50, 100)


class _Bounded:
    """The values that a label has had, up to so many of them."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, value: str) -> str:
        """Return the value, or `other` for a new one when there are enough."""
        if value not in self._seen:
            if len(self._seen) >= MOST_VALUES:
                return OTHER
            self._seen.add(value)
        return value


class SchedulerGauges(Collector):
    """The state of a scheduler's pools, read when somebody asks for it."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def collect(self) -> Iterable[Metric]:
        """Yield a series for each pool or replica."""
        waiting = GaugeMetricFamily(
            "dynasor_calls_waiting", "Calls that wait for a slot.", labels=["pool"]
        )
        by_replica = {
            name: GaugeMetricFamily(f"dynasor_{name}", story, labels=["pool", "replica"])
            for name, story in (
                ("calls_running", "Calls that an engine has."),
                ("window", "Calls that an engine may have at once."),
                ("slots", "Calls that an engine says it runs at once."),
                ("replica_paused", "1 while an engine gets nothing because it failed."),
            )
        }
        for pool in self._scheduler.dispatcher.pools.values():
            waiting.add_metric([pool.name], pool.waiting)
            for replica in pool.replicas.values():
                values = (replica.held, replica.window, replica.slots, replica.is_paused)
                for family, value in zip(by_replica.values(), values, strict=True):
                    family.add_metric([pool.name, replica.name], value)
        return [waiting, *by_replica.values()]

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the pools are not there yet when this is registered."""
        return []


class Metrics:
    """All series of one gateway, in a registry of its own unless one is given.

    A driver's recorder: `record` sees every event. Others tell it what the scheduler does not
    know: requests, refusals, the time that `handle` took. `request_seconds` is the deadline of
    programs whose clients asked for none: what is left of it is nobody's slack.
    """

    def __init__(
        self, registry: CollectorRegistry | None = None, request_seconds: float | None = None
    ) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self._request_limit = request_seconds
        self._clock: Clock | None = None
        ProcessCollector(registry=self.registry)
        self._listeners: list[Listener] = []
        self._lives = Lives(self._program_ended, self._call_ended)
        self._passed: dict[str, float] = {}
        self._algorithm, self._tenant, self._reason = _Bounded(), _Bounded(), _Bounded()
        self._make_program_series()
        self._make_token_series()
        self._make_request_series()

    def record(self, now: float, event: Event, commands: list[Command]) -> None:
        """Take one event and what it caused.

        With the driver's clock, the time since `now` is what `handle` has taken: be its first
        recorder then.
        """
        if self._clock is not None:
            self.handled(self._clock.now() - now)
        self._lives.record(now, event, commands)

    def when_ended(self, listener: Listener) -> None:
        """Tell `listener` of every program when it is closed; it must not raise."""
        self._listeners.append(listener)

    def watch(self, scheduler: Scheduler, clock: Clock | None = None) -> None:
        """Show a scheduler's queues, windows and running calls from now on.

        `clock` is that of the driver which asks this scheduler; its time is measured then.
        """
        self.registry.register(SchedulerGauges(scheduler))
        self._clock = clock

    def handled(self, seconds: float) -> None:
        """Count one event that the scheduler took so long to handle."""
        self._handle_seconds.observe(seconds)

    def requested(self, path: str, status: int, seconds: float, program: str = "") -> None:
        """Count one request that has been answered; `path` is its route, `status` HTTP's.

        Of a `program` that passed through, what was added to its engine's time is counted too.
        """
        self._requests.labels(path, str(status)).inc()
        self._request_seconds.labels(path).observe(seconds)
        engine_seconds = self._passed.pop(program, None)
        if engine_seconds is not None and status < 400:
            self._added_seconds.observe(max(0.0, seconds - engine_seconds))

    def refused(self, why: str) -> None:
        """Count one request that the gate turned away; `why` is one of the gate's few words."""
        self._refusals.labels(why).inc()

    def live(self, requests: int) -> None:
        """Note how many requests wait or run."""
        self._live_requests.set(requests)

    def render(self) -> bytes:
        """Return all series as text, of the type `prometheus_client.CONTENT_TYPE_LATEST`."""
        return generate_latest(self.registry)

    # What has ended.

    def _call_ended(self, ended: CallEnded) -> None:
        self._calls.labels(ended.pool, ended.end).inc()
        self._call_seconds.labels(ended.pool).observe(ended.seconds)

    def _program_ended(self, ended: Ended) -> None:
        algorithm = self._algorithm(ended.algorithm)
        self._programs.labels(algorithm, ended.status).inc()
        self._program_seconds.labels(algorithm).observe(ended.seconds)
        self._stops.labels(algorithm, self._reason(ended.reason)).inc()
        if ended.certainty is not None:
            self._certaindex.labels(algorithm).observe(ended.certainty)
        if ended.slack_seconds is not None and ended.deadline_seconds != self._request_limit:
            self._slack.observe(ended.slack_seconds)
        if ended.solo_seconds > 0 and ended.status == "answered":
            self._fairness.labels(algorithm).observe(ended.seconds / ended.solo_seconds)
        self._bill(algorithm, ended)
        if ended.algorithm == PassThrough.name:
            self._passed[ended.program] = ended.engine_seconds
            if len(self._passed) > MOST_PASSED:
                del self._passed[next(iter(self._passed))]
        for listener in self._listeners:
            listener(ended)

    def _bill(self, algorithm: str, ended: Ended) -> None:
        spending = ended.spending
        for kind, tokens in (
            ("prompt", spending.prompt_tokens),
            ("finished", spending.finished_tokens),
            ("aborted", spending.aborted_tokens),
            ("failed", spending.failed_tokens),
        ):
            self._tokens.labels(algorithm, kind).inc(tokens)
        self._key_tokens.labels(self._tenant(ended.tenant)).inc(ended.tokens)
        self._saved.labels("policy").inc(ended.saved_tokens)
        if ended.shadow is not None:
            self._shadows.labels(_outcome(ended.shadow)).inc()
            self._saved.labels("shadow").inc(max(0, ended.shadow.tokens_after))
        if ended.status in {"failed", "withdrawn"}:
            self._wasted.labels("unanswered").inc(spending.completion_tokens)
        else:
            self._wasted.labels("aborted").inc(spending.aborted_tokens)
            self._wasted.labels("failed").inc(spending.failed_tokens)

    # The series.

    def _make_program_series(self) -> None:
        self._programs = self._counter("programs", "Programs that ended.", "algorithm", "status")
        self._stops = self._counter(
            "stops", "Programs that ended, by why they stopped.", "algorithm", "reason"
        )
        self._program_seconds = self._histogram(
            "program_seconds", "Time until a program's answer.", _REQUEST_SECONDS, "algorithm"
        )
        self._certaindex = self._histogram(
            "certaindex_at_stop", "Least certaindex of an ended program.", _CERTAINDEX, "algorithm"
        )
        self._slack = self._histogram(
            "slack_seconds", "Time left to the deadline at the answer.", _SLACK_SECONDS
        )
        self._fairness = self._histogram(
            "finish_time_fairness",
            "A program's latency over what it would have taken alone.",
            _FAIRNESS,
            "algorithm",
        )
        live = Gauge(
            "dynasor_programs_live", "Programs that are not closed.", registry=self.registry
        )
        live.set_function(lambda: len(self._lives))
        self._calls = self._counter("calls", "Attempts of calls that ended.", "pool", "end")
        self._call_seconds = self._histogram(
            "call_seconds", "Time of an attempt at its engine.", _REQUEST_SECONDS, "pool"
        )
        self._handle_seconds = self._histogram(
            "handle_seconds", "Time of the scheduler for one event.", _HANDLE_SECONDS
        )

    def _make_token_series(self) -> None:
        self._tokens = self._counter(
            "tokens", "Tokens spent, by how their call ended.", "algorithm", "kind"
        )
        self._key_tokens = self._counter("key_tokens", "Tokens spent, by API key.", "key")
        self._saved = self._counter(
            "saved_tokens",
            "Estimated tokens that were not spent (policy), or need not have been (shadow).",
            "by",
        )
        self._shadows = self._counter(
            "shadows", "Programs, by what the shadow policy would have done.", "outcome"
        )
        self._wasted = self._counter(
            "wasted_tokens", "Completion tokens that helped no answer.", "why"
        )

    def _make_request_series(self) -> None:
        self._requests = self._counter("http_requests", "Requests answered.", "path", "status")
        self._request_seconds = self._histogram(
            "http_request_seconds", "Time of a request.", _REQUEST_SECONDS, "path"
        )
        self._refusals = self._counter("http_refusals", "Requests turned away.", "why")
        self._live_requests = Gauge(
            "dynasor_http_requests_live", "Requests that wait or run.", registry=self.registry
        )
        self._added_seconds = self._histogram(
            "pass_through_added_seconds",
            "Time of a passed request beside its engine's, its wait for a slot included.",
            _ADDED_SECONDS,
        )

    def _counter(self, name: str, story: str, *labels: str) -> Counter:
        return Counter(f"dynasor_{name}", story, labels, registry=self.registry)

    def _histogram(
        self, name: str, story: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(f"dynasor_{name}", story, labels, buckets=buckets, registry=self.registry)


def _outcome(shadow: Shadowed) -> str:
    """Say in a word what a shadow policy would have done, and whether it would have been right."""
    if shadow.error:
        return "error"
    if not shadow.reason:
        return "same length"
    return "same answer" if shadow.is_same else "other answer"
