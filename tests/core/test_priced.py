from __future__ import annotations

from math import inf

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.policies import votes_of
from toys.stage import catalog, in_order
from toys.words import compare, said

from dynasor.core.allocation import Grant, Lock, Priced, Stop, View, make_policy, policies
from dynasor.core.errors import ConfigError
from dynasor.core.events import Arrived, Event
from dynasor.core.scheduler import Scheduler
from dynasor.core.types import PolicySpec, ProgramSpec
from dynasor.sim import Outcome, SimpleEngine, VirtualHost

SLOTS = 100
GROUPS = st.lists(st.sampled_from([0, 0, 0, 1, 2, None]), max_size=19)
LOADS = st.floats(0.0, 40.0)


def seen(*groups, load=0.0, cap=20, running=0, tokens=200, rounds=inf, slots=SLOTS):
    """A program that voted so, each branch of so many tokens, while others make a load."""
    knob = len(groups)
    votes = votes_of(*groups)
    busy = round(load * slots)
    return View(cap, knob + running, 0, knob, {}, votes, knob * tokens, busy, slots, rounds)


# What it costs.


@given(groups=GROUPS, load=st.floats(0.0, 0.5))
def test_free_when_slots_idle(groups, load):
    """Where slots idle nothing but the cap stops a program, however settled or hopeless."""
    decision = Priced(price=1e9).decide(seen(*groups, load=load))
    assert isinstance(decision, Grant)
    assert decision.needed > 0


@given(groups=GROUPS, low=LOADS, high=LOADS, tokens=st.integers(1, 5000))
def test_monotone_in_load(groups, low, high, tokens):
    """Who stops at one load stops at every higher one."""
    low, high = sorted((low, high))
    stops = [
        isinstance(Priced().decide(seen(*groups, load=load, tokens=tokens)), Stop)
        for load in (low, high)
    ]
    assert stops != [True, False]


@given(groups=GROUPS, load=LOADS, few=st.integers(1, 3000), many=st.integers(1, 3000))
def test_long_branches_cost_more(groups, load, few, many):
    """Who stops with short branches stops with longer ones."""
    stops = [
        isinstance(Priced().decide(seen(*groups, load=load, tokens=tokens)), Stop)
        for tokens in sorted((few, many))
    ]
    assert stops != [True, False]


def test_settled_hopeless_and_close():
    """At one price the settled and the hopeless stop, those that are close go on."""
    load = {"load": 3.0, "cap": 40, "tokens": 400}
    assert Priced().decide(seen(*[0] * 6, **load)) == Stop("price", 0)
    assert Priced().decide(seen(*range(16), **load)) == Stop("price", 0)
    assert Priced().decide(seen(0, 1, 0, 1, 0, 1, **load)) == Grant(4)


def test_nothing_is_known_before_the_second_vote():
    """However dear, a program gets its second vote."""
    assert Priced().decide(seen(load=1e4)) == Grant(4)
    assert Priced().decide(seen(0, load=1e4)) == Grant(4)
    assert Priced().decide(seen(0, 0, load=1e4)) == Stop("price", 0)


def test_tokens_that_nobody_counts_cost_nothing():
    """With an engine that reports no tokens only the cap and the lock stop."""
    assert Priced().decide(seen(*[0] * 9, load=9.0, tokens=0)) == Grant(4)


def test_the_load_by_hand():
    """A load set by hand replaces the present one, and the slots say nothing then."""
    idle, busy = seen(0, 0, 0, load=0.0), seen(0, 0, 0, load=50.0)
    assert Priced(load=3.0).decide(idle) == Stop("price", 0)
    assert Priced(load=3.0).decide(seen()) == Grant(4)
    assert Priced(load=0.2).decide(busy) == Grant(17)


# What runs at once.


@pytest.mark.parametrize(("load", "wide"), [(0.0, 20), (0.9, 5), (0.95, 4), (1.0, 4), (7.0, 4)])
def test_width(load, wide):
    """A program takes idle slots: all of them where tokens are free, else half of them."""
    assert Priced().decide(seen(load=load)) == Grant(wide)


def test_a_lone_program_takes_all_slots():
    """Free slots bound the width: one's own calls need not queue."""
    assert Priced().decide(seen(slots=8)) == Grant(8)
    assert Priced(in_flight=2).decide(seen(0, running=7, slots=8)) == Grant(1)
    assert Priced(in_flight=None).decide(seen(slots=8, load=3.0)) == Grant(20)


# Deadlines.


def test_dearer_before_a_deadline():
    """Who would miss a deadline pays more; who has time does not."""
    groups, at = [0, 0, 0, 1, 0], {"load": 1.0, "tokens": 300, "cap": 20}
    assert Priced().decide(seen(*groups, **at)) == Grant(4)
    assert Priced().decide(seen(*groups, **at, rounds=9.0)) == Grant(4)
    assert Priced().decide(seen(*groups, **at, rounds=1.0)) == Stop("price", 0)


def test_early_crowds_are_cheap():
    """With time enough for everybody a crowd costs less than it would without deadlines."""
    groups, at = [0, 0, 0, 1, 0], {"load": 4.0, "tokens": 300, "cap": 20}
    assert Priced().decide(seen(*groups, **at)) == Stop("price", 0)
    assert Priced().decide(seen(*groups, **at, rounds=40.0)) == Grant(4)


def test_the_last_round_is_wide():
    """When no second round fits, the block of branches that is worth most may run at once."""
    close = [0, 0, 0, 1, 0, 2, 0]
    at = {"load": 1.0, "tokens": 10, "cap": 60}
    cheap = Priced(price=1e-9)
    assert cheap.decide(seen(*close, **at, rounds=9.0)) == Grant(4)
    assert cheap.decide(seen(*close, **at, rounds=1.5)).needed > 4


def test_too_late_to_start():
    """Half a round before its deadline a program waits for what runs, and then stops."""
    late = {"load": 0.0, "rounds": 0.4}
    assert Priced().decide(seen(0, 1, running=2, **late)) == Grant(0)
    assert Priced().decide(seen(0, 1, **late)) == Stop("late", 0)
    assert Priced().decide(seen(**late)) != Stop("late"), "without an answer it tries"
    assert isinstance(Priced().decide(seen(None, **late)), Grant)


# Whatever happens.


@given(
    groups=GROUPS,
    load=LOADS,
    running=st.integers(0, 5),
    rounds=st.one_of(st.just(inf), st.floats(-5.0, 50.0)),
    width=st.one_of(st.none(), st.integers(1, 9)),
    order=st.sampled_from(["launch", "finish"]),
)
def test_never_hangs(groups, load, running, rounds, width, order):
    """It stops, or something runs; it never grants beyond the cap."""
    now = seen(*groups, load=load, running=min(running, 20 - len(groups)), rounds=rounds)
    for policy in (Priced(in_flight=width, order=order), Lock(Priced(in_flight=width))):
        decision = policy.decide(now)
        if isinstance(decision, Grant):
            assert now.knob < now.granted + decision.needed <= now.cap
        else:
            assert decision.winner in (*groups, None)


@given(groups=GROUPS, load=LOADS)
def test_pure(groups, load):
    """The same view gives the same decision, whatever was asked before."""
    first = Priced().decide(seen(*groups, load=load))
    Priced().decide(seen(0, 1, 2, load=3.0))
    assert Priced().decide(seen(*groups, load=load)) == first


def test_the_lock_goes_first():
    """A leader that cannot be overtaken is a reason of its own, where tokens are free too."""
    locked = seen(*[0] * 11, load=0.0)
    assert Lock(Priced()).decide(locked) == Stop("locked", 0)
    assert Priced().decide(locked) == Grant(9)


def test_weighted_votes():
    """Weights count as parts of the largest possible one."""
    full, half = ([(0, weight)] * 4 + [(1, weight)] * 2 for weight in (3.0, 1.5))
    looks = [
        Priced(price=0.004).decide(
            View(40, 6, 0, 6, {}, votes_of(*votes, max_weight=3.0), 600, SLOTS, SLOTS)
        )
        for votes in (full, half)
    ]
    assert looks[0] == Priced(price=0.004).decide(
        seen(0, 0, 0, 0, 1, 1, load=1, cap=40, tokens=100)
    )
    assert looks[1] == Priced(price=0.004).decide(
        seen(0, 0, 1, *[None] * 3, load=1, cap=40, tokens=100)
    )


def test_needs_votes():
    """A program that does not vote is refused."""
    with pytest.raises(ConfigError, match="'priced' needs votes"):
        Priced().decide(View(20, 0, 0, 0, {}, None))


@pytest.mark.parametrize(
    "params",
    [{"price": -1}, {"free": 1.0}, {"steepness": 9}, {"in_flight": 0}, {"load": -0.5}, {"cost": 1}],
)
def test_wrong_parameters(params):
    """A parameter out of range or unknown is refused by name."""
    with pytest.raises(ConfigError, match=next(iter(params))):
        make_policy(PolicySpec("priced", params), policies())


# With a scheduler, where the load is real.

CAP = 32
KINDS = ("settled", "close", "hopeless")


def words(call, attempt):
    """What branches say: all the same, two answers in turn, or something else each time."""
    number = int(call.id.rpartition("#")[2])
    word = {
        "settled": "aaaa",
        "close": "aaaa" if number % 2 else "bbbb",
        "hopeless": "".join("abcdefgh"[int(digit)] for digit in f"{number:04o}"),
    }[call.program.partition("-")[0]]
    return Outcome(said(f"so {word}", 200), 200)


PRICED = PolicySpec("priced", {}, False)


def crowd(each, slots=32, **arrival):
    """So many programs of every kind at once, with branches of one second each."""
    host = VirtualHost(Scheduler(in_order("gang"), catalog()), words, compare, has_log=True)
    host.add_pool("generate", {"e": SimpleEngine(slots, 200.0)})
    spec = ProgramSpec("self-consistency", {"question": "q", "task": "words", "cap": CAP})
    for number in range(each):
        for kind in KINDS:
            host.at(0.01 * number, Arrived(f"{kind}-{number}", spec, PRICED, **arrival))
    host.run()
    host.scheduler.validate()
    return host


def mean_knob(host, kind):
    """Branches that programs of one kind settled, on average."""
    knobs = [one.knob for name, one in host.answers.items() if name.startswith(kind)]
    return sum(knobs) / len(knobs)


def test_alone_it_is_even():
    """A program alone on its slots goes on to its cap, in as few rounds as fit."""
    spec = ProgramSpec("self-consistency", {"question": "q", "task": "words", "cap": CAP})
    host = VirtualHost(Scheduler(in_order(), catalog()), words, compare)
    host.add_pool("generate", {"e": SimpleEngine(8, 200.0)})
    host.at(0.0, Arrived("settled-0", spec, PRICED))
    host.run()
    assert host.answers["settled-0"].reason == "cap"
    assert host.answered_at["settled-0"] == CAP / 8
    assert host.bills["settled-0"].spending.aborted_tokens == 0


def test_under_load_tokens_move():
    """In a crowd settled programs spend least, and hopeless ones stop well before their cap."""
    host = crowd(30)
    settled, close, hopeless = (mean_knob(host, kind) for kind in KINDS)
    assert settled < 5
    assert close > 1.4 * settled
    assert hopeless < CAP / 2
    assert len(host.bills) == 90


def test_the_more_the_cheaper():
    """The greater the crowd, the fewer branches a program takes."""
    spent = [
        sum(one.spending.completion_tokens for one in host.bills.values()) / len(host.bills)
        for host in map(crowd, (1, 8, 60))
    ]
    assert spent[0] > spent[1] > spent[2]


def test_a_replay_decides_alike():
    """The journal of a crowd gives a fresh scheduler's commands in the same order."""
    host = crowd(8, deadline_seconds=2.5)
    assert {one.reason for one in host.answers.values()} & {"late", "deadline"}
    fresh = Scheduler(in_order("gang"), catalog())
    encoder, decoder = msgspec.json.Encoder(), msgspec.json.Decoder(tuple[float, Event])
    for at, told, commands in host.log:
        now, event = decoder.decode(encoder.encode((at, told)))
        assert fresh.handle(event, now) == commands


def test_deadlines_are_met():
    """In a crowd with deadlines, programs that have an answer end before their time is up."""
    host = crowd(8, deadline_seconds=12.0)
    ended = [one.reason for one in host.answers.values()]
    assert ended.count("deadline") < len(ended) / 4
