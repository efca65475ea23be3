"""Questions to serve: generated, seeded and free of downloads."""

from dynasor.datasets.arithmetic import Problem, heldout, problems

__all__ = ["Problem", "heldout", "problems"]
