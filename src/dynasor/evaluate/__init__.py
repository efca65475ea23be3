"""Experiments: live trials, and replays of recorded samples; paired intervals for both."""

from dynasor.evaluate.live import Judged, Question, Trial, run_trial
from dynasor.evaluate.paired import Interval, paired_mean, ratio_of_sums
from dynasor.evaluate.recorded import Recorded, Trajectory, trajectory

__all__ = [
    "Interval",
    "Judged",
    "Question",
    "Recorded",
    "Trajectory",
    "Trial",
    "paired_mean",
    "ratio_of_sums",
    "run_trial",
    "trajectory",
]
