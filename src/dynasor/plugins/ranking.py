"""What an engine's scheduler knows of the programs behind its requests.

A program is a session; a request without one is a program of its own. Hints fill its `Demand`,
the latest before earlier ones; where there are none, what earlier requests of the program took
does, and before that what its workload's did. Requests without session and hints all have the
same rank, so they run in the order of their arrival.

This file must not know of any engine: a request is whatever has the fields of `Request`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from dynasor.core.errors import ConfigError
from dynasor.core.estimates import RateEstimate, UnitsEstimate, WorkloadEstimate
from dynasor.core.ordering import Demand
from dynasor.plugins.footprints import Footprints
from dynasor.plugins.settings import Hinted, PluginSettings, read_hints

__all__ = ["KnownProgram", "KnownRequest", "Programs", "Request"]

UNENDING = 1 << 30
"""A cap for programs that name none: `UnitsEstimate` returns about that where it knows nothing."""
MOST_WORKLOADS = 1000
"""Clients name workloads, and must not fill the engine's memory with them."""
UNSETTLED = frozenset({"abort", "error"})
"""Ends (as vLLM writes them) that say nothing of what a unit takes."""


class Sampled(Protocol):
    """The parameters of a request that generates."""

    @property
    def extra_args(self) -> Mapping[str, Any] | None:
        """What the client sent beside the known fields (vLLM's `vllm_xargs`)."""


class Request(Protocol):
    """What is read of an engine's request; the names are vLLM's."""

    @property
    def request_id(self) -> str:
        """Its name, unique among those that live."""

    @property
    def session_id(self) -> str | None:
        """Its program."""

    @property
    def sampling_params(self) -> Sampled | None:
        """How it generates; None for one that embeds or scores."""

    @property
    def num_output_tokens(self) -> int:
        """Tokens generated so far."""

    @property
    def num_tokens(self) -> int:
        """Tokens of the prompt and generated ones."""

    @property
    def num_computed_tokens(self) -> int:
        """Tokens whose keys and values are computed, or found in the cache."""

    @property
    def block_hashes(self) -> Sequence[bytes]:
        """One hash for every full block of tokens, each covering all before it."""

    def get_finished_reason(self) -> object:
        """Return why it ended, in OpenAI's words as text; None while it lives."""


class KnownProgram:
    """One program: its demand, and what that rests on.

    `present` counts its requests in the engine; `settled` those that ended well, `since_hint`
    of them after the newest hint; `leader` computes the prompt that its siblings share.
    """

    __slots__ = (
        "demand", "hinted", "idle_since", "is_plain", "leader", "present", "settled", "since_hint",
        "tokens", "workload",
    )  # fmt: skip

    def __init__(self, demand: Demand, *, is_plain: bool, workload: KnownWorkload) -> None:
        self.demand = demand
        self.is_plain = is_plain
        self.workload = workload
        self.hinted = Hinted()
        self.present = 0
        self.settled = 0
        self.since_hint = 0
        self.tokens = 0
        self.idle_since: float | None = None
        self.leader: Request | None = None

    @property
    def is_spent(self) -> bool:
        """Whether it has run all that its newest hint announced, and nothing else is here."""
        left = self.hinted.knob_left
        return not self.present and left is not None and left <= self.since_hint


class KnownRequest:
    """One request in the engine; `started` is None while it waits."""

    __slots__ = ("begun_with", "program", "request", "started")

    def __init__(self, program: KnownProgram, request: Request) -> None:
        self.program = program
        self.request = request
        self.started: float | None = None
        self.begun_with = 0


class KnownWorkload:
    """What is known of one workload, and its programs that rest on nothing else (`fresh`)."""

    __slots__ = ("fresh", "tokens", "units")

    def __init__(self, tokens_per_knob: float) -> None:
        self.tokens = WorkloadEstimate(tokens_per_knob)
        self.units = UnitsEstimate()
        self.fresh: dict[str, KnownProgram] = {}


class Programs:
    """All programs that have requests in the engine, or had some a while ago.

    `slots` is how many requests the engine runs at once. Methods return the programs whose
    demand has changed beside the one that was named. `flawed` counts requests whose hints could
    not be read; they run without, and `flaw` is the last one's.
    """

    def __init__(self, settings: PluginSettings, slots: int) -> None:
        self.requests: dict[str, KnownRequest] = {}
        self.flawed = 0
        self.flaw = ""
        self.footprints = Footprints()
        self._settings = settings
        self._slots = slots
        self._programs: dict[str, KnownProgram] = {}
        self._idle: dict[str, KnownProgram] = {}
        self._workloads: dict[str, KnownWorkload] = {}
        self._rate = RateEstimate(settings.seconds_per_token)
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._programs)

    def arrived(self, request: Request, now: float) -> KnownProgram:
        """Note a new request, or one that comes back; return its program, up to date."""
        known = self.requests.get(request.request_id)
        if known is not None:
            return known.program
        hinted = self._hints_of(request)
        program = self._program_of(request, hinted, now)
        self.requests[request.request_id] = KnownRequest(program, request)
        program.present += 1
        program.demand.waiting += 1
        if hinted is not None:
            self._heed(program, hinted, now)
        self._estimate(program)
        return program

    def started(self, request: Request, now: float) -> KnownProgram:
        """Note that a request has got a slot."""
        known = self.requests[request.request_id]
        known.started, known.begun_with = now, request.num_output_tokens
        known.program.demand.running += 1
        known.program.demand.waiting -= 1
        return known.program

    def stopped(self, request: Request) -> KnownProgram:
        """Note that a request waits again: preempted, or not to be started yet."""
        known = self.requests[request.request_id]
        program = known.program
        if known.started is not None:
            known.started = None
            program.demand.running -= 1
            program.demand.waiting += 1
        if program.leader is request:
            program.leader = None
        return program

    def ended(self, request_id: str, now: float) -> list[KnownProgram]:
        """Note a request's end; return the programs whose rank may have moved."""
        known = self.requests.pop(request_id, None)
        if known is None:
            return []
        program = known.program
        moved = self._learn(known, now)
        self._count_out(known)
        if not program.present:
            self._rest(program, now)
        self._estimate(program)
        return [program, *moved]

    def expire(self, now: float) -> None:
        """Forget the programs that were idle for too long."""
        found = []
        for program in self._idle.values():
            if program.idle_since is None or now - program.idle_since < self._settings.idle_seconds:
                break  # those that follow became idle later
            found.append(program)
        for program in found:
            self._forget(program)

    def _hints_of(self, request: Request) -> Hinted | None:
        sampled = request.sampling_params
        if sampled is None:
            return None
        try:
            return read_hints(sampled.extra_args)
        except ConfigError as exc:
            self.flawed += 1
            self.flaw = str(exc)
            return None

    def _program_of(self, request: Request, hinted: Hinted | None, now: float) -> KnownProgram:
        # A session's name and a request's never mean the same program.
        session = request.session_id
        name = f"request {request.request_id}" if session is None else f"session {session}"
        program = self._programs.get(name)
        if program is not None:
            if program.idle_since is not None:
                # What it did between its requests was no waiting for us.
                program.demand.arrived += now - program.idle_since
                program.idle_since = None
                del self._idle[name]
            return program
        workload = self._workload((hinted and hinted.workload) or "")
        self._arrivals += 1
        demand = Demand(name, self._arrivals, "", "", now, 1.0, workload.tokens.published)
        is_plain = session is None and hinted is None
        program = KnownProgram(demand, is_plain=is_plain, workload=workload)
        self._programs[name] = workload.fresh[name] = program
        return program

    def _workload(self, name: str) -> KnownWorkload:
        """Return a workload; once there are too many, all new ones are the nameless one."""
        if name and name not in self._workloads and len(self._workloads) > MOST_WORKLOADS:
            name = ""
        workload = self._workloads.get(name)
        if workload is None:
            prior = self._settings.tokens_per_knob
            workload = self._workloads[name] = KnownWorkload(prior)
        return workload

    def _heed(self, program: KnownProgram, hinted: Hinted, now: float) -> None:
        """Take over what the newest hints say; what they leave out stands."""
        old = program.hinted
        if hinted.knob_left is not None:
            program.since_hint = 0
        if hinted.slack_seconds is not None:
            program.demand.latest_start = now + hinted.slack_seconds
        program.hinted = Hinted(
            old.workload if hinted.workload is None else hinted.workload,
            old.knob_left if hinted.knob_left is None else hinted.knob_left,
            old.tokens_per_knob if hinted.tokens_per_knob is None else hinted.tokens_per_knob,
            old.slack_seconds if hinted.slack_seconds is None else hinted.slack_seconds,
        )
        if program.hinted.workload is not None and program.hinted.workload != old.workload:
            program.workload.fresh.pop(program.demand.program, None)
            program.workload = self._workload(program.hinted.workload)
            program.demand.workload = program.hinted.workload
            if not program.demand.has_history:
                program.workload.fresh[program.demand.program] = program

    def _learn(self, known: KnownRequest, now: float) -> Iterable[KnownProgram]:
        """Learn from a request's end; return the programs that rest on the workload alone."""
        program, request = known.program, known.request
        tokens = request.num_output_tokens
        program.demand.attained += tokens
        if str(request.get_finished_reason()) in UNSETTLED:
            return ()
        program.settled += 1
        program.since_hint += 1
        program.tokens += tokens
        if not program.demand.has_history:
            program.demand.has_history = True
            program.workload.fresh.pop(program.demand.program, None)
        if known.started is not None:
            self._rate.add(now - known.started, tokens - known.begun_with)
        if not program.workload.tokens.add(tokens, 1):
            return ()
        for fresh in program.workload.fresh.values():
            self._estimate(fresh)
        return program.workload.fresh.values()

    def _count_out(self, known: KnownRequest) -> None:
        program = known.program
        program.present -= 1
        if known.started is None:
            program.demand.waiting -= 1
        else:
            program.demand.running -= 1
        if program.leader is known.request:
            program.leader = None
        if not program.is_plain:
            self.footprints.add(program.demand.program, known.request.block_hashes)

    def _rest(self, program: KnownProgram, now: float) -> None:
        """Let a program without requests wait for its next, unless it can have none."""
        name = program.demand.program
        if program.is_plain:
            self._forget(program)
        else:
            program.idle_since = now
            self._idle[name] = program

    def _forget(self, program: KnownProgram) -> None:
        name = program.demand.program
        del self._programs[name]
        self._idle.pop(name, None)
        program.workload.fresh.pop(name, None)
        self.footprints.take(name)
        if not program.is_plain and program.settled:
            trail = [(knob, 0.0) for knob in range(1, program.settled)]
            program.workload.units.learn(trail, program.settled)

    def _estimate(self, program: KnownProgram) -> None:
        """Bring a program's demand up to date."""
        demand, hinted, settled = program.demand, program.hinted, program.settled
        if hinted.tokens_per_knob is not None:
            demand.tokens_per_knob = hinted.tokens_per_knob
        elif settled and program.tokens:
            demand.tokens_per_knob = program.tokens / settled
        else:
            demand.tokens_per_knob = program.workload.tokens.published
        demand.knob_left = self._left(program)
        if program.is_plain:
            # A constant: were it an estimate that moves, a later one could cross before them.
            rate = self._settings.seconds_per_token
            solo_seconds = self._settings.tokens_per_knob * rate
            demand.solo_seconds = solo_seconds
            return
        units = settled + demand.knob_left
        rate = self._rate.seconds_per_token / max(1.0, min(units, self._slots))
        demand.solo_seconds = units * demand.tokens_per_knob * rate

    def _left(self, program: KnownProgram) -> float:
        """Return the units still to settle: announced, or here, or to be expected."""
        if program.is_plain:
            return 1.0
        announced = program.hinted.knob_left
        if announced is not None:
            return max(1.0, announced - program.since_hint)
        expected = program.workload.units.left(program.settled, 0.0, UNENDING)
        is_known = expected < UNENDING / 2
        return max(1.0, program.present, expected if is_known else 0.0)
