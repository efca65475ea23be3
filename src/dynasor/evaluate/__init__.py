"""Experiments: run questions with known answers and judge what came out."""

from dynasor.evaluate.live import Judged, Question, Trial, run_trial
from dynasor.evaluate.paired import Interval, paired_mean, ratio_of_sums

__all__ = ["Interval", "Judged", "Question", "Trial", "paired_mean", "ratio_of_sums", "run_trial"]
