"""What may be given to Dynasor, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest
from plays import Gate, Single, answers, boxed, even, one, sums

from dynasor import BestOfN, Dynasor, Extensions, SelfConsistency
from dynasor.config import Settings
from dynasor.core.allocation import Grant, Stop
from dynasor.core.errors import ConfigError, EngineUnreachable, JournalError, UnknownName
from dynasor.core.types import PolicySpec
from dynasor.engines.scripted import ScriptedEngine


class Thrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy: so many, then stop."""

    count: int = 3

    def decide(self, view):
        """Grant one after the other."""
        if view.knob >= self.count:
            return Stop("thrice")
        return Grant(1 if view.granted == view.knob else 0)


class Latest(msgspec.Struct, frozen=True):
    """An ordering: the last to arrive runs first."""

    def key(self, demand):
        """Rank by arrival, backwards."""
        return (-demand.number,)

    def changes_at(self, demand):
        """Never."""
        return


class Down(ScriptedEngine):
    """An engine that nobody can reach."""

    async def start(self):
        raise EngineUnreachable(self.name, "no connection; is it running?")


async def test_not_open():
    """Nothing runs before `async with`, nor after it, and a Dynasor is opened once."""
    dynasor = even(answers("1"))
    with pytest.raises(ConfigError, match="not open"):
        dynasor.submit(one("q"))
    async with dynasor:
        pass
    with pytest.raises(ConfigError, match="not open"):
        await dynasor.run(one("q"))
    with pytest.raises(ConfigError, match="opened before"):
        async with dynasor:
            pass


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"policy": "betta"}, "unknown policy 'betta' .*did you mean 'beta'"),
        ({"policy": "beta:x=1"}, "policy 'beta': .*`x`"),
        ({"policy": "beta:confidence=2"}, "policy 'beta': .*confidence"),
        ({"policy": "beta:confidence"}, "expected NAME:key=value"),
        ({"ordering": "fifo"}, "unknown ordering 'fifo' .*app-fifo"),
        ({"task": "maths"}, "unknown task 'maths' .*did you mean 'math'"),
        ({"kap": 3}, "unknown setting 'kap' .*did you mean 'cap'"),
        ({"cap": 0}, "'cap'"),
    ],
)
def test_bad_settings(flags, message):
    """What cannot be used is refused when Dynasor is made, in one line."""
    with pytest.raises((UnknownName, ConfigError), match=message) as caught:
        Dynasor(answers("1"), **flags)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("program", "options", "message"),
    [
        (one("q", task="maths"), {}, "unknown task 'maths'"),
        (one("q", cap=0), {}, "cap is 0"),
        (one("q", cap="many"), {}, "self-consistency.*cap"),
        (one("q", max_tokens=None), {}, "self-consistency.*max_tokens"),
        (one("q", cap={1, 2}), {}, "self-consistency"),
        (one("\ud800"), {}, "not made of JSON values"),
        (one("q", cap=object()), {}, "not made of JSON values"),
        (one("q"), {"policy": "nope"}, "unknown policy 'nope'"),
        (one("q"), {"policy": PolicySpec("even", {"x": 1})}, "policy 'even'"),
    ],
)
async def test_bad_programs(program, options, message):
    """What cannot be used is refused by `submit`, in one line, and leaves no trace."""
    async with even(answers("1")) as dynasor:
        with pytest.raises((UnknownName, ConfigError), match=message) as caught:
            dynasor.submit(program, **options)
        assert "\n" not in str(caught.value)
        assert dynasor._handles == {}
        assert (await dynasor.run(one("q"))).answer == "1"


async def test_program_id_in_use():
    """An id is one program's until that has ended."""
    gate = Gate()
    async with even(gate) as dynasor:
        handle = dynasor.submit(one("q"), program_id="x")
        with pytest.raises(ConfigError, match="'x' is in use"):
            dynasor.submit(one("q"), program_id="x")
        gate.open("q")
        assert (await handle).program == "x"
        assert (await dynasor.run(one("q"), program_id="x")).answer == "1"


async def test_own_ids_stay_clear_of_given_ones():
    """The ids that Dynasor gives avoid those that a user gave."""
    async with even(Gate()) as dynasor:
        dynasor.submit(one("q"), program_id="p1")
        dynasor.submit(one("q"), program_id="p2")
        assert dynasor.submit(one("q")).program == "p3"


# Programs, policies and orderings of one's own.


async def test_own_program_by_name():
    """A program's class is registered by its name with its first run."""
    async with even(answers("1")) as dynasor:
        await dynasor.run(Single("q"))
        assert dynasor.machine.catalog.programs["single"] is Single


async def test_two_classes_with_one_name():
    """Two classes of one name are refused, with both."""

    @dataclass
    class Other(Single):
        pass

    async with even(answers("1")) as dynasor:
        await dynasor.run(Single("q"))
        with pytest.raises(ConfigError, match=r"two programs are named 'single': Single and .*Oth"):
            dynasor.submit(Other("q"))


async def test_class_with_a_shipped_name():
    """A class that takes the name of one that ships is refused."""

    @dataclass
    class Mine(SelfConsistency):
        pass

    async with even(answers("1")) as dynasor:
        with pytest.raises(ConfigError, match="two programs are named 'self-consistency'"):
            dynasor.submit(Mine("q"))


async def test_registrations_are_apart():
    """What one Dynasor has learnt another does not know."""
    async with even(answers("1")) as first, even(answers("1")) as second:
        await first.run(Single("q"))
        assert "single" not in second.machine.catalog.programs


async def test_own_policy():
    """A policy of one's own is chosen by its name, with its parameters, in settings and runs."""
    own = Extensions(policies={"thrice": Thrice})
    async with Dynasor(answers("1"), extensions=own, policy="thrice", lock=False) as dynasor:
        first = await dynasor.run(one("q", cap=9))
        second = await dynasor.run(one("q", cap=9), policy="thrice:count=2")
    assert (first.knob, first.reason) == (3, "thrice")
    assert (second.knob, second.reason) == (2, "thrice")


async def test_own_ordering():
    """An ordering of one's own decides whose calls run next."""
    engine = sums(slots=1)
    own = Extensions(orderings={"latest": Latest})
    async with even(engine, extensions=own, ordering="latest", aging_factor=0) as dynasor:
        handles = [dynasor.submit(one(f"{n}+1", cap=1)) for n in range(6)]
        for handle in handles:
            await handle
    asked = [work.prompt.messages[-1].content for work in engine.asked]
    # Those that found the window open went first; of those that waited, the last comes first.
    waited = asked[2:]
    assert waited == sorted(waited, reverse=True)


async def test_policy_without_votes():
    """A policy that needs votes is refused for a program that has none, with one that suits it."""
    async with Dynasor(answers("1"), policy="beta", lock=False) as dynasor:
        with pytest.raises(ConfigError, match="'single': .* needs votes.*; 'even' suits it"):
            dynasor.submit(Single("q"))
        assert dynasor._handles == {}
        assert (await dynasor.run(Single("q"), policy="even")).answer == "1"


async def test_nobody_scores():
    """A program whose paths nobody can score is refused before it has spent anything."""
    async with Dynasor(answers("1")) as dynasor:
        with pytest.raises(ConfigError, match='best-of-n.*reward_engine.*rewards="confidence"'):
            dynasor.submit(BestOfN("q"))
        assert dynasor._handles == {}


# Engines.


async def test_replicas():
    """Several engines are replicas that share the work."""
    engines = [sums(slots=4, name=f"e{n}") for n in range(3)]
    async with even(engines) as dynasor:
        assert dynasor.machine.slots == 12
        results = [r async for r in dynasor.map(one(f"{n}+1") for n in range(60))]
    assert len(results) == 60
    assert all(len(engine.asked) > 20 for engine in engines)
    assert sum(len(engine.asked) for engine in engines) == 180
    assert all(engine.is_closed for engine in engines)


async def test_replicas_of_one_name():
    """Two engines of one address are still two replicas."""
    engines = [sums(slots=2), sums(slots=2)]
    async with even(engines) as dynasor:
        assert len([r async for r in dynasor.map(one(f"{n}+1") for n in range(20))]) == 20
    assert all(engine.asked for engine in engines)


async def test_engines_of_two_models():
    """Engines of two models are refused: any of them could get any call."""
    with pytest.raises(ConfigError, match=r"several \(a on x, b on y\); name the one"):
        async with even([sums(name="x", model="a"), sums(name="y", model="b")]):
            pass


async def test_one_replica_is_lost():
    """When a replica refuses connections the other does its work."""

    def gone(work):
        raise EngineUnreachable("bad", "gone")

    bad = ScriptedEngine(gone, name="bad", slots=4)
    async with even([bad, sums(slots=4)]) as dynasor:
        results = [r async for r in dynasor.map(one(f"{n}+1") for n in range(8))]
    assert {result.answer for result in results} == {str(n + 1) for n in range(8)}


async def test_engine_that_cannot_start():
    """An engine that cannot be started fails the start, and the others are closed."""
    good = sums()
    with pytest.raises(EngineUnreachable, match="engine down: no connection"):
        async with even([good, Down(name="down")]):
            raise AssertionError
    assert good.is_closed


async def test_slow_start_beside_a_failing_one():
    """An engine that is still starting when another fails is started to its end, then closed."""
    log = []

    class Slow(ScriptedEngine):
        async def start(self):
            import asyncio

            for _ in range(20):
                await asyncio.sleep(0)
            log.append("started")
            return await super().start()

        async def close(self):
            log.append("closed")

    with pytest.raises(EngineUnreachable):
        async with even([Slow(), Down()]):
            raise AssertionError
    assert log == ["started", "closed"]


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ([], "list of engines is empty"),
        ("", "neither a URL"),
        ("localhost:8000", "neither a URL"),
        ("ftp://x", "expected a URL"),
    ],
)
def test_bad_engines(engine, message):
    """What names no engine is refused."""
    with pytest.raises(ConfigError, match=message):
        Dynasor(engine)


def test_settings_and_engine():
    """An engine named beside settings is the one that is used."""
    dynasor = Dynasor("http://gpu:1", settings=Settings(cap=7))
    assert dynasor.settings.engine == ["http://gpu:1"]
    assert dynasor.settings.cap == 7
    assert [engine.address for engine in dynasor.machine.engines.values()] == ["http://gpu:1"]


def test_settings_and_flags():
    """Settings and single flags together are refused, with the flags."""
    with pytest.raises(ConfigError, match="not both: cap"):
        Dynasor(answers("1"), settings=Settings(), cap=3)


# The journal.


async def test_journal_that_exists(tmp_path):
    """A journal is never written over."""
    path = tmp_path / "j"
    path.write_text("precious")
    with pytest.raises(JournalError, match="exists already"):
        Dynasor(answers("1"), journal=path)
    assert path.read_text() == "precious"


class Full:
    """A file on a disk that is full."""

    def write(self, data):
        raise OSError(28, "No space left on device")

    def close(self):
        pass


async def test_journal_that_cannot_be_written(tmp_path):
    """A journal that breaks midway harms no answer; closing says that it is not whole."""
    dynasor = even(answers("1"), journal=tmp_path / "j")
    await dynasor.__aenter__()
    dynasor.machine._journal._file.close()
    dynasor.machine._journal._file = Full()
    result = await dynasor.run(one("q"))
    assert result.text == boxed(1)
    with pytest.raises(JournalError, match="could not be written to its end: No space left"):
        await dynasor.__aexit__(None, None, None)
