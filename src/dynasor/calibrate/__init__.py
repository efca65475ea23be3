"""Calibration: choose a policy on recorded questions, judge it on others, notice drift."""

from dynasor.calibrate.candidates import CALIBRATED, tries_of
from dynasor.calibrate.drift import Drift, compare_behaviour, read_behaviour
from dynasor.calibrate.fit import Aim, Chosen, Measurements, calibrate_splits, halves, measure
from dynasor.calibrate.making import behaviour, make_profile

__all__ = [
    "CALIBRATED",
    "Aim",
    "Chosen",
    "Drift",
    "Measurements",
    "behaviour",
    "calibrate_splits",
    "compare_behaviour",
    "halves",
    "make_profile",
    "measure",
    "read_behaviour",
    "tries_of",
]
