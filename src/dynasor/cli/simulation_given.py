"""What `dynasor simulate` is given, made into an experiment: programs, systems, a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace as replace_fields
from math import inf, isfinite
from pathlib import Path
from typing import get_args

from msgspec.structs import replace
from rich.console import Console

from dynasor.cli.traces_given import parse_rows, prepare, usual_rows
from dynasor.config import format_policy, parse_ordering, parse_policy
from dynasor.core.allocation import EVEN
from dynasor.core.errors import ConfigError
from dynasor.evaluate.classes import Sorting
from dynasor.evaluate.coded import Made, made_by
from dynasor.evaluate.offline import with_width
from dynasor.evaluate.recorded import Recorded
from dynasor.online.arrivals import visits
from dynasor.online.cluster import Cluster
from dynasor.online.run import Experiment
from dynasor.online.systems import System, has_aging, make_system
from dynasor.online.workload import (
    Arrivals,
    Deadline,
    Part,
    Poisson,
    Timetable,
    Together,
    Workload,
    with_rate,
    with_scale,
)
from dynasor.online.workload_file import read_workload
from dynasor.profile import Profile
from dynasor.programs import SelfConsistency
from dynasor.sim.engine_file import read_engine
from dynasor.sim.kv import Eviction
from dynasor.sim.presets import preset
from dynasor.traces import Trace

__all__ = [
    "DEFAULT_CAP",
    "DEFAULT_ENGINE",
    "DEFAULT_LOAD",
    "DEFAULT_PROGRAMS",
    "DEFAULT_SYSTEMS",
    "ClusterAsked",
    "Given",
    "WorkloadAsked",
    "check_experiment",
    "make_cluster",
    "make_systems",
    "read_given",
    "suited_systems",
]

DEFAULT_CAP = 20
DEFAULT_LOAD = 0.9
DEFAULT_PROGRAMS = 500
DEFAULT_ENGINE = "a100-llama3.1-8b"
DEFAULT_SHARE = 0.9
DEFAULT_SYSTEMS = ("lpm", "deadline/priced+lock")
"""The paper's main baseline, and ours with all of its parts."""
POISSON, TOGETHER = "poisson", "together"
WORKLOAD, ENGINE = ".toml", ".json"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadAsked:
    """What the options say of the workload; None where they say nothing.

    The first five are a trace's alone: a workload file has them itself.
    """

    cap: int | None = None
    deadline: float | None = None
    arrivals: str | None = None
    prompt_tokens: int | None = None
    shared_tokens: int | None = None
    rate: float | None = None
    load: float | None = None
    programs: int | None = None
    duration: float | None = None
    scale: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAsked:
    """What the options say of the engines; None where they say nothing."""

    engine: str = DEFAULT_ENGINE
    replicas: int = 1
    memory: float | None = None
    kv_tokens: int | None = None
    slots: int | None = None
    eviction: str | None = None
    max_running: int | None = None
    token_budget: int | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """A workload with the recordings of its parts, by name."""

    workload: Workload
    traces: dict[str, Trace]
    questions: dict[str, list[Recorded]]

    @property
    def load(self) -> float | None:
        """The fraction of even's capacity at which programs come; None where they do not."""
        return self.workload.arrivals.load

    @property
    def unjudged(self) -> frozenset[str]:
        """The parts of which nothing says what is right."""
        return frozenset(
            name for name, found in self.questions.items() if not any(q.has_quality for q in found)
        )


def read_given(
    path: Path, asked: WorkloadAsked, sorting: Sorting, profile: Profile | None, console: Console
) -> Given:
    """Read a workload file, or a trace as a workload of one part.

    A trace's cap is the profile's, if there is one and nobody asks for another; of searches and
    thoughts it is otherwise that of the recording. Says on `console`
    what is left out; raises `UserError` for what cannot be used.
    """
    if path.suffix == WORKLOAD:
        return _from_file(path, asked, sorting, console)
    if asked.cap is None and profile is not None:
        asked = replace_fields(asked, cap=profile.cap)
    return _from_trace(path, asked, sorting, console)


def _from_file(path: Path, asked: WorkloadAsked, sorting: Sorting, console: Console) -> Given:
    own = ("cap", "deadline", "arrivals", "prompt_tokens", "shared_tokens")
    for name in own:
        if getattr(asked, name) is not None:
            raise ConfigError(
                f"--{name.replace('_', '-')} goes with a trace, and {path} is a workload file, "
                "which says that of each part; change it there"
            )
    workload = read_workload(path)
    changes = {"programs": asked.programs, "duration_seconds": asked.duration}
    workload = replace(
        workload,
        arrivals=_paced(workload.arrivals, asked),
        **{name: value for name, value in changes.items() if value is not None},
    )
    if asked.scale is not None:
        workload = with_scale(workload, asked.scale)
    read = {one: _read(Path(one), sorting, console) for one in _traces(workload)}
    parts = tuple(_by_its_program(part, made_by(read[part.trace][0])) for part in workload.parts)
    workload = replace(workload, parts=parts)
    return Given(
        workload,
        {part.name: read[part.trace][0] for part in workload.parts},
        {part.name: read[part.trace][1] for part in workload.parts},
    )


def _traces(workload: Workload) -> tuple[str, ...]:
    """Return the paths of all traces, each once."""
    return tuple(dict.fromkeys(part.trace for part in workload.parts))


def _from_trace(path: Path, asked: WorkloadAsked, sorting: Sorting, console: Console) -> Given:
    if asked.scale is not None and asked.deadline is None:
        raise ConfigError(
            f"--scale is {asked.scale:g} and no program has a deadline; give --deadline too"
        )
    arrivals = _arrivals(asked)
    programs = asked.programs
    if programs is None and (asked.duration is None or isinstance(arrivals, Together)):
        programs = DEFAULT_PROGRAMS
    trace, questions = _read(path, sorting, console)
    made = made_by(trace)
    part = Part(
        # A program's name is its part's and a number, with a slash between.
        trace.header.workload.replace("/", "-") or "trace",
        trace=str(path),
        cap=asked.cap or made.cap or DEFAULT_CAP,
        prompt_tokens=asked.prompt_tokens,
        shared_tokens=asked.shared_tokens or 0,
        deadline=_deadline(path, asked, questions, console),
    )
    part = _by_its_program(part, made)
    workload = Workload((part,), arrivals, programs, asked.duration)
    return Given(workload, {part.name: trace}, {part.name: questions})


def _by_its_program(part: Part, made: Made) -> Part:
    """Return a part that runs what made its trace, unless it names another program.

    What its own `params` say goes before the recorded parameters.
    """
    own = made.program
    if made.cap is None or part.program not in (SelfConsistency.name, own.name):
        return part
    return replace(part, program=own.name, params={**own.params, **part.params})


def _arrivals(asked: WorkloadAsked) -> Arrivals:
    """Return when programs come; raises `ConfigError` for what is neither a kind nor a file."""
    kind = asked.arrivals or POISSON
    if kind == TOGETHER:
        return _paced(Together(), asked)
    if kind == POISSON:
        return _paced(Poisson(load=DEFAULT_LOAD), asked)
    if not Path(kind).is_file():
        raise ConfigError(
            f"--arrivals is {kind!r}; give {POISSON!r}, {TOGETHER!r}, or a JSON-lines file whose "
            "lines have a t"
        )
    return _paced(Timetable(kind, load=DEFAULT_LOAD), asked)


def _paced(arrivals: Arrivals, asked: WorkloadAsked) -> Arrivals:
    """Return the arrivals at the rate or load that is asked for, if one is."""
    rate, load = asked.rate, asked.load
    if rate is None and load is None:
        return arrivals
    match arrivals:
        case Poisson():
            return Poisson(rate, load)
        case Timetable(path=path):
            return Timetable(path, rate=rate, load=load)
        case Together():
            option = "--load" if rate is None else "--rate"
            raise ConfigError(f"{option} says nothing of programs that all arrive together")


def _deadline(
    path: Path, asked: WorkloadAsked, questions: list[Recorded], console: Console
) -> Deadline | None:
    if asked.deadline is None:
        return None
    deadline = Deadline(asked.deadline, 1.0 if asked.scale is None else asked.scale)
    if all(one.has_quality for one in questions):
        return deadline
    console.print(
        f"{path}: nothing says what is right, so no question is harder than others: all deadlines "
        "are the same",
        style="yellow",
        markup=False,
        soft_wrap=True,
    )
    return replace(deadline, factors=(1.0, 1.0, 1.0))


def _read(path: Path, sorting: Sorting, console: Console) -> tuple[Trace, list[Recorded]]:
    """Read and sort a trace; where some questions can be judged, leave out the others."""
    trace, questions = prepare(path, sorting, console, needs_quality=False)
    judged = [one for one in questions if one.has_quality]
    if not judged or len(judged) == len(questions):
        return trace, questions
    left_out = len(questions) - len(judged)
    line = f"{path}: nothing says what is right for {left_out} of {len(questions)} (left out)"
    console.print(line, style="yellow", markup=False, soft_wrap=True)
    return trace, judged


def check_experiment(experiment: Experiment) -> None:
    """Raise `UserError` for all that would stop a run before its first program."""
    experiment.check()
    workload = experiment.workload
    if workload.arrivals.load is not None:
        workload = with_rate(workload, 1.0)  # any rate: what it will be, a run must measure
    visits(workload, experiment.questions)


def make_systems(
    given: list[str] | None,
    aging: float | None,
    patience: float | None,
    profile: Profile | None,
) -> dict[str, System]:
    """Return systems by name, from `SYSTEM[:key=value,...][/POLICY]`.

    The parameters are the ordering's. Without a policy a system runs `even`, or the profile's
    where there is one and the system is one of ours. `aging` and `patience` go for ours alone: the
    baselines have none. Raises `UserError`.
    """
    if aging is not None and not isfinite(aging):
        raise ConfigError(f"--aging is {aging}; give a number, 0 for none")
    if patience is not None and not 0 < patience < inf:
        raise ConfigError(f"--patience is {patience:g}; give a number of seconds above 0")
    if given is None or not given:
        given = list(DEFAULT_SYSTEMS)
        if profile is not None:
            given = [text.partition("/")[0] for text in given]
    found: dict[str, System] = {}
    for text in given:
        order, slash, policy = text.partition("/")
        ordering = parse_ordering(order, 0.0)
        is_ours = has_aging(ordering.name)
        label, spec = text, EVEN
        if slash:
            spec = parse_rows([policy])[policy]
        elif is_ours and profile is not None:
            label, spec = f"{order}/profile", profile.policy_spec()
        found[label] = make_system(
            ordering.name,
            spec,
            aging_factor=aging if is_ours else None,
            params=ordering.params,
        ).with_patience(patience if is_ours else None)
    return found


def suited_systems(given: Given) -> list[str]:
    """Return the systems to compare for programs that search or think, none for those that vote.

    They are the usual ones, with policies that suit the first such program, and as much in flight
    as was recorded.
    """
    makers = (made_by(trace) for trace in given.traces.values())
    made = next((one for one in makers if one.cap is not None), None)
    if made is None:
        return []
    baseline, own = (order.partition("/")[0] for order in DEFAULT_SYSTEMS)
    suited = parse_policy(usual_rows(made)[-1], has_lock=False)
    texts = {}
    for order, policy in ((baseline, EVEN), (own, suited)):
        width = made.in_flight
        texts[order] = format_policy(policy if width is None else with_width(policy, width))
    return [f"{order}/{text}" for order, text in texts.items()]


def make_cluster(asked: ClusterAsked) -> Cluster:
    """Return the engines to model; raises `UserError` for some that cannot be."""
    name, memory = asked.engine, asked.memory
    if memory is not None and asked.kv_tokens is not None:
        raise ConfigError("--memory and --kv-tokens both say what the cache holds; give one")
    if name.endswith(ENGINE) or Path(name).is_file():
        if memory is not None:
            raise ConfigError(
                f"--memory is a share of a preset's GPU, and {name} is an engine file; "
                "say with --kv-tokens what its cache holds"
            )
        model = read_engine(Path(name)).engine_model(asked.kv_tokens)
    else:
        model = preset(name).model(DEFAULT_SHARE if memory is None else memory)
        if asked.kv_tokens is not None:
            model = replace(model, kv_blocks=_blocks(asked.kv_tokens, model.block_tokens))
    if asked.eviction not in (None, *get_args(Eviction)):
        known = ", ".join(get_args(Eviction))
        raise ConfigError(f"--eviction is {asked.eviction!r}; choose one of {known}")
    limits = {
        "eviction": asked.eviction,
        "max_running": asked.max_running,
        "token_budget": asked.token_budget,
    }
    model = replace(model, **{key: value for key, value in limits.items() if value is not None})
    return Cluster(model, asked.replicas, asked.slots)


def _blocks(tokens: int, block_tokens: int) -> int:
    if tokens < block_tokens:
        raise ConfigError(f"--kv-tokens is {tokens}; a block alone has {block_tokens}")
    return tokens // block_tokens
