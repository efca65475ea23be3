"""`dynasor simulate`, as a user calls it."""

from __future__ import annotations

import json
import multiprocessing
import re
import signal
from pathlib import Path

import pytest
from toys.profiles import profile
from toys.recorded import header, line, write
from toys.refusals import refused

from dynasor.cli import simulation_runs
from dynasor.core.promise import PromiseWatch
from dynasor.online.systems import system_names
from dynasor.sim.engine_file import EngineFile
from dynasor.sim.step_time import StepTime
from dynasor.traces import Chain, ChainLine, write_trace

EASY, OPEN = ["1"] * 8, ["1", "2", "3", "1"] * 2
SMALL = ("--max-running", "8", "--token-budget", "64", "--cap", "4")
STEP = StepTime(0.01, 0.0001, 0.0001, 0.000001)

WORKLOAD = """
programs = 30
[arrivals]
kind = "poisson"
load = 0.5
[[parts]]
name = "sums"
trace = "t.jsonl"
cap = 4
[[parts]]
name = "words"
trace = "u.jsonl"
cap = 4
deadline = { base_seconds = 60 }
"""


@pytest.fixture
def simulate(command):
    """Call `dynasor simulate t.jsonl ...` on a small engine, 20 programs: code, output, error."""

    def call(*options, source="t.jsonl"):
        return command("simulate", source, *SMALL, "-n", "20", *options)

    return call


@pytest.fixture
def workload(command):
    """Call `dynasor simulate w.toml ...` on a workload file of two parts."""

    def call(*options, text=WORKLOAD):
        trace()
        trace(line("x", OPEN), path="u.jsonl", workload="words")
        Path("w.toml").write_text(text)
        return command("simulate", "w.toml", *SMALL[:4], *options)

    return call


def trace(*lines, path="t.jsonl", **rest):
    """Write a trace, of three questions unless told."""
    lines = lines or (line("a", EASY), line("b", OPEN), line("c", ["2", "1"] * 4, tokens=30))
    return write(Path(path), *lines, **rest)


def engine(path="e.json", **rest):
    """Write an engine's file."""
    fields = {"model": "toy", "step": STEP, "kv_tokens": 4096, "max_running": 8}
    EngineFile(**{**fields, **rest}).write(Path(path))


def found(result):
    """The figures of a command that printed nothing else."""
    code, out, err = result
    assert (code, err) == (0, "")
    return json.loads(out)


def only(result):
    """The report of the only run there was."""
    (system,) = found(result)["systems"]
    (run,) = system["runs"]
    return run["report"]


def timeless(figures):
    """The figures without the wall time of decisions, which is another each time."""
    if isinstance(figures, list):
        return [timeless(one) for one in figures]
    if not isinstance(figures, dict):
        return figures
    return {
        name: timeless(value) for name, value in figures.items() if "decision_seconds" not in name
    }


# What is printed.


def test_tables(simulate):
    """What was simulated is said, and the systems stand beside one another."""
    trace(has_estimated_tokens=True)
    code, out, err = simulate("--deadline", "30")
    assert (code, err) == (0, "")
    assert "w, m: 3 questions, cap 4, deadlines of 30, 45, 60 s, token counts are est" in out
    assert re.search(r"20 programs, Poisson arrivals at \S+ a second, 0.9 of even's capac", out)
    assert "a100-llama3.1-8b: 1 replica, 8 sequences at once, KV cache of 436,544 tokens" in out
    assert re.search(r"\n +deadline\n +lpm +/priced\+lock\n", out)
    assert re.search(r"\nattainment, % +100.0 +100.0\n", out)
    assert "\n  greatest" in out
    assert re.search(r"\nbroken promises +0 +0\n", out)


def test_systems(simulate):
    """A system without a policy runs even; one that is named twice is one column."""
    trace()
    options = ("-s", "fcfs", "-s", "sjf/sequential+lock:in_flight=2", "-s", "fcfs", "-s", "gang")
    systems = found(simulate(*options, "--json", "-"))["systems"]
    assert [one["name"] for one in systems] == ["fcfs", "sjf/sequential+lock:in_flight=2", "gang"]
    assert [one["system"]["policy"]["name"] for one in systems] == ["even", "sequential", "even"]
    assert systems[1]["system"]["policy"]["has_lock"]
    knobs = [one["runs"][0]["report"]["all"]["knob"] for one in systems]
    assert knobs[0] == knobs[2] == 4 > knobs[1]


def test_parameters(simulate):
    """An ordering takes parameters, and a policy after them; both are in its column's name."""
    trace()
    names = ["deadline:slack_step=2,margin=0.25/priced", "plas:first=64", "sjf"]
    options = (word for name in names for word in ("-s", name))
    systems = found(simulate(*options, "--aging", "4", "--json", "-"))["systems"]
    assert [one["name"] for one in systems] == names
    orderings = [one["system"]["ordering"] for one in systems]
    assert [one["params"] for one in orderings] == [
        {"slack_step": 2, "margin": 0.25},
        {"first": 64},
        {},
    ]
    assert [one["aging_factor"] for one in orderings] == [4, 0, 4]
    assert [one["system"]["policy"]["name"] for one in systems] == ["priced", "even", "even"]


def test_many_systems(simulate):
    """Systems that do not fit beside one another come in several tables, with all their digits."""
    trace()
    names = ["fcfs", "lpm", "plas", *(f"gang/beta:confidence=0.{k}" for k in range(1, 9))]
    code, out, _ = simulate(*(word for name in names for word in ("-s", name)), "--deadline", "30")
    assert code == 0
    assert "…" not in out
    assert out.count("attainment, %") > 1
    assert len(re.findall(r"confidence=0\.\d", out)) == 2 * 8


def test_aging(simulate):
    """--aging is for our orderings; the baselines have none, as they were published."""
    trace()
    options = ("-s", "plas", "-s", "gang", "-s", "sjf", "--aging", "3", "--json", "-")
    systems = found(simulate(*options))["systems"]
    assert [one["system"]["ordering"]["aging_factor"] for one in systems] == [0, 3, 3]


def test_patience(simulate):
    """--patience is for our orderings, and raises what waits for longer."""
    trace()
    options = ("-s", "plas", "-s", "sjf", "--load", "3", "--json", "-")
    plain, hurried = (
        found(simulate(*options, *more))["systems"] for more in ((), ("--patience", "0.001"))
    )
    ordered = [one["system"]["ordering"] for one in hurried]
    assert [one["patience_seconds"] for one in ordered] == [None, 0.001]
    crossed = [
        [one["runs"][0]["report"]["load"]["crossings"] for one in systems]
        for systems in (plain, hurried)
    ]
    assert crossed[0][0] == crossed[1][0] == 0
    assert crossed[1][1] > crossed[0][1]


def test_seeds(simulate):
    """Several seeds give means and intervals; the first is the seed of a single run."""
    trace()
    code, out, _ = simulate("--seeds", "3", "-s", "gang", "--json", "f.json")
    assert code == 0
    assert re.search(r"\n {2}median +\S+ ± \S+\n", out)
    (system,) = json.loads(Path("f.json").read_text())["systems"]
    assert [run["seed"] for run in system["runs"]] == [0, 1, 2]
    mean = system["means"]["all.latency.p50"]
    values = [run["report"]["all"]["latency"]["p50"] for run in system["runs"]]
    assert mean["estimate"] == pytest.approx(sum(values) / 3)
    assert mean["low"] < mean["estimate"] < mean["high"]
    one = only(simulate("-s", "gang", "--json", "-"))
    assert one["all"] == system["runs"][0]["report"]["all"]


def test_picture(simulate):
    """--plot draws the systems into one file."""
    trace()
    assert simulate("-s", "lpm", "-s", "gang/beta", "--plot", "p.svg")[0] == 0
    text = Path("p.svg").read_text()
    for word in ("lpm", "gang/beta", "latency"):
        assert f">{word}</text>" in text


def test_twice(simulate):
    """The same command gives the same figures."""
    trace()
    options = ("--deadline", "1", "--json", "-")
    assert timeless(found(simulate(*options))) == timeless(found(simulate(*options)))


@pytest.mark.process
def test_processes(simulate, monkeypatch):
    """Runs in processes of their own give the same figures."""
    trace()
    options = ("--seeds", "2", "--json", "-")
    here = found(simulate(*options))
    monkeypatch.setattr(simulation_runs, "FEW", 0)
    assert timeless(found(simulate(*options))) == timeless(here)


def test_documented():
    """docs/simulation.md has a row for every system."""
    text = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text()
    assert all(f"\n| `{name}` |" in text for name in system_names())


def test_search_in_python(command, capsys):
    """The searches of docs/simulation.md run as they stand there, with fewer programs."""
    text = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    trace(*(line(f"q{k}", ["1", "2"] * 10, tokens=200) for k in range(4)), path="samples.jsonl.gz")
    exec(code.replace("programs=500", "programs=20"), {})
    assert re.fullmatch(r"rate \d\S+.*\nscale \d\S+.*\n", capsys.readouterr().out)


# What is served.


def test_rates(simulate):
    """A rate is taken as it is; a load is a fraction of a capacity that is measured and told."""
    trace()
    at_rate = found(simulate("--rate", "3", "--json", "-"))
    assert (at_rate["arrivals"]["rate"], at_rate["even_capacity"]) == (3, None)
    at_load = found(simulate("--load", "0.5", "--json", "-"))
    assert at_load["arrivals"]["rate"] == pytest.approx(0.5 * at_load["even_capacity"])


def test_together(simulate):
    """Programs that arrive together have no rate, and saturate nothing."""
    trace()
    code, out, err = simulate("--arrivals", "together")
    assert (code, err) == (0, "")
    assert "\n20 programs at once\n" in out


def test_how_many_came(simulate, command):
    """Where not all programs came, or nobody said how many would, it is said how many did."""
    trace()
    options = ("--rate", "5", "-s", "lpm")
    code, out, _ = simulate(*options, "-n", "4000", "--horizon", "4")
    assert code == 0
    came = re.search(r"4000 programs, Poisson arrivals at 5 a second; (\d+) came in 4 s\n", out)
    assert 5 < int(came[1]) < 50
    code, out, _ = simulate(*options, "-n", "4000", "--horizon", "4", "--json", "-")
    assert json.loads(out)["systems"][0]["runs"][0]["came"] == int(came[1])
    code, out, _ = simulate(*options, "-n", "4000", "--horizon", "4", "--seeds", "3")
    assert code == 0
    assert re.search(r" a second; \d+ to \d+ came in 4 s\n", out)
    command_options = ("--duration", "4", "--horizon", "900", *options)
    code, out, _ = command("simulate", "t.jsonl", *SMALL, *command_options)
    assert code == 0
    assert re.search(r"\nprograms in 4 s, Poisson arrivals at 5 a second; \d+ came\n", out)
    assert " came" not in simulate(*options)[1]


def test_recorded_arrivals(simulate):
    """Recorded arrivals keep their pattern at the load that is asked for."""
    trace()
    Path("a.jsonl").write_text('{"t": 0}\n{"t": 1}\n{"t": 5}\n')
    figures = found(simulate("--arrivals", "a.jsonl", "--rate", "2", "--json", "-"))
    assert figures["arrivals"]["kind"] == "recorded"
    assert "recorded arrivals at" in simulate("--arrivals", "a.jsonl")[1]


def test_duration(command):
    """With --duration as many programs come as come in that time."""
    trace()
    options = ("--duration", "60", "--rate", "2", "-s", "lpm")
    code, out, _ = command("simulate", "t.jsonl", *SMALL, *options)
    assert code == 0
    assert "programs in 60 s, Poisson arrivals at 2 a second" in out


def test_deadlines(simulate):
    """Narrower deadlines are met by fewer; --scale multiplies them."""
    trace()
    options = ("-s", "lpm", "--load", "2", "--json", "-")
    wide = only(simulate("--deadline", "0.2", *options))["all"]
    tight = only(simulate("--deadline", "0.2", "--scale", "0.5", *options))["all"]
    assert tight["attainment"] < wide["attainment"]
    assert tight["tightest_scale"] == pytest.approx(2 * wide["tightest_scale"])


def test_prompts(simulate):
    """Shared instructions are computed once and found by the others."""
    trace()
    options = ("-s", "lpm", "--prompt-tokens", "16", "--json", "-")
    alone = only(simulate(*options))["load"]["cached"]
    assert only(simulate("--shared-tokens", "160", *options))["load"]["cached"] > alone


def test_workload_file(workload):
    """A workload file has parts, each with a table of its own; a trace is read once."""
    code, out, err = workload()
    assert (code, err) == (0, "")
    assert "sums, m: 3 questions, cap 4\nwords, m: 1 questions, cap 4, deadlines of 60, 90" in out
    assert "30 programs, Poisson arrivals at" in out
    assert re.search(r"\nsums +lpm +/priced", out)
    assert re.search(r"\nwords +lpm +/priced", out)


def test_overridden(workload):
    """Rate, programs and scale go before the file's."""
    options = ("--rate", "2", "-n", "12", "--scale", "2", "-s", "gang", "--json", "-")
    figures = found(workload(*options))
    assert (figures["programs"], figures["arrivals"]["rate"]) == (12, 2)
    assert [part["deadline"] and part["deadline"]["scale"] for part in figures["parts"]] == [
        None,
        2,
    ]
    parts = figures["systems"][0]["runs"][0]["report"]["parts"]
    assert set(parts) == {"sums", "words"}


def test_seed_of_the_file(workload):
    """Seeds count from the workload's own."""
    figures = found(
        workload("--seeds", "2", "-s", "lpm", "--json", "-", text="seed = 7" + WORKLOAD)
    )
    assert figures["seeds"] == [7, 8]


def test_profile(simulate, command):
    """A profile is the policy of our systems that name none; its cap goes for a trace."""
    trace()
    profile(cap=6).write(Path("p.json"))
    code, out, err = command(
        "simulate", "t.jsonl", *SMALL[:4], "-n", "20", "--profile", "p.json", "--json", "-"
    )
    assert code == 0
    assert "warning: the profile was made for the workload 'sums' and is used for 'w'" in err
    figures = json.loads(out)
    assert figures["parts"][0]["cap"] == 6
    assert [one["name"] for one in figures["systems"]] == ["lpm", "deadline/profile"]
    assert figures["systems"][1]["system"]["policy"]["name"] == "beta"
    _, out, _ = simulate("--profile", "p.json", "-s", "fcfs", "-s", "sjf/even", "--json", "-")
    assert [one["name"] for one in json.loads(out)["systems"]] == ["fcfs", "sjf/even"]


# What it is served on.


def test_cluster(simulate):
    """Engines are a preset or a file, as many as are asked for, with limits of one's own."""
    trace()
    engine()
    options = ("-e", "e.json", "--replicas", "2", "--slots", "4", "--eviction", "idle-first")
    figures = found(simulate(*options, "-s", "gang", "--json", "-"))
    assert (figures["replicas"], figures["slots"]) == (2, 4)
    model = figures["model"]
    assert (model["kv_blocks"], model["max_running"], model["token_budget"]) == (256, 8, 64)
    assert model["eviction"] == "idle-first"
    assert model["step"]["base"] == 0.01
    assert "e.json: 2 replicas, 8 sequences" in simulate(*options)[1]


def test_memory(simulate):
    """Less memory is fewer blocks, by a share of the GPU or by tokens."""
    trace()
    engine(kv_tokens=None)
    by_share = found(simulate("--memory", "0.3", "--json", "-"))["model"]["kv_blocks"]
    assert by_share < 27284
    for options in (("--kv-tokens", "160"), ("--kv-tokens", "160", "-e", "e.json")):
        assert found(simulate(*options, "--json", "-"))["model"]["kv_blocks"] == 10


# What is said of it.


def test_saturated(simulate):
    """A rate beyond saturation ends, and says what came and what was served."""
    trace()
    code, out, err = simulate("-n", "300", "--rate", "100", "-s", "lpm")
    assert code == 0
    assert "not ended" not in out
    offered, served = re.search(
        r"warning: lpm is saturated: (\S+) programs a second came and (\S+) were served", err
    ).groups()
    assert float(offered) > 2 * float(served) > 0


def test_horizon(simulate):
    """A run that is cut says so, and programs that had not ended have missed their deadlines."""
    trace()
    options = ("--rate", "5", "-s", "lpm", "--deadline", "9", "--horizon", "4")
    code, out, err = simulate(*options)
    assert code == 0
    assert re.search(
        r"warning: lpm was cut at 4 s with \d+ of the .*: those with a deadline ha", err
    )
    assert re.search(r"\nnot ended +[1-9]", out)
    assert re.search(r"\nlatency, s: mean +-\n", out)
    code, out, err = simulate(*options[:4], *options[6:])
    assert code == 0
    assert "still live: nobody knows when they end\n" in err
    assert "deadline" not in err


def test_unjudged(simulate):
    """Where nothing says what is right there is no accuracy, and all deadlines are the same."""
    trace(line("a", EASY, reference=None), line("b", OPEN, reference=None))
    code, out, err = simulate("--deadline", "9")
    assert code == 0
    assert err == (
        "t.jsonl: nothing says what is right, so no question is harder than others: all deadlines "
        "are the same\n"
    )
    assert "deadlines of 9 s" in out
    assert "accuracy" not in out


def test_unjudged_part(workload):
    """A part that nobody can judge has no accuracy, nor has the whole; the others have theirs."""
    trace(line("a", EASY, reference=None), path="v.jsonl")
    text = WORKLOAD.replace("t.jsonl", "v.jsonl")
    report = only(workload("-s", "lpm", "--json", "-", text=text))
    assert report["all"]["accuracy"] is None
    assert report["parts"]["sums"]["accuracy"] is None
    assert report["parts"]["words"]["accuracy"] > 0


def test_some_unjudged(simulate):
    """Where some questions can be judged the others are left out, and counted."""
    trace(line("a", EASY), line("b", OPEN, reference=None))
    code, out, err = simulate()
    assert code == 0
    assert "t.jsonl: nothing says what is right for 1 of 2 (left out)\n" in err
    assert "w, m: 1 questions" in out


def test_broken_promise(simulate, monkeypatch):
    """A broken promise of aging is a warning, and an error once everything is told."""
    trace()
    monkeypatch.setattr(PromiseWatch, "see", lambda self, *_: setattr(self, "broken", 2))
    code, out, err = simulate("-s", "gang")
    assert code == 1
    assert re.search(r"\nbroken promises +2\n", out)
    assert "warning: gang broke the promise of aging 2 times" in err
    assert err.endswith("please report it with this command\n")


def test_failed(simulate):
    """A policy of a signal that nobody recorded fails every program: a warning and an error."""
    trace()
    code, out, err = simulate("-s", 'gang/threshold:at={"reward":0.5},detect=2')
    assert code == 1
    assert re.search(r"\nfailed +18\n", out)
    assert "18 of 18 programs failed; `dynasor evaluate` says why" in err
    assert err.splitlines()[-1].startswith("dynasor: every program failed under gang/threshold")


@pytest.mark.process
def test_interrupted():
    """Ctrl-C ends processes in the middle of their runs."""
    process = multiprocessing.get_context("spawn").Process(target=signal.pause)
    process.start()
    with pytest.raises(KeyboardInterrupt), simulation_runs.ended_by_interrupts():
        signal.raise_signal(signal.SIGINT)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# What is refused.


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--cap", "9"), ("cap 9 is beyond what was recorded", "'a' has 8")),
        (("--rate", "0"), ("rate is 0.0", "above 0")),
        (("--load", "nan"), ("load is nan", "above 0")),
        (("--rate", "1", "--load", "1"), ("rate and load are given",)),
        (("--rate", "1", "--arrivals", "together"), ("--rate", "all arrive together")),
        (("--arrivals", "no.jsonl"), ("--arrivals is 'no.jsonl'", "'poisson'")),
        (("--arrivals", "bad.jsonl"), ("bad.jsonl, line 1", "t is None")),
        (("--deadline", "-1"), ("deadline.base_seconds is -1",)),
        (("--scale", "2"), ("--scale is 2", "--deadline")),
        (("--duration", "0"), ("duration_seconds is 0",)),
        (("--horizon", "0"), ("--horizon is 0",)),
        (("--aging", "inf"), ("--aging is inf",)),
        (("--patience", "0"), ("--patience is 0", "above 0")),
        (("--patience", "9", "--aging", "0"), ("patience is set and aging is 0",)),
        (("-s", "gnag"), ("unknown system 'gnag'", "did you mean 'gang'")),
        (("-s", "gnag:x=1/even"), ("unknown system 'gnag'", "did you mean 'gang'")),
        (("-s", "lpm:x=1,y=2/even"), ("'lpm' is the engine's own order", "leave out x, y")),
        (("-s", "gang:x=1"), ("ordering 'gang'", "`x`")),
        (("-s", "plas:first=-1"), ("ordering 'plas'", "first")),
        (("-s", "plas:first"), ("ordering 'plas:first': expected NAME:key=value",)),
        (("-s", "gang/betta"), ("unknown policy 'betta'", "did you mean 'beta'")),
        (("-s", "gang/"), ("unknown policy ''",)),
        (("-s", "gang/beta:confidence=7"), ("policy 'beta'", "confidence")),
        (("-e", "b200"), ("unknown engine preset 'b200'", "a100-llama3.1-8b")),
        (("-e", "no.json"), ("engine no.json cannot be read",)),
        (("-e", "bad.jsonl"), ("bad.jsonl is no engine", "fit-engine")),
        (("-e", "e.json", "--memory", "0.5"), ("--memory is a share", "--kv-tokens")),
        (("-e", "e.json"), ("unknown number of tokens",)),
        (("--memory", "0.1"), ("10% of 79.22 GiB leaves no KV cache", "give 22.8%")),
        (("--memory", "2"), ("utilisation is 2",)),
        (("--memory", "0.5", "--kv-tokens", "99"), ("--memory and --kv-tokens", "give one")),
        (("--kv-tokens", "9"), ("--kv-tokens is 9", "16")),
        (("--kv-tokens", "16"), ("holds 16 tokens", "2 of 3", "can need more")),
        (("--prompt-tokens", "999999"), ("holds 436544 tokens", "shorter prompts")),
        (("--eviction", "fifo"), ("--eviction is 'fifo'", "idle-first")),
        (("--max-running", "64"), ("token_budget is 64", "max_running 64")),
        (("--json", "no/f.json"), ("--json no/f.json", "there is no folder no")),
        (("--json", "."), ("--json . is a folder",)),
        (("--json", "t.jsonl"), ("--json t.jsonl is read by this very run",)),
        (("--plot", "no/p.svg"), ("--plot no/p.svg", "there is no folder no")),
        (("--plot", "p.gif"), ("--plot is p.gif", ".svg")),
        (("--labels", "best"), ("--labels is 'best'",)),
        (("--profile", "bad.jsonl"), ("bad.jsonl is no profile",)),
    ],
)
def test_bad_options(simulate, options, parts):
    """An option that cannot be used is one line that says what can, before anything runs."""
    trace(line("a", EASY, tokens=20), line("b", OPEN, tokens=20), line("c", EASY))
    engine(kv_tokens=None)
    Path("bad.jsonl").write_text("{}\n")
    refused(simulate(*options), *parts)


@pytest.mark.parametrize("name", ["w.toml", "u.jsonl"])
def test_nothing_that_is_read_is_overwritten(workload, name):
    """Figures never go over a trace of a workload, nor over the workload itself."""
    refused(workload("--json", name), f"--json {name} is read by this very run")


def test_no_token_counts(simulate):
    """A trace whose samples have no tokens says nothing of how long a call runs."""
    trace(line("a", EASY, tokens=0), line("b", OPEN, tokens=0))
    code, out, err = simulate()
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("dynasor: part 'w': every sample of its trace has 0 tok")


def test_other_kind(simulate):
    """A trace of chains that does not say which program thought them is refused."""
    write_trace(
        Path("t.jsonl"), header(kind="chain"), [ChainLine("q", "q?", (Chain("so", 3, "1"),))]
    )
    refused(simulate(), "kind 'chain'", "which program")


def test_no_source(simulate):
    """A trace or a workload that is not there is refused by name."""
    refused(simulate(), "t.jsonl cannot be read")
    refused(simulate(source="no.toml"), "goes with a trace")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--cap", "4"),
        ("--deadline", "9"),
        ("--arrivals", "together"),
        ("--prompt-tokens", "9"),
        ("--shared-tokens", "9"),
    ],
)
def test_what_a_workload_file_says_itself(workload, option, value):
    """Options of a trace are refused with a workload file."""
    refused(workload(option, value), f"{option} goes with a trace", "w.toml", "change it there")


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("programs", "programmes", ("w.toml", "unknown key 'programmes'", "did you mean")),
        ("load = 0.5", "", ("neither rate nor load",)),
        ('"words"', '"words"\nprogram = "best-of-n"', ("part 'words'", "1 of 1", "record rewards")),
        ("= 60", "= 60, judged_at = 500", ("part 'words'", "judged_at is 500", "at most 8")),
        ('"words"', '"words"\npolicy = "beta+lock"', ("part 'words'", "lock = true")),
        ("u.jsonl", "v.jsonl", ("v.jsonl cannot be read",)),
        ("cap = 4", "cap = 9", ("part 'sums'", "cap 9 is beyond")),
        ("deadline", "daedline", ("unknown key of parts[1] 'daedline'",)),
        ("[arrivals]", "[arrivals", ("w.toml is not TOML",)),
        ('"words"', '"sums"', ("two parts are called 'sums'",)),
    ],
)
def test_impossible_workloads(workload, old, new, parts):
    """A workload file that cannot be is one line that names what is wrong."""
    refused(workload(text=WORKLOAD.replace(old, new)), *parts)


def test_no_scale(workload):
    """Deadlines that are not there cannot be scaled."""
    text = WORKLOAD.replace("deadline =", "# deadline =")
    refused(workload("--scale", "2", text=text), "scale 2 cannot be set", "no part has a deadline")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk(simulate):
    """Figures that do not fit the disk are one line, exit code 1, after the tables."""
    trace()
    code, out, err = simulate("-s", "lpm", "--json", "/dev/full")
    assert (code, err) == (
        1,
        "dynasor: --json /dev/full cannot be written: No space left on device\n",
    )
    assert "latency" in out
