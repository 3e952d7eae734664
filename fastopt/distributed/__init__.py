"""Objectives whose data lie in the memories of several machines."""

from fastopt.distributed.sum_objective import SumObjective

__all__ = ["SumObjective"]
