from __future__ import annotations

import os

import pytest

from dynasor.workers.cell import Reporter, judge, verdict
from dynasor.workers.walls import Refused


class Rehearsed:
    """A cell whose attempts are known beforehand."""

    def __init__(self, *attempts):
        self.attempts = list(attempts)
        self.starts = []

    def attempt(self, job, first):
        self.starts.append(first)
        return self.attempts.pop(0)


def job(checks):
    return {"setup": ["x = 1"], "checks": ["pass"] * checks}


DONE = ("failed", "ended")
LATE = ("timeout", "ran out of time")
PASSED = ("passed", "")


def test_all_checks_in_one_process():
    """Checks that are all reported take one attempt; the first failure is the job's."""
    cell = Rehearsed((True, [PASSED, ("failed", "one"), ("memory", "two")], DONE))
    result = {"status": "failed", "detail": "one", "passed": [True, False, False]}
    assert judge(job(3), cell) == result
    assert cell.starts == [0]


def test_a_stuck_check_costs_itself():
    """The checks after the one that ended its process run in the next."""
    cell = Rehearsed((True, [PASSED], LATE), (True, [PASSED, PASSED], DONE))
    result = {"status": "timeout", "detail": LATE[1], "passed": [True, False, True, True]}
    assert judge(job(4), cell) == result
    assert cell.starts == [0, 2]


def test_three_stuck_checks_end_a_job():
    """After the third stuck check the others fail without being run."""
    cell = Rehearsed(*[(True, [], LATE)] * 3)
    assert judge(job(9), cell)["passed"] == [False] * 9
    assert cell.starts == [0, 1, 2]


@pytest.mark.parametrize("reports", [[], [("failed", "NameError")]])
def test_a_setup_that_fails_fails_every_check(reports):
    """A setup that raised, or ended the process, is not tried again."""
    cell = Rehearsed((False, reports, LATE))
    result = judge(job(5), cell)
    assert (result["status"], result["detail"]) == (reports or [LATE])[0]
    assert result["passed"] == [False] * 5
    assert cell.starts == [0]


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (ValueError("one\ntwo"), "failed", "ValueError: one"),
        (AssertionError(), "failed", "AssertionError"),
        (SystemExit(0), "failed", "SystemExit: 0"),
        (MemoryError(), "memory", "MemoryError"),
        (Refused("open is not allowed"), "refused", "Refused: open is not allowed"),
        (ValueError("é\x1b\ud800"), "failed", "ValueError: \\xe9\\ud800"),
    ],
)
def test_verdicts(error, status, detail):
    """An error amounts to a status and one printable line."""
    assert verdict(error) == (status, detail)


def test_a_refusal_behind_another_error():
    """An error that a refusal led to is a refusal."""
    error = KeyError("x")
    error.__context__ = Refused("open is not allowed")
    assert verdict(error) == ("refused", "Refused: open is not allowed")


def test_reports_carry_the_secret():
    """The secret is read with the first report, and stands before each."""
    secret, secret_outbox = os.pipe()
    inbox, outbox = os.pipe()
    os.write(secret_outbox, b"secret")
    reporter = Reporter(secret, outbox)
    reporter.ready()
    reporter.report("passed", "")
    reporter.report("failed", "no")
    lines = os.read(inbox, 1_000).split()
    assert lines == [b"ready", b'secret["passed",', b'""]', b'secret["failed",', b'"no"]']
    for descriptor in (secret, secret_outbox, inbox, outbox):
        os.close(descriptor)
