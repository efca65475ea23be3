"""The scheduler under any interleaving of events: what must hold always, and at the end.

`Stage` asserts the protocol itself as it reads the commands: no two live attempts of one call,
one answer and then one bill a program, no call after the bill, one comparison at a time.
"""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from toys.chain_of_thought import ToyChainOfThought
from toys.mcts import ToyMcts
from toys.stage import Stage, catalog, in_order, toy
from toys.words import compare, said

from dynasor.core.calls import ABORTING, RUNNING, WAITING
from dynasor.core.commands import Submit
from dynasor.core.errors import IllegalTransition
from dynasor.core.events import Configured, Finished, Observed, PoolChanged, TimerFired
from dynasor.core.program import Ask, Fork, Sample
from dynasor.core.scheduler import Scheduler
from dynasor.core.types import Generate, PolicySpec, Prompt, Replica, Score, Scored, Usage

WORDS = ["aa", "AA", "Aa", "bb", "BB", "ccc", "none"]


def bomb(self, context):
    """A program that blows up when it reads `ccc`."""

    def branch(self):
        sample = yield Sample(Generate(Prompt(())))
        if sample.text == "ccc":
            raise ZeroDivisionError(sample.text)
        self.knob += 1

    while (units := (yield Ask(2))).knob:
        for _ in range(units.knob):
            yield Fork(branch(self), units.is_speculative)


KINDS = [ToyMcts, ToyChainOfThought, toy(bomb, "bomb")]

good_policies = st.one_of(
    st.builds(
        PolicySpec,
        st.just("even"),
        st.fixed_dictionaries({}, optional={"in_flight": st.integers(1, 5)}),
        st.booleans(),
    ),
    st.builds(
        PolicySpec,
        st.sampled_from(["threshold", "stepwise"]),
        st.fixed_dictionaries({"at": st.sampled_from([0.2, 0.7])}),
        st.booleans(),
    ),
    st.builds(
        PolicySpec,
        st.just("beta"),
        st.fixed_dictionaries(
            {
                "speculative": st.integers(0, 4),
                "in_flight": st.integers(1, 4),
                "order": st.sampled_from(["launch", "finish"]),
                "confidence": st.sampled_from([0.8, 0.95, 1.0]),
            }
        ),
        st.booleans(),
    ),
    st.builds(
        PolicySpec,
        st.just("priced"),
        st.fixed_dictionaries({"price": st.sampled_from([0.001, 1.0, 30.0])}),
        st.booleans(),
    ),
    st.builds(
        PolicySpec,
        st.just("shadow"),
        st.fixed_dictionaries({"policy": st.sampled_from(["threshold", "beta", "priced", "even"])}),
        st.booleans(),
    ),
)
bad_policies = st.sampled_from([PolicySpec("beta", {"confidence": 7}), PolicySpec("none")])
policies = st.one_of(*[good_policies] * 7, bad_policies)
aging_and_patience = st.sampled_from([(0.0, None), *product([0.5, 3.0], [None, None, 4.0])])
configs = st.builds(
    lambda name, aging, **settings: in_order(name, *aging, **settings),
    st.sampled_from(["gang", "gang", "sjf", "app-fifo", "plas", "deadline"]),
    aging_and_patience,
    window_slack=st.sampled_from([0.0, 0.1, 1.0]),
    max_attempts=st.integers(1, 3),
    tokens_per_knob=st.just(5.0),
    seconds_per_token=st.just(0.2),
    has_hints=st.booleans(),
    has_shares=st.booleans(),
    shares=st.sampled_from([{}, {"t": 3.0}]),
)
learnt = st.sampled_from([False, False, True])
draining = st.sampled_from([False, False, False, True])
replicas = st.dictionaries(
    st.sampled_from("abc"),
    st.tuples(st.integers(1, 3), learnt, draining),
    min_size=1,
    max_size=3,
)
pauses = st.sampled_from([0.0, 0.1, 0.3, 1.0, 5.0])


def told(replicas):
    return [(name, *about) for name, about in replicas.items()]


class Machine(RuleBasedStateMachine):
    """Every event a host may send, at any time."""

    @initialize(config=configs, replicas=replicas)
    def start(self, config, replicas):
        self.config, self.first_config = config, config
        self.on = Stage(*KINDS, config=config, slots=0)
        self.pool("generate", replicas)
        self.pool("reward", {"r": (2,)})
        self.seen = len(self.on.log)

    # Programs.

    @rule(
        kind=st.sampled_from(["self-consistency"] * 3 + ["toy-mcts", "toy-chain", "bomb"]),
        policy=policies,
        cap=st.integers(1, 9),
        tenant=st.sampled_from("tu"),
        workload=st.sampled_from("vw"),
        deadline=st.sampled_from([*[None] * 6, 0.5, 4.0, 4.0, 60.0, 60.0, 0.0]),
        affinity=st.sampled_from(["", "", "session", "p0"]),
        after=pauses,
    )
    def arrive(self, kind, policy, cap, tenant, workload, deadline, affinity, after):
        self.on.now += after
        self.on.arrive(
            spec=kind,
            policy=policy,
            params={"question": "q", "task": "words", "cap": cap},
            workload=workload,
            tenant=tenant,
            deadline_seconds=deadline,
            affinity=affinity,
        )

    @precondition(lambda self: self.on.programs)
    @rule(data=st.data())
    def withdraw(self, data):
        self.on.withdraw(f"p{data.draw(st.integers(0, self.on.programs - 1))}")

    # Calls.

    def a_call(self, data):
        return self.on.calls[data.draw(st.integers(0, len(self.on.calls) - 1))]

    @precondition(lambda self: self.on.live)
    @rule(data=st.data(), word=st.sampled_from(WORDS), tokens=st.integers(0, 9), after=pauses)
    def finish(self, data, word, tokens, after):
        self.complete(self.a_call(data), word, tokens, after)

    @precondition(lambda self: self.on.live)
    @rule(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), after=pauses)
    def finish_the_oldest(self, words, after):
        for call, word in zip(self.on.calls, words, strict=False):
            self.look()
            self.complete(call, word, 5, after)

    @precondition(lambda self: len(self.on.live) > 3)
    @rule(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), after=pauses)
    def finish_the_youngest(self, words, after):
        for call, word in zip(reversed(self.on.calls), words, strict=False):
            self.look()
            self.complete(call, word, 5, after)

    def complete(self, call, word, tokens, after=0.0):
        work = self.on.live[call].call.work
        if isinstance(work, Score):
            rewards = tuple(len(word) / 10 for _ in work.items)
            self.on.finish(call, Scored(rewards, Usage(1, tokens)), after=after)
        else:
            self.on.finish(call, said(word, tokens), after=after)

    @precondition(lambda self: self.on.live)
    @rule(
        data=st.data(),
        kind=st.sampled_from(["EngineTimeout", "EngineUnreachable", "EngineBusy", "EngineRefused"]),
        tokens=st.integers(0, 9),
        after=pauses,
    )
    def fail(self, data, kind, tokens, after):
        call = self.a_call(data)
        is_retryable = kind != "EngineRefused"
        self.on.fail(call, kind, is_retryable=is_retryable, tokens=tokens, after=after)

    @precondition(lambda self: self.on.live)
    @rule(data=st.data(), tokens=st.integers(0, 9))
    def cancel_unasked(self, data, tokens):
        self.on.cancel(self.a_call(data), tokens)

    @precondition(lambda self: any(call in self.on.live for call in self.on.aborted))
    @rule(data=st.data(), tokens=st.integers(0, 9), after=pauses)
    def cancel_asked(self, data, tokens, after):
        asked = [call for call in self.on.aborted if call in self.on.live]
        call = asked[data.draw(st.integers(0, len(asked) - 1))]
        self.on.cancel(call, tokens, after)

    @precondition(lambda self: self.streams())
    @rule(data=st.data(), word=st.sampled_from(WORDS))
    def progress(self, data, word):
        streams = self.streams()
        call = streams[data.draw(st.integers(0, len(streams) - 1))]
        self.on.report(call, f" {word}", 4)

    def streams(self):
        return [
            call
            for call, submit in self.on.live.items()
            if isinstance(submit.call.work, Generate) and submit.call.work.report_every
        ]

    @precondition(lambda self: self.on.submits)
    @rule(data=st.data())
    def late(self, data):
        """An event of an attempt that has ended changes nothing."""
        submit = self.on.submits[data.draw(st.integers(0, len(self.on.submits) - 1))]
        live = self.on.live.get(submit.call.id)
        assume(live is None or live.attempt != submit.attempt)
        ignored = self.on.scheduler.ignored
        assert self.on.send(Finished(submit.call.id, submit.attempt, said("aa"))) == []
        assert self.on.scheduler.ignored == ignored + 1

    # Answers, timers.

    @precondition(lambda self: self.on.compares)
    @rule(data=st.data(), failures=st.integers(0, 1))
    def verdict(self, data, failures):
        programs = list(self.on.compares)
        program = programs[data.draw(st.integers(0, len(programs) - 1))]
        self.judge(program, failures)

    def judge(self, program, failures=0):
        asked = self.on.compares[program]
        classes = compare(asked.task, asked.new, asked.representatives)
        self.on.verdict(program, *classes, failures=failures)

    @precondition(lambda self: self.on.timers)
    @rule(data=st.data(), manner=st.sampled_from(["due", "due", "early", "late"]))
    def timer(self, data, manner):
        """Any timer ever set, also one that has fired or is not wanted any more."""
        names = list(self.on.timers)
        name = names[data.draw(st.integers(0, len(names) - 1))]
        due = max(0.0, self.on.timers[name] - self.on.now)
        self.on.fire(name, {"due": due, "early": 0.0, "late": due + 2.0}[manner])

    @rule(seconds=st.sampled_from([0.5, 10.0, 100.0]))
    def wait(self, seconds):
        self.on.send(TimerFired("nobody's"), seconds)

    # The world.

    @rule(
        change=st.one_of(
            st.tuples(st.just("generate"), replicas),
            st.tuples(st.just("reward"), st.sampled_from([{}, {"r": (1,)}, {"r": (3, True)}])),
            configs,
        )
    )
    def change(self, change):
        if isinstance(change, tuple):
            self.pool(*change)
        else:
            self.config = change
            self.on.send(Configured(change))

    def pool(self, name, replicas):
        self.on.send(PoolChanged(name, tuple(Replica(*item) for item in told(replicas))))

    @rule(
        replica=st.sampled_from("abcd"),
        waiting=st.integers(0, 3),
        running=st.integers(0, 3),
        is_healthy=st.sampled_from([True, True, False]),
    )
    def observe(self, replica, waiting, running, is_healthy):
        ignored = self.on.scheduler.ignored
        self.on.send(Observed("generate", replica, waiting, running, is_healthy))
        is_here = replica in self.replicas("generate")
        assert self.on.scheduler.ignored == ignored + (not is_here)
        assert not is_here or is_healthy or self.replicas("generate")[replica].is_paused

    def replicas(self, pool):
        return self.on.scheduler._dispatcher.pools[pool].replicas

    @rule()
    def break_the_protocol(self):
        before = repr(self.on.scheduler), self.on.scheduler.ignored
        with pytest.raises(IllegalTransition):
            self.on.scheduler.handle(TimerFired("x"), self.on.now - 1.0)
        with pytest.raises(IllegalTransition):
            self.on.scheduler.handle(PoolChanged("generate", (Replica("a", 0),)), self.on.now)
        assert (repr(self.on.scheduler), self.on.scheduler.ignored) == before

    # What must hold.

    @invariant()
    def look(self):
        """Look at the latest event's commands and at the state that it left."""
        self.on.check()
        if len(self.on.log) > self.seen:
            sent = [one for one in self.on.log[-1][2] if isinstance(one, Submit)]
            self.windows_hold(sent)
            self.aging_holds(sent)
            self.speculation_holds(sent)
        self.seen = len(self.on.log)
        self.caps_hold()
        self.order_holds()
        self.loads_hold()

    def queues(self, pool):
        return self.on.scheduler._dispatcher.pools[pool].queues()

    def held(self, pool, replica):
        return sum(
            submit.replica == replica and submit.call.pool == pool
            for submit in self.on.live.values()
        )

    def windows_hold(self, sent):
        """No replica that was sent a call holds more than its slots and the slack."""
        for submit in sent:
            replica = self.replicas(submit.call.pool)[submit.replica]
            slots, slack = replica.told.slots, 0
            if replica.told.is_learnt:
                slots = replica.learnt.size
            else:
                slack = -int(-slots * self.config.window_slack // 1)
            assert self.held(submit.call.pool, submit.replica) <= slots + slack
            assert not replica.told.is_draining
            assert not replica.is_paused

    def aging_holds(self, sent):
        """No program started a call while one that crossed before it had a needed one waiting."""
        for submit in sent:
            mine = self.on.run(submit.call.program).demand
            for queue in self.queues(submit.call.pool):
                for waiting in queue:
                    other = waiting.demand
                    if other.crossed_at is None or waiting.is_speculative or other is mine:
                        continue
                    if self.config.has_shares and other.tenant != mine.tenant:
                        continue
                    assert mine.crossed_at is not None
                    assert mine.crossed_at <= other.crossed_at

    def speculation_holds(self, sent):
        """A speculative call starts in a slot, and only when no needed call waits in its pool."""
        for submit in sent:
            if submit.call.is_speculative:
                pool = submit.call.pool
                assert self.held(pool, submit.replica) <= self.replicas(pool)[submit.replica].slots
                needed = [c for q in self.queues(pool) for c in q if not c.is_speculative]
                assert needed == []

    def caps_hold(self):
        """No program has more units than its cap, granted and speculative together."""
        for run in self.on.scheduler._runs.values():
            assert run.program.knob <= run.units.granted + run.units.speculative <= run.units.cap
        for answer in self.on.answers.values():
            assert answer.knob <= answer.cap

    def loads_hold(self):
        """What a pool counts as held, waiting and speculative is what is there."""
        calls = [call for _, call in self.on.scheduler._dispatcher.calls.values()]
        for name, pool in self.on.scheduler._dispatcher.pools.items():
            held = [c for c in calls if c.call.pool == name and c.phase in (RUNNING, ABORTING)]
            waiting = [c for c in calls if c.call.pool == name and c.phase is WAITING]
            speculative = [c for c in (*held, *waiting) if c.is_speculative]
            counted = (pool.held, pool.waiting, pool.speculative)
            assert counted == (len(held), len(waiting), len(speculative))

    def order_holds(self):
        """What waits stands in the order of the keys as they are now (crossed ones apart)."""
        ordering = self.on.scheduler._ordering
        for pool in self.on.scheduler._dispatcher.pools:
            for queue in self.queues(pool):
                for call in queue:  # a queue that was not looked at lately ranks as of then
                    call.demand.as_of = queue._now
                ranks = [
                    (call.is_speculative, ordering.key(call.demand), call.demand.number)
                    for call in queue
                    if call.demand.crossed_at is None
                ]
                assert ranks == sorted(ranks)

    def teardown(self):
        if not hasattr(self, "on"):
            return
        self.pool("generate", {"a": (3,), "z": (1,)})
        self.pool("reward", {"r": (1,)})
        for _ in range(400):
            self.drain_a_little()
            if not self.on.scheduler._runs:
                break
        self.everything_has_ended()
        self.replay_gives_the_same()

    def drain_a_little(self):
        for program in list(self.on.compares):
            self.judge(program)
        for call in self.on.calls:
            self.complete(call, "bb", 5, 0.1)
        for name in [name for name in self.on.timers if not name.startswith("deadline")]:
            self.on.fire(name)
            del self.on.timers[name]

    def everything_has_ended(self):
        """Nothing is lost: each program has its answer and its bill, nothing runs or waits."""
        names = {f"p{number}" for number in range(self.on.programs)}
        assert set(self.on.answers) == set(self.on.bills) == names
        for answer in self.on.answers.values():
            assert answer.error_kind != "ProgramFailed" or "ZeroDivisionError" in answer.error
        assert self.on.live == {}
        assert self.on.scheduler._dispatcher.calls == {}
        for pool in self.on.scheduler._dispatcher.pools.values():
            assert pool.gone == {}
            assert pool._homes == {}
            assert all(replica.held == 0 for replica in pool.replicas.values())
            assert all(len(queue) == 0 for queue in pool.queues())
        scheduler = self.on.scheduler
        assert [name for name in scheduler._outbox._timers if not name.startswith("resume")] == []
        assert scheduler._forecasts.fresh == 0
        calls = [submit.call.id for submit in self.on.submits if submit.attempt == 1]
        assert len(calls) == len(set(calls)), "started twice"
        self.on.check()

    def replay_gives_the_same(self):
        """The same events give a fresh scheduler the same commands."""
        fresh = Scheduler(self.first_config, catalog(*KINDS))
        for now, event, commands in self.on.log:
            assert fresh.handle(event, now) == commands
        assert fresh.ignored == self.on.scheduler.ignored


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=120,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
