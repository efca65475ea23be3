from __future__ import annotations

import asyncio
import multiprocessing

import pytest

from dynasor.core.errors import ConfigError, DynasorError, UnknownName
from dynasor.workers import Workers
from dynasor.workers.verdicts import Verdict
from dynasor.workers.worker import Worker

LIMIT_SECONDS = 0.5


def now():
    """Seconds on the event loop's clock."""
    return asyncio.get_running_loop().time()


@pytest.fixture
def no_process(monkeypatch):
    """Fail the test as soon as a pair is sent to a process."""

    async def judge(self, task, pairs):
        raise AssertionError(f"a process was asked about {pairs}")

    monkeypatch.setattr(Worker, "judge", judge)


@pytest.mark.usefixtures("no_process")
class TestAtSight:
    async def test_numbers_and_equal_strings_need_no_process(self):
        """What a task decides at sight never leaves the event loop."""
        async with Workers() as workers:
            classes = await workers.compare(
                "math", ("5", "\\sqrt{2}"), ("5.0", "\\sqrt{2}", "10/2")
            )
            assert classes == ((0, 1, 0), 0)

    async def test_a_match_at_sight_spares_the_undecided(self):
        """An answer equal to a known one is not compared with others first."""
        async with Workers() as workers:
            classes = await workers.compare("math", ("x+1", "y", "5"), ("y", "5.0"))
            assert classes == ((1, 2), 0)

    async def test_one_index_a_class(self):
        """New answers that belong together all carry their founder's index."""
        async with Workers() as workers:
            answers = ("A", "B", "A", "(b)", "C", "B")
            assert await workers.compare("choice", ("C",), answers) == ((1, 2, 1, 2, 0, 2), 0)

    async def test_nothing_new_is_no_work(self):
        """An empty request has an empty answer."""
        async with Workers() as workers:
            assert await workers.compare("math", ("1",), ()) == ((), 0)

    async def test_overlong_answers_equal_their_own_text_only(self):
        """An answer beyond the limit is compared as a string, whatever its task."""
        long = "x+" * 1_500
        async with Workers() as workers:
            assert await workers.compare("math", (long,), (long, long + "1")) == ((0, 2), 0)
            assert await workers.grade("math", "?", long, long)
            assert not await workers.grade("math", "?", long, "5x")

    async def test_grades_at_sight(self):
        """Numbers, letters, expressions and missing answers are graded at once."""
        async with Workers() as workers:
            assert await workers.grade("math", "?", "1,000", "1000")
            assert await workers.grade("expression", "1 1 4 6", "4*6*1*1", "24")
            assert not await workers.grade("choice", "?", "A", "B")
            assert not await workers.grade("math", "?", None, "x")


@pytest.mark.parametrize(("processes", "seconds"), [(0, 5.0), (1, 0.0), (1, float("nan"))])
def test_refuses_impossible_settings(processes, seconds):
    """A setting out of range is refused by name."""
    with pytest.raises(ConfigError, match=r"processes|seconds_limit"):
        Workers(processes, seconds)


async def test_refuses_an_unknown_task():
    """A task that nobody registered is named together with those that exist."""
    async with Workers() as workers:
        with pytest.raises(UnknownName, match="did you mean 'math'"):
            await workers.compare("maths", (), ("1",))
        with pytest.raises(UnknownName):
            await workers.grade("maths", "?", "1", "1")


async def test_close_without_use_and_twice():
    """Closing is harmless before the first use and after the last."""
    workers = Workers(processes=3)
    await workers.close()
    await workers.close()


async def test_remembers_pairs_in_either_order(monkeypatch):
    """A verdict is asked for once, whichever of the two answers came first."""
    asked = []

    async def judge(self, task, pairs):
        asked.extend(pairs)
        return [Verdict.DIFFERENT for _ in pairs]

    monkeypatch.setattr(Worker, "judge", judge)
    async with Workers() as workers:
        await workers.compare("math", ("x",), ("y",))
        await workers.compare("math", ("y",), ("x",))
    assert len(asked) == 1


@pytest.mark.process
class TestInProcesses:
    async def test_mathematics(self):
        """Formulas are compared as mathematics, also from beside the event loop's thread."""
        async with Workers(seconds_limit=20.0) as workers:
            representatives = ("\\sqrt{117}", "x^2-1")
            new = ("3\\sqrt{13}", "(x-1)(x+1)", "\\frac{\\pi}{2}", "90^\\circ \\text{x}", "\\pi/2")
            classes = await workers.compare("math", representatives, new)
            assert classes == ((0, 1, 4, 5, 4), 0)
            assert await workers.grade("math", "?", "\\{2, 1\\}", "\\{1,2\\}")
            assert not await workers.grade("math", "?", "\\sqrt{3}", "\\sqrt{2}")

    async def test_monstrous_powers_cost_their_limit(self, faulty):
        """Numbers too large to compute are different from others, and the rest is judged."""
        monsters = ("10^{10^{10}}", "9^{9^{9^{9}}}", "(10^{10^{9}})!")
        async with Workers(seconds_limit=1.0, registry=faulty.reckless) as workers:
            for monster in monsters:
                classes, failures = await workers.compare("reckless", ("x+x",), (monster, "2x"))
                assert classes == (1, 0)
                assert failures <= 1  # or computer algebra has given up in time

    async def test_any_text_is_an_answer(self):
        """No text makes a worker fail, and each equals itself."""
        texts = ("\x00+1", "\ud800+x", "тринадцать", "十三", "{{{", "\\frac{", "\\", "🂡 \u202e")
        async with Workers(seconds_limit=20.0) as workers:
            classes = await workers.compare("math", (*texts, "x+1"), ("1+x", *texts))
            assert classes == ((len(texts), *range(len(texts))), 0)

    @pytest.mark.parametrize("trap", ["hang", "exit", "segfault", "raise", "quit"])
    async def test_a_failure_costs_its_own_pair_only(self, trap, faulty):
        """A comparison that hangs or dies is different and counted; the others are decided."""
        async with Workers(seconds_limit=LIMIT_SECONDS, registry=faulty.registry) as workers:
            new = (trap, "ba", "dc", "e")
            classes, failures = await workers.compare("faulty", ("ab", "cd"), new)
            assert classes == (2, 0, 1, 5)
            # The trap against both representatives, and the last answer against the trap.
            assert failures == 3

    @pytest.mark.parametrize("trap", ["deaf", "leave"])
    async def test_a_process_gone_silent_is_replaced(self, trap, faulty):
        """The parent ends what escaped the process's own alarm."""
        async with Workers(seconds_limit=LIMIT_SECONDS, registry=faulty.registry) as workers:
            assert await workers.compare("faulty", (trap,), ("ab",)) == ((1,), 1)
            assert await workers.compare("faulty", ("ab",), ("ba",)) == ((0,), 0)

    async def test_a_failure_is_remembered(self, faulty):
        """A stuck pair costs its limit once, and counts as a failure every time."""
        async with Workers(seconds_limit=LIMIT_SECONDS, registry=faulty.registry) as workers:
            assert await workers.compare("faulty", ("hang",), ("ab",)) == ((1,), 1)
            begin = now()
            assert await workers.compare("faulty", ("ab",), ("hang",)) == ((1,), 1)
            assert now() - begin < LIMIT_SECONDS / 2

    async def test_a_stuck_grade_is_wrong(self, faulty):
        """An answer that cannot be graded in time is not right."""
        async with Workers(seconds_limit=LIMIT_SECONDS, registry=faulty.registry) as workers:
            assert not await workers.grade("faulty", "?", "hang", "ab")
            assert await workers.grade("faulty", "?", "ba", "ab")

    async def test_no_process_means_failures_not_silence(self, faulty):
        """Where no process can start, every undecided pair is a failure, tried again later."""
        async with Workers(registry=faulty.stillborn) as workers:
            assert await workers.compare("faulty", ("ab", "cd"), ("ba",)) == ((2,), 2)
            assert len(workers._verdicts) == 0

    async def test_cancelling_ends_the_comparison_and_nothing_else(self, faulty):
        """A cancelled request returns at once; the next one gets a fresh process."""
        async with Workers(seconds_limit=60.0, registry=faulty.registry) as workers:
            await workers.compare("faulty", ("ab",), ("cd",))
            stuck = asyncio.create_task(workers.compare("faulty", ("hang",), ("ab",)))
            await asyncio.sleep(0.3)
            begin = now()
            stuck.cancel()
            with pytest.raises(asyncio.CancelledError):
                await stuck
            assert now() - begin < 1.0
            assert await workers.compare("faulty", ("ab",), ("ba",)) == ((0,), 0)

    async def test_cancelling_while_the_process_starts(self, faulty):
        """A request cancelled before its process is up leaves no process behind."""
        async with Workers(registry=faulty.registry) as workers:
            starting = asyncio.create_task(workers.compare("faulty", ("cd",), ("ab",)))
            await asyncio.sleep(0)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting

    @pytest.mark.parametrize("delay_seconds", [0.0, 0.01, 1.5])
    async def test_close_while_busy(self, delay_seconds, faulty):
        """Closing ends what is under way and what waits behind it, with an error that says so."""
        workers = Workers(seconds_limit=60.0, registry=faulty.registry)
        stuck = [
            asyncio.create_task(workers.compare("faulty", ("hang",), (f"ab{number}",)))
            for number in range(3)
        ]
        await asyncio.sleep(delay_seconds)
        begin = now()
        await workers.close()
        for task in stuck:
            with pytest.raises(DynasorError, match="closed"):
                await task
        assert now() - begin < 5.0
        assert multiprocessing.active_children() == []

    async def test_many_requests_at_once(self, faulty):
        """Concurrent requests share the processes, and each gets its own verdicts."""
        async with Workers(processes=2, registry=faulty.registry) as workers:
            requests = [
                workers.compare("faulty", (f"{number}ab", "zz"), (f"ba{number}", "x"))
                for number in range(50)
            ]
            assert await asyncio.gather(*requests) == [((0, 3), 0)] * 50

    async def test_the_event_loop_stays_free(self, faulty):
        """Starting, killing and closing processes block the event loop for no time that counts."""
        gaps = []

        async def tick():
            while True:
                begin = now()
                await asyncio.sleep(0.01)
                gaps.append(now() - begin)

        ticking = asyncio.create_task(tick())
        async with Workers(seconds_limit=LIMIT_SECONDS, registry=faulty.registry) as workers:
            await workers.compare("faulty", ("hang",), ("ab", "ba"))
        ticking.cancel()
        assert max(gaps) < 0.5
