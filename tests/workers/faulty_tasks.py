"""A task whose comparisons fail in every way there is; the worker processes import this file."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from dynasor.tasks import GradedTask, MathTask
from dynasor.tasks.open import OpenTask


class FaultyTask(OpenTask):
    """Equal when the letters are, in any order; some words are traps."""

    name = "faulty"

    def same(self, left, right):
        return None

    def equal(self, answer, reference):
        for text in (answer, reference):
            if text in TRAPS:
                TRAPS[text]()
        return sorted(answer) == sorted(reference)

    def grade(self, question, answer, gold):
        return False if answer is None else None


def hang():
    while True:
        signal.pause()


def deaf():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    hang()


def fail():
    raise ValueError("no")


TRAPS = {
    "hang": hang,
    "deaf": deaf,
    "exit": lambda: os._exit(3),
    "leave": lambda: os._exit(0),
    "segfault": lambda: ctypes.string_at(0),
    "raise": fail,
    "quit": sys.exit,
}


class Orphaned(FaultyTask):
    def prepare(self):
        os._exit(1)


class Reckless(MathTask):
    """Mathematics in which nothing is known at sight."""

    name = "reckless"

    def same(self, left, right):
        return None


def registry() -> dict[str, GradedTask]:
    return {"faulty": FaultyTask()}


def stillborn() -> dict[str, GradedTask]:
    return {"faulty": Orphaned()}


def reckless() -> dict[str, GradedTask]:
    return {"reckless": Reckless()}
