"""Weighted shares: whose turn it is among tenants, and what stays as it was within one."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.stage import EVEN, catalog, in_order
from toys.words import compare, said

from dynasor.core.commands import Submit
from dynasor.core.config import SchedulerConfig
from dynasor.core.errors import ConfigError
from dynasor.core.events import Arrived, Configured
from dynasor.core.promise import PromiseWatch
from dynasor.core.scheduler import Scheduler
from dynasor.core.shares import Shares
from dynasor.core.types import PolicySpec, ProgramSpec
from dynasor.sim import Outcome, SimpleEngine, VirtualHost

ONE_AT_A_TIME = PolicySpec("even", {"in_flight": 1}, has_lock=False)
LONGEST = 40


def shared(ordering="app-fifo", aging_factor=0.0, weights=None, **rest):
    return in_order(ordering, aging_factor, has_shares=True, shares=weights or {}, **rest)


class Crowd:
    """Tenants with more to do than there is time for, on engines of four slots each."""

    def __init__(self, config, tenants, seed, engines=1, programs=30, policies=(EVEN,)):
        random = Random(seed)
        self.served = dict.fromkeys(tenants, 0)
        self.tenant_of = {}

        def model(call, attempt):
            tokens = random.randint(1, LONGEST)
            return Outcome(said("so x", tokens), tokens)

        self.scheduler = Scheduler(config, catalog())
        self.watch = PromiseWatch(self.scheduler)
        self.host = VirtualHost(self.scheduler, model, compare, has_log=True, watch=self.see)
        engines = {f"e{number}": SimpleEngine(4, 10.0) for number in range(engines)}
        self.host.add_pool("generate", engines)
        for number in range(programs * len(tenants)):
            tenant = tenants[number % len(tenants)]
            self.tenant_of[f"p{number}"] = tenant
            params = {"question": "q", "task": "words", "cap": random.randint(4, 20)}
            spec = ProgramSpec("self-consistency", params)
            self.host.at(0.0, Arrived(f"p{number}", spec, random.choice(policies), tenant=tenant))

    def see(self, event, commands, now):
        self.watch.see(commands, now)
        output = getattr(event, "output", None)
        if output is not None:
            program = event.call.split("#")[0]
            self.served[self.tenant_of[program]] += output.usage.completion_tokens

    def started(self):
        return [
            one.call.id
            for _, _, commands in self.host.log
            for one in commands
            if isinstance(one, Submit)
        ]


weights_of_tenants = st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0, 7.5]), min_size=2, max_size=5)


@settings(max_examples=25)
@given(
    weights=weights_of_tenants,
    seed=st.integers(0, 10**6),
    ordering=st.sampled_from(["gang", "sjf"]),
)
def test_service_follows_weights(weights, seed, ordering):
    """Tenants that wait all the time are served in proportion to their weights (SFQ, theorem 1)."""
    named = {f"t{number}": weight for number, weight in enumerate(weights)}
    config = shared(ordering, weights=named, tokens_per_knob=float(LONGEST))
    crowd = Crowd(config, list(named), seed, programs=20)
    for seconds in (10.0, 30.0, 60.0):  # too few for anybody to run out of work
        crowd.host.run(until=seconds)
        normal = [crowd.served[tenant] / named[tenant] for tenant in named]
        running = (4 + 1) * LONGEST  # at most, for each of two tenants
        assert max(normal) - min(normal) <= 2 * running / min(weights)
    assert min(crowd.served.values()) > 0


def test_ratio_in_the_long_run():
    """Three to one, after a thousand calls, is three to one."""
    crowd = Crowd(shared("gang", weights={"a": 3.0}), ["a", "b"], seed=1, programs=200)
    crowd.host.run(until=600.0)
    assert crowd.served["a"] / crowd.served["b"] == pytest.approx(3.0, rel=0.03)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    ordering=st.sampled_from(["app-fifo", "gang", "sjf", "plas"]),
    engines=st.integers(1, 3),
    factor=st.sampled_from([0.0, 0.3]),
)
def test_one_tenant(seed, ordering, engines, factor):
    """With one tenant the commands are those without shares."""
    policies = [EVEN, PolicySpec("beta", {"in_flight": 2, "speculative": 2})]
    plain, fair = (
        Crowd(config, ["a"], seed, engines, policies=policies)
        for config in (in_order(ordering, factor), shared(ordering, factor))
    )
    plain.host.run()
    fair.host.run()
    assert [commands for *_, commands in fair.host.log] == [
        commands for *_, commands in plain.host.log
    ]


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    ordering=st.sampled_from(["gang", "sjf", "plas", "deadline"]),
    engines=st.integers(1, 3),
)
def test_the_promise_within_a_tenant(seed, ordering, engines):
    """Among the programs of one tenant the aging promise holds, on any number of replicas."""
    config = shared(ordering, 0.3, {"b": 2.0}, tokens_per_knob=20.0, seconds_per_token=0.1)
    policies = [EVEN, ONE_AT_A_TIME, PolicySpec("beta", {"in_flight": 2, "speculative": 2})]
    crowd = Crowd(config, ["a", "b", "c"], seed, engines, programs=12, policies=policies)
    crowd.host.run()
    crowd.scheduler.validate()
    assert crowd.watch.stories == []
    assert crowd.watch.crossings > 0


def test_turns(stage):
    """Each free slot goes to the tenant that has had least, whoever came first."""
    on = stage(config=shared(), slots=1)
    for tenant in "aab":
        on.arrive(cap=2, tenant=tenant)
    tenants = {"p0": "a", "p1": "a", "p2": "b"}
    on.drain()
    assert "".join(tenants[program] for program in on.started()) == "abab" + "aa"


def test_no_credit_for_being_idle(stage):
    """A tenant that was away is level with those who worked, not ahead by what they had."""
    on = stage(config=shared(), slots=1)
    on.arrive("busy", cap=20, tenant="a")
    for _ in range(10):
        on.finish(on.calls[0])
    on.arrive("late", cap=20, tenant="b")
    for _ in range(8):
        on.finish(on.calls[0])
    since = on.started()[11:]
    assert since == ["late", "busy"] * 4


def test_weights_may_change(stage):
    """New weights count from now on; what was had stays had."""
    on = stage(config=shared(), slots=1)
    on.arrive("x", cap=20, tenant="a")
    on.arrive("y", cap=20, tenant="b")
    for _ in range(6):
        on.finish(on.calls[0])
    on.send(Configured(shared(weights={"b": 3.0})))
    for _ in range(12):
        on.finish(on.calls[0])
    assert on.started()[-12:].count("y") == 9


def test_shares_on_and_off(stage):
    """Shares may be switched while calls run and wait: nothing is lost, and the books are right."""
    on = stage(config=in_order(), slots=2)
    for tenant in "aab":
        on.arrive(cap=4, tenant=tenant)
    on.send(Configured(shared()))
    on.check()
    pool = on.scheduler.dispatcher.pools["generate"]
    assert pool.shares._of("a").running == 2
    on.finish(on.calls[0])
    assert on.started()[-1] == "p2", "what runs already counts"
    on.send(Configured(in_order()))
    on.check()
    assert pool.shares is None
    on.drain()
    assert len(on.bills) == 3
    assert repr(pool._line) == "<Line of 0 calls>"


def test_speculative_calls_of_all_wait_for_needed_ones_of_all(stage):
    """A tenant with little service has no speculative call run before another's needed ones."""
    speculative = PolicySpec("beta", {"in_flight": 1, "speculative": 2, "confidence": 1.0}, False)
    on = stage(config=shared(), slots=1)
    on.arrive("spec", cap=3, policy=speculative, tenant="a")
    on.arrive("need", cap=6, policy=EVEN, tenant="b")
    while "need" not in on.answers:
        on.finish(on.calls[0])
    last = max(place for place, one in enumerate(on.submits) if one.call.program == "need")
    assert not any(one.call.is_speculative for one in on.submits[:last])
    on.drain()


def test_many_tenants_that_go(stage):
    """Lines and accounts of tenants that are gone do not pile up."""
    on = stage(config=shared(), slots=2)
    for number in range(1000):
        on.arrive(cap=1, tenant=f"t{number}")
        on.drain()
    pool = on.scheduler.dispatcher.pools["generate"]
    assert len(pool._lines) < 200
    assert len(pool.shares._accounts) < 200


# The accounts alone.


def test_a_running_call_counts_as_its_tenants_mean():
    """Until it ends a call counts with what the tenant's calls came to, then with what it took."""
    shares = Shares({"a": 2.0}, tokens=100.0)
    shares.begin("a")
    shares.begin("b")
    assert shares.in_turn(["a", "b"]) == ["a", "b"]
    assert repr(shares) == "<Shares {'a': 50.0, 'b': 100.0}>"
    shares.end("b", 10)
    assert shares.in_turn(["a", "b"]) == ["b", "a"]


def test_a_call_without_tokens_is_not_free():
    """A call that reports no tokens counts one."""
    shares = Shares({}, tokens=100.0)
    shares.begin("a")
    shares.end("a", 0)
    assert shares.in_turn(["a", "b"]) == ["b", "a"]


def test_one_that_had_more_is_not_forgotten():
    """A tenant that went away ahead of the others has not gained when it comes back."""
    shares = Shares({}, tokens=10.0)
    for tenant, calls in (("here", 1), ("ahead", 5), ("behind", 1), ("here", 3)):
        shares.arrive(tenant, ["here"])
        for _ in range(calls):
            shares.begin(tenant)
            shares.end(tenant, 10)
    assert shares.forget_idle(["here"]) == ["behind"]


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan")])
def test_weights_that_cannot_be(weight):
    """A weight must be a positive number."""
    with pytest.raises(ConfigError, match="shares is out of range"):
        SchedulerConfig(shares={"a": weight})
