"""Searches and thoughts recorded: what is written, what is refused, going on."""

from __future__ import annotations

import pytest
from toys.recordings import sums
from toys.searching import stepping_engine, thinking_engine

from dynasor.config import parse_policy
from dynasor.core.chance import call_seed, program_seed
from dynasor.core.errors import ConfigError, EngineRefused, UnknownName
from dynasor.core.types import ProgramSpec
from dynasor.engines.scripted import Fail
from dynasor.traces import TraceError

CHAIN, REBASE, MCTS = ProgramSpec("chain-of-thought"), ProgramSpec("rebase"), ProgramSpec("mcts")


def policy(text):
    return parse_policy(text, has_lock=False)


async def test_tree(folder):
    """A line has a tree a search, whose nodes say all that is known of each step."""
    job = {"program": REBASE, "searches": 2, "samples": 6}
    tally = await folder.run(sums(3), stepping_engine(), job=job, seed=5)
    header, line = folder.trace().header, folder.lines()["q1"]
    assert (header.kind, header.sampling["program"], header.sampling["policy"]) == (
        "tree",
        "rebase",
        "even",
    )
    assert header.sampling["params"]["max_steps"] == 32
    assert (line.question, line.reference, line.extra) == (
        "1+1?",
        "2",
        {"level": 1, "exact_knobs": [6]},
    )
    first, second = line.trees
    assert first.nodes != second.nodes
    assert (first.algorithm, first.knob) == ("rebase", 6)
    assert first.seed == program_seed(5, "q1")
    assert [node.seed for node in first.nodes[:6]] == [
        call_seed(first.seed, number) for number in range(1, 7)
    ]
    assert any(node.is_finished and node.answer is not None for node in first.nodes)
    assert all(node.reward is not None or node.is_cut for node in first.nodes)
    assert tally.recorded == 3
    assert tally.samples == sum(
        node.is_finished
        for line in folder.trace().lines
        for tree in line.trees
        for node in tree.nodes
    )


async def test_same_seed_same_search(folder):
    """A search does not depend on what else is recorded beside it."""
    await folder.run(sums(6), stepping_engine(), job={"program": REBASE}, live=6)
    first = folder.lines()
    folder.out_path.unlink()
    await folder.run(sums(6)[::-1], stepping_engine(), job={"program": REBASE}, live=1)
    assert folder.lines() == first


async def test_iterations(folder):
    """The iterations of MCTS follow one another, and are its nodes' units."""
    engine = stepping_engine()
    await folder.run(sums(1), engine, job={"program": MCTS, "samples": 5})
    (tree,) = folder.lines()["q0"].trees
    assert engine.peak == 1
    assert {node.unit for node in tree.nodes} == {1, 2, 3, 4, 5}
    assert [node.unit for node in tree.nodes] == sorted(node.unit for node in tree.nodes)
    assert "exact_knobs" not in folder.lines()["q0"].extra


async def test_two_rounds(folder):
    """A policy that never stops says in which grants the width is spent."""
    job = {"program": REBASE, "samples": 6, "policy": policy('threshold:detect=2,at={"reward":1}')}
    await folder.run(sums(2), stepping_engine(), job=job)
    assert folder.lines()["q0"].extra["exact_knobs"] == [2, 6]


async def test_policy_that_stops(folder):
    """A policy that ends a search early ends the run with one line."""
    job = {"program": REBASE, "policy": policy("threshold:detect=2,at=0")}
    with pytest.raises(ConfigError, match=r"stopped question 'q0' \(certain\) after 2 of 4"):
        await folder.run(sums(1), stepping_engine(), job=job)


async def test_lost_step(folder):
    """A search that lost a step is not written, and asked again by the next run."""
    faults = {2: Fail(EngineRefused("toy", "no"))}
    job = {"program": REBASE}
    tally = await folder.run(sums(2), stepping_engine(faults=faults), job=job, live=1)
    assert (tally.recorded, tally.failed, tally.error) == (1, 1, "'q0': steps lost")
    tally = await folder.run(sums(2), stepping_engine(), job=job)
    assert (tally.found, tally.recorded) == (1, 1)


async def test_scored_samples(folder):
    """Samples for best-of-n have their rewards."""
    await folder.run(sums(1), stepping_engine(), job={"program": ProgramSpec("best-of-n")})
    assert folder.trace().header.sampling["program"] == "best-of-n"
    assert all(0 <= one.reward <= 1 for one in folder.lines()["q0"].samples)


async def test_chain(folder):
    """A chain is probed after every round until its thoughts are closed."""
    program = ProgramSpec("chain-of-thought", {"every": 8})
    job = {"program": program, "samples": 12, "searches": 3}
    await folder.run(sums(2), thinking_engine(), job=job)
    assert folder.trace().header.kind == "chain"
    chains = [chain for line in folder.trace().lines for chain in line.chains]
    assert len(chains) == 6
    for chain in chains:
        thoughts = chain.text.partition(" </think>")[0]
        asked = [probe.at for probe in chain.probes]
        regular = asked[:-1] if chain.is_elicited else asked
        assert regular == [8 * (number + 1) for number in range(len(regular))]
        assert len(regular) >= len(thoughts.split()) // 8 - 1
        assert chain.tokens <= 12 * 8
        if chain.finish_reason == "cap":
            assert chain.tokens == 12 * 8


@pytest.mark.parametrize(
    ("job", "error", "said"),
    [
        ({"program": ProgramSpec("tot")}, UnknownName, "program to record"),
        ({"program": ProgramSpec("rebase", {"widht": 2})}, UnknownName, "'widht'"),
        ({"searches": 2}, ConfigError, "leave out searches"),
        (
            {"program": ProgramSpec("chain-of-thought"), "policy": policy("even")},
            ConfigError,
            "end",
        ),
        ({"program": REBASE, "policy": policy("evne")}, UnknownName, "'evne'"),
    ],
)
async def test_refused(folder, job, error, said):
    """What cannot be recorded is one error, and no trace is begun."""
    with pytest.raises(error, match=said):
        await folder.run(sums(1), stepping_engine(), job=job)
    assert not folder.out_path.exists()


async def test_other_parameters(folder):
    """A trace that was begun with other parameters is refused."""
    await folder.run(sums(1), stepping_engine(), job={"program": REBASE})
    other = ProgramSpec("rebase", {"balance": 0.2})
    with pytest.raises(TraceError, match="sampling"):
        await folder.run(sums(2), stepping_engine(), job={"program": other})
