"""Open-loop load: programs that arrive on their own schedule, and what became of them."""

from dynasor.load.asking import Asking
from dynasor.load.client import Client
from dynasor.load.figures import figures
from dynasor.load.judging import judge
from dynasor.load.outcome import Outcome
from dynasor.load.planning import Departure, Question, plan
from dynasor.load.questions import of_batch, of_dataset
from dynasor.load.run import Load

__all__ = [
    "Asking",
    "Client",
    "Departure",
    "Load",
    "Outcome",
    "Question",
    "figures",
    "judge",
    "of_batch",
    "of_dataset",
    "plan",
]
