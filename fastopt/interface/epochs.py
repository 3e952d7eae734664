"""A solve over minibatches, epoch by epoch: what is looked at between two of them, and returned.

Owns the epochs' count, history and tests, and the choice of the point to return. Knows nothing of
how iterations are run; `Solver` runs them, and comes here at the end of each epoch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult

from fastopt.core.abi import Status
from fastopt.core.validate import UNLIMITED
from fastopt.interface.methods import Method
from fastopt.interface.options import Controls, Settings
from fastopt.objectives.minibatched import MinibatchObjective
from fastopt.objectives.minibatches import Minibatches
from fastopt.rules.table import find_rule
from fastopt.solvers.state import SolverState

__all__ = ["Epochs", "check_data"]

Vector = NDArray[np.float64]

# Names and types of the columns of a trace.
_COLUMNS = {
    "epoch": np.int64,
    "nit": np.int64,
    "nfev": np.int64,
    "njev": np.int64,
    "time": np.float64,
    "loss": np.float64,
    "fun": np.float64,
    "gnorm": np.float64,
    "lr": np.float64,
    "validation": np.float64,
}
# No number that these tests could be passed with at the value and gradient of a single batch.
_UNTESTED = {"gtol": -1.0, "ftol": 0.0, "xtol": 0.0, "stopval": -math.inf}


def check_data(row: Method, data: Any) -> Minibatches:
    """`data`, and whether the method is one for it."""
    if not isinstance(data, Minibatches):
        raise TypeError(
            "`data` must be fastopt.Minibatches or None, got an object of type "
            f"{type(data).__name__}"
        )
    if row.family != "first-order":
        raise ValueError(
            f"`method` must be a first-order one, such as 'adam', if there is `data`, got "
            f"{row.name!r}, which needs the same function in all iterations"
        )
    return data


class Epochs:
    """The course of a solve over minibatches.

    Parameters
    ----------
    data : Minibatches
    settings : dict
        Of the solver. Tests that make no sense for single batches are taken out of it.
    controls : Controls
    """

    def __init__(self, data: Minibatches, settings: Settings, controls: Controls) -> None:
        self._limits = {name: settings[name] for name in (*_UNTESTED, "norm")}
        settings |= _UNTESTED
        self._controls = controls
        # A stream's length is not known.
        self._batches = 0 if data.stream is not None else len(data)
        self._first = data.epoch, data.batch
        self._once = data.stream is not None and data.stream.once
        # Whether anything is looked at after each epoch, besides by a callback.
        self.watched = bool(
            controls.full_every or controls.validation or controls.trace or controls.return_all
        )
        if controls.patience < UNLIMITED and controls.validation is None:
            raise ValueError(
                "`patience` must be left out where there is no `validation`, got "
                f"{controls.patience}"
            )
        if settings["average_from"]:
            if settings["averaging"] is None:
                raise ValueError(
                    "`average_from` must be 0 where there is no `averaging`, got "
                    f"{settings['average_from']}"
                )
            if not self._batches:
                raise ValueError(
                    "`average_from` must be 0 for a stream, whose epochs have no known length, got "
                    f"{settings['average_from']}"
                )
            settings["average_from"] = settings["average_from"] * self._batches - data.batch
        if controls.full_every and self._once:
            raise ValueError(
                "`full_every` must be 0 if the batches come from an iterator, which comes but "
                f"once, got {controls.full_every}"
            )
        names = [
            each.name for each in find_rule(settings["rule"], settings["flavor"]).hyperparameters
        ]
        hyperparameters = dict(zip(names, settings["hyperparameters"], strict=True))
        self._length: float = hyperparameters.get("lr", math.nan)
        self._schedule = settings["schedule"]
        self._over = False  # an iterator's one epoch, which has been closed
        self.done = 0
        self.loss = math.nan  # mean of the batches' values in the last epoch
        self.rows: list[tuple[float, ...]] | None = [] if controls.trace else None
        self.points: list[Vector] | None = [] if controls.return_all else None
        self.lowest = math.inf  # of the validation,
        self.lowest_x: Vector | None = None  # where that was,
        self._since = 0  # and how many epochs ago
        self._full = math.nan  # the last value for all of the data
        self._answer: tuple[int, Vector, float, Vector] | None = None

    def left(self, nit: int, watched: bool) -> int:
        """How many iterations there are to the end of an epoch after which something is looked at;
        1 where that is not known."""
        if not self._batches:
            return 1
        done = nit + self._first[1]
        if watched or self.watched:
            return self._batches - done % self._batches
        return self._controls.epochs * self._batches - done

    def is_over(self, nit: int, objective: MinibatchObjective) -> bool:
        """Whether an epoch that has not been closed has ended with the last iteration."""
        if self._batches:
            return (nit + self._first[1]) // self._batches > self.done
        if self._over:
            return False
        # A step's end is evaluated with the next batch: the first one of an epoch closes the last.
        return objective.position[0] - self._first[0] > self.done or objective.ended

    def close(
        self, state: SolverState, objective: MinibatchObjective, time: float
    ) -> Status | None:
        """Look at what an epoch has led to; answers why the solve ends with it, if it does.

        What the user's functions raise comes out with nothing changed: the epoch can be closed
        again.
        """
        controls = self._controls
        done = self.done + 1
        if self._batches:
            done = (state.nit + self._first[1]) // self._batches
        # Of a stream that has ended there is no batch beyond the epoch's.
        loss = objective.running_loss if objective.ended else objective.epoch_loss
        x = self._candidate(state)
        value = gnorm = validation = math.nan
        status = None
        full = controls.full_every > 0 and done % controls.full_every == 0
        if full:
            value, gradient = self._evaluate_all(x, state, objective)
            gnorm = float(np.linalg.norm(gradient, self._limits["norm"]))
            status = self._test(value, gnorm)
        if controls.validation is not None:
            validation = _read_validation(controls.validation(x.copy()))

        self.done, self.loss, self._over = done, loss, objective.ended
        if full:
            self._full = value
        if controls.validation is not None:
            self._since += 1
            if validation < self.lowest:
                self.lowest, self.lowest_x, self._since = validation, x, 0
            if self._since:
                status = None  # the test holds here, but here is not what is returned
            if self._since >= controls.patience:
                status = Status.PATIENCE
        if status is None and (done >= controls.epochs or objective.ended):
            status = Status.EPOCHS
        if self.rows is not None:
            counts = (done, state.nit, *self._counts(state, objective), time)
            self.rows.append((*counts, loss, value, gnorm, self._lr(state.nit), validation))
        if self.points is not None:
            self.points.append(x)
        return status

    def _lr(self, nit: int) -> float:
        """The length of the last step, in units of its direction; NaN if the rule has none."""
        return self._length * (1.0 if self._schedule is None else self._schedule(max(1, nit)))

    def _test(self, value: float, gnorm: float) -> Status | None:
        limits = self._limits
        if value <= limits["stopval"]:
            return Status.STOPVAL
        if gnorm <= limits["gtol"]:
            return Status.GTOL
        scale = max(1.0, abs(value), abs(self._full))
        if limits["ftol"] > 0 and abs(self._full - value) <= limits["ftol"] * scale:
            return Status.FTOL
        return None

    def _candidate(self, state: SolverState) -> Vector:
        average = state.average
        return state.last_x if average is None else average

    def _counts(self, state: SolverState, objective: MinibatchObjective) -> tuple[int, int]:
        """Evaluations of the function and of its gradient."""
        return state.nfev + objective.nfev, state.njev + objective.njev

    def describe(self, state: SolverState, objective: MinibatchObjective) -> OptimizeResult:
        """What a callback is told after an epoch."""
        nfev, njev = self._counts(state, objective)
        return OptimizeResult(
            x=self._candidate(state),
            fun=self.loss,
            jac=state.last_jac,
            nit=state.nit,
            nfev=nfev,
            njev=njev,
            step=state.step,
            epoch=self.done,
        )

    def x(self, state: SolverState) -> Vector:
        """The point to return: where validation was best, or else the average or last iterate."""
        return self._candidate(state) if self.lowest_x is None else self.lowest_x.copy()

    def add_to(
        self, result: OptimizeResult, state: SolverState, objective: MinibatchObjective
    ) -> None:
        """Complete a result: the point, and what all of the data give there."""
        x = self.x(state)
        result["x"] = x
        result["fun"], result["jac"] = self._evaluate(x, state, objective)
        result["epochs"] = self.done
        result["loss"] = self.loss
        result["nfev"], result["njev"] = self._counts(state, objective)
        if self._controls.validation is not None:
            result["validation"] = self.lowest
        if self.rows is not None:
            columns = zip(*self.rows, strict=True) if self.rows else [()] * len(_COLUMNS)
            result["trace"] = {
                name: np.array(column, dtype=dtype)
                for (name, dtype), column in zip(_COLUMNS.items(), columns, strict=True)
            }
        if self.points is not None:
            result["allvecs"] = [point.copy() for point in self.points]

    def _evaluate(
        self, x: Vector, state: SolverState, objective: MinibatchObjective
    ) -> tuple[float, Vector]:
        """Value and gradient at x, of all of the data where these come again."""
        if self._once or not state.started:
            return objective.running_loss, state.last_jac
        value, gradient = self._evaluate_all(x, state, objective)
        return value, gradient.copy()

    def _evaluate_all(
        self, x: Vector, state: SolverState, objective: MinibatchObjective
    ) -> tuple[float, Vector]:
        """The same, kept: a result may ask again where an epoch did."""
        if self._answer is None or self._answer[0] != state.nit or (self._answer[1] != x).any():
            self._answer = (state.nit, x.copy(), *objective.evaluate_all(x))
        return self._answer[2:]


def _read_validation(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"`validation` must return a number, got an object of type {type(value).__name__}"
        ) from None
