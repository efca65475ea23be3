"""benchmarks/figure_10, 11 and 14, aging and saturated: run on a few small questions, and drawn."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace

import pytest
from msgspec.structs import replace as changed
from toys.recorded import line, write

from dynasor.online.workload import Deadline

pytestmark = pytest.mark.slow

SVAMP, MATH = "svamp-codex", "math500-llama3.1-8b"
SAMPLES = 20


@pytest.fixture(scope="module")
def opened():
    """Settings by name, their capacities measured once for all tests."""
    return {}


@pytest.fixture
def script(benchmarks, opened, tmp_path, monkeypatch):
    """Import scripts that find small traces: settled questions and mixed ones, long and short."""
    monkeypatch.setenv("DYNASOR_TRACES", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lines = [
        line(
            f"asked-{place}", ["1", "2", "1", "3"][: place % 4 + 1] * SAMPLES, tokens=8 + 9 * place
        )
        for place in range(6)
    ]
    for name in (SVAMP, MATH):
        write(tmp_path / f"{name}.jsonl.gz", *lines)
    online = importlib.import_module("_online")
    measure = online.online_of

    def once(setting, *rest):
        *rest, programs = rest
        if setting.name not in opened:
            opened[setting.name] = measure(setting, *rest, None)
        return with_workload(opened[setting.name], programs=programs)

    monkeypatch.setattr(online, "online_of", once)
    return importlib.import_module


def with_workload(online, **changes):
    """The setting with another workload."""
    workload = changed(online.experiment.workload, **changes)
    return replace(online, experiment=changed(online.experiment, workload=workload))


@pytest.fixture
def given(script):
    """Make the options of a small run."""

    def make(*more, programs=12, seeds=1, **others):
        texts = ["--seeds", seeds, "--programs", programs, "--processes", 1, *more]
        parsed = script("_online").arguments("").parse_args([str(one) for one in texts])
        for name, value in {"load": None, **others}.items():
            setattr(parsed, name, value)
        return parsed

    return make


@pytest.fixture
def finished(script, capsys, tmp_path):
    """Show and draw what a script found, as its file has it; return that and what was printed."""

    def finish(figure, found):
        text = json.dumps(script("_script")._rounded(found), allow_nan=False)
        assert "asked-" not in text
        read = json.loads(text)
        figure.show(read)
        figure.draw(read, tmp_path / "drawn.svg")
        assert (tmp_path / "drawn.svg").read_text().startswith("<?xml")
        return read, capsys.readouterr().out

    return finish


def test_every_order_under_every_policy(script):
    """Rows are named by what they are; an order ages only where its name says so."""
    ablation = script("_ablation")
    found = ablation.grid(ablation.ORDERS, ablation.POLICIES)
    assert len(found) == len(ablation.ORDERS) * len(ablation.POLICIES)
    for name, system in found.items():
        order, _, policy = name.partition(" + ")
        assert system.policy.name == (policy or "even")
        assert system.name == order.removesuffix(", aging")
        ages = system.ordering is not None and system.ordering.aging_factor > 0
        assert ages == (order.endswith("aging") or order == "deadline")
        assert system.enforces_deadlines == (order == "deadline")


def test_a_run_a_seed(script, given):
    """Every cell's runs stand by their seeds, whatever the cell."""
    ablation, online = script("_ablation"), script("_online")
    system = online.make_system("fcfs")
    cells = {load: online.Run("toy", system, 0, load) for load in (0.5, 2.0)}
    work = {"setting": "runs are made of"}
    found = ablation.over_seeds(
        lambda settings, run: {**settings, "at": (run.load, run.seed)}, work, cells, given(seeds=3)
    )
    assert [one["at"] for one in found[2.0]] == [(2.0, 0), (2.0, 1), (2.0, 2)]
    assert all(one["setting"] == work["setting"] for runs in found.values() for one in runs)


def test_counts_are_summed(script):
    """A run that does not have a count adds nothing to it."""
    assert script("_ablation").total([{"broken": 2}, {}, {"broken": 1}], "broken") == 3


def test_bars_have_gaps(script):
    """A number that is not known has no bar, and one seed no interval."""
    _, (axes,) = script("_figures").figure()
    known = {"mean": 2.0, "low": 1.0, "high": 3.0}
    alone = {"mean": 4.0, "low": None, "high": None}
    script("_ablation").bars(axes, ["a", "b", "c"], {"even": [known, alone, None]})
    heights = [bar.get_height() for bar in axes.patches]
    assert heights[:2] == [2.0, 4.0]
    assert heights[2] != heights[2]
    assert [list(drawn.get_ydata()) for drawn in axes.lines] == [[1.0, 3.0]]


def test_latency_at_fixed_rates(script, given, finished):
    """Figure 10 has every row at every load; the baseline over itself is 1, no promise broken."""
    figure_10 = script("figure_10")
    found, printed = finished(
        figure_10, figure_10.measure(given(load=[0.5, 1.0], programs=5, seeds=2))
    )
    loads = found[SVAMP]["loads"]
    assert list(loads) == ["0.5", "1"]
    for rows in loads.values():
        assert list(rows) == list(figure_10.ROWS)
        assert rows["lpm"]["over lpm"]["mean"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
        assert rows["lpm + sequential"]["tokens"]["mean"] < rows["lpm"]["tokens"]["mean"]
        assert sum(row["broken_promises"] for row in rows.values()) == 0
    assert "sjf, aging + threshold" in printed


def test_rates_in_time(script, given, finished):
    """Figure 11 says of a search that found no end that its load is a bound."""
    figure_11 = script("figure_11")
    found, printed = finished(figure_11, figure_11.measure(given(programs=4)))
    rows = found[MATH]["rows"]
    assert list(rows) == list(figure_11.ROWS)
    for row in rows.values():
        assert row["peak"]["verdicts"] == ["all"]  # four programs fill no engine
        assert row["at load 1"]["attainment"]["mean"] == 1
    assert printed.count(" all\n") == len(rows)


def test_a_load_that_was_not_found(script):
    """Where some seed has no load with 90 % in time there is no mean of them, nor a ratio."""
    at_peak = script("figure_11").at_peak
    well = {"load": 1.5, "verdict": "found", "tokens": 9, "accuracy": 1.0, "is_saturated": True}
    badly = {"load": None, "verdict": "none"}
    lost = at_peak([well, badly], [well, well])
    assert (lost["load"], lost["over lpm"], lost["verdicts"]) == (None, None, ["found", "none"])
    alone = at_peak([well, well], [well, badly])
    assert (alone["load"]["mean"], alone["over lpm"], alone["mark"]) == (1.5, None, "*")
    assert at_peak([well, well], [well, well])["over lpm"]["mean"] == 1


def test_fairness_of_a_run(script, given):
    """Percentiles are among the quantiles, which rise; Jain's index is a share."""
    figure_14, online = script("figure_14"), script("_online")
    settings = online.open_online(given(programs=40))
    found = figure_14.fair(settings, online.Run(MATH, online.make_system("gang"), 0, 2.0))
    assert found["quantiles"] == sorted(found["quantiles"])
    assert (found["p50"], found["p90"], found["most"]) == tuple(
        found["quantiles"][figure_14.SHARES.index(share)] for share in (0.5, 0.9, 1.0)
    )
    assert 0 < found["jain"] <= 1
    assert found["most"] >= found["mean"] >= found["quantiles"][0] > 0


def test_fairness_of_all(script, given, finished):
    """Figure 14 compares with the first row of a load, which at twice the capacity has a policy."""
    figure_14 = script("figure_14")
    found, printed = finished(figure_14, figure_14.measure(given(programs=8)))
    assert list(found) == [SVAMP, MATH]
    for one in found.values():
        for load, base in {"1": "lpm", "2": "lpm + sequential"}.items():
            rows = one["loads"][load]
            assert next(iter(rows)) == base
            assert rows[base]["over lpm"]["p90"]["mean"] == 1
            assert all(len(row["quantiles"]) == len(figure_14.SHARES) for row in rows.values())
    assert "ms a token" in printed


def test_aging(script, given, finished):
    """Every factor stands beside none, programs cross under it alone, and no promise is broken."""
    aging = script("aging")
    found, printed = finished(aging, aging.measure(given(load=4.0, programs=40)))
    for one in found.values():
        for order in aging.ORDERS:
            factors = one["orders"][order]["factors"]
            assert list(factors) == ["0", "20", "10", "5"]
            assert factors["0"]["crossings"]["mean"] == 0
            assert factors["0"]["over none"]["mean"]["mean"] == 1
    assert aging.broken(found) == 0
    assert "sjf, load 4.00" in printed


def test_loads_near_saturation(script, given):
    """The load is a little below the peak; where nothing is ever in time, the script says so."""
    aging, online = script("aging"), script("_online")
    options = given("--setting", SVAMP, programs=6)
    settings = online.open_online(options)
    assert aging._loads(settings, options)[SVAMP, "sjf"] == pytest.approx(
        aging.BELOW_PEAK * aging.BEGIN["sjf"] * 1.15 * 2**4
    )
    (part,) = settings[SVAMP].experiment.workload.parts
    never = with_workload(settings[SVAMP], parts=(changed(part, deadline=Deadline(1e-6)),))
    with pytest.raises(SystemExit, match="give one with --load"):
        aging._loads({SVAMP: never}, options)


def test_a_broken_promise_is_an_error(script, given, monkeypatch):
    """One call that started against the promise makes the script fail, after all was shown."""
    aging = script("aging")
    found = aging.measure(given("--setting", SVAMP, load=1.0, programs=6))
    found[SVAMP]["orders"]["sjf"]["factors"]["5"]["broken_promises"] = 1
    monkeypatch.setattr(aging, "measure", lambda options: found)
    monkeypatch.setattr("sys.argv", ["aging"])
    with pytest.raises(SystemExit, match="broken 1 times"):
        aging.main()


def test_saturated(script, given, finished):
    """Tokens a second are the same whoever owns the order, and the scheduler's time is counted."""
    saturated = script("saturated")
    found, printed = finished(saturated, saturated.measure(given(programs=60)))
    for one in found.values():
        assert list(one["rows"]) == list(saturated.ROWS)
        for name, row in one["rows"].items():
            assert row["tokens_per_second"]["mean"] > 0
            assert row["over fcfs"]["mean"] == pytest.approx(1, abs=0.1), name
            assert row["decision_us"]["mean"] > 0
            assert 0 < row["scheduler_percent"]["mean"] < 100
    assert "deadline, wide" in printed
