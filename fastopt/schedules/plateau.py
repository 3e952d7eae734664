"""A multiplier that falls when a metric does not.

Owns its few numbers of state. Knows nothing of steps: reports come when the user makes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fastopt.core.validate import Integer, Real

__all__ = ["Plateau"]

_NUMBER = Real()
_ANY_COUNT = Integer(low=0)


@dataclass(frozen=True)
class _State:
    """What a `Plateau` knows between two reports."""

    multiplier: float = 1.0
    best: float = math.inf
    stale: int = 0
    cooling: int = 0


class Plateau:
    """A multiplier of the step length that is lowered when a metric no longer improves.

    Smaller is better: report a loss, or the negative of an accuracy.

    Parameters
    ----------
    factor : float, default 0.1
        The multiplier is multiplied by this each time, in (0, 1).
    patience : int, default 10
        The multiplier is lowered at the `patience`-th report in a row without improvement. (As in
        Keras and optax. PyTorch waits for one report more.)
    threshold : float, default 1e-4
        An improvement is more than this, relative to the best metric so far.
    cooldown : int, default 0
        So many reports after lowering are not counted.
    minimum : float, default 0
        The multiplier gets no smaller than this.

    Raises
    ------
    ValueError, TypeError
        An argument is out of range, or no number.

    See Also
    --------
    Schedule : A multiplier that is known beforehand.

    Notes
    -----
    NaN improves nothing. The state is changed by `report` alone.

    Examples
    --------
    >>> from fastopt import schedules
    >>> plateau = schedules.Plateau(factor=0.5, patience=2)
    >>> [plateau.report(loss) for loss in (3.0, 2.0, 2.5, 2.1, 1.0)]
    [1.0, 1.0, 1.0, 0.5, 0.5]

    In a training loop: ``opt.lr = lr * schedule(t) * plateau.multiplier``.
    """

    def __init__(
        self,
        factor: float = 0.1,
        *,
        patience: int = 10,
        threshold: float = 1e-4,
        cooldown: int = 0,
        minimum: float = 0.0,
    ) -> None:
        inside = Real(low=0.0, high=1.0, open_low=True, open_high=True)
        self._factor = inside("factor", factor, 1)
        self._patience = Integer(low=1)("patience", patience, 1)
        self._threshold = Real(low=0.0, open_high=True)("threshold", threshold, 1)
        self._cooldown = _ANY_COUNT("cooldown", cooldown, 1)
        self._minimum = Real(low=0.0, high=1.0)("minimum", minimum, 1)
        self._state = _State()

    def __repr__(self) -> str:
        return (
            f"Plateau({self._factor!r}, patience={self._patience}, threshold={self._threshold!r}, "
            f"cooldown={self._cooldown}, minimum={self._minimum!r})"
        )

    @property
    def multiplier(self) -> float:
        """What the step length is multiplied by now; 1 before the first report."""
        return self._state.multiplier

    @property
    def best(self) -> float:
        """The smallest metric, up to improvements below the threshold; inf before the first."""
        return self._state.best

    def report(self, metric: float) -> float:
        """Say how well it goes.

        Parameters
        ----------
        metric : float
            The smaller, the better. Often a loss over validation data, once an epoch.

        Returns
        -------
        float
            The multiplier from now on.

        Raises
        ------
        TypeError
            `metric` is no real number. The state is left as it was.

        Examples
        --------
        >>> from fastopt import schedules
        >>> plateau = schedules.Plateau(patience=1)
        >>> plateau.report(1.0), plateau.report(1.0)
        (1.0, 0.1)
        """
        metric = _as_metric(metric)
        state = self._state
        multiplier, best, cooling = state.multiplier, state.best, state.cooling
        margin = self._threshold * abs(best) if math.isfinite(best) else 0.0
        improved = metric < best - margin
        stale = 0 if improved else state.stale + 1
        if improved:
            best = metric
        if cooling:
            cooling -= 1
            stale = 0
        if stale >= self._patience:
            # Where `minimum` is above the multiplier of a loaded state, that is not raised.
            multiplier = min(multiplier, max(multiplier * self._factor, self._minimum))
            stale, cooling = 0, self._cooldown
        self._state = _State(multiplier, best, stale, cooling)
        return multiplier

    def state_dict(self) -> dict[str, float]:
        """All that reports have changed, as plain numbers.

        Returns
        -------
        dict
            ``multiplier``, ``best``, ``stale`` (reports in a row without improvement) and
            ``cooling`` (reports that will not be counted). ``np.savez`` can hold it.

        Examples
        --------
        >>> from fastopt import schedules
        >>> plateau = schedules.Plateau()
        >>> _ = plateau.report(2.0), plateau.report(3.0)
        >>> plateau.state_dict()
        {'multiplier': 1.0, 'best': 2.0, 'stale': 1, 'cooling': 0}
        """
        return asdict(self._state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where another was.

        Parameters
        ----------
        state : mapping
            From `state_dict`, or what ``np.load`` made of it. The arguments that the other was made
            with are not part of it.

        Raises
        ------
        ValueError, TypeError
            Something is missing or too much, out of range, or no number. The state is left as it
            was.

        Examples
        --------
        >>> from fastopt import schedules
        >>> plateau, other = schedules.Plateau(patience=2), schedules.Plateau(patience=2)
        >>> _ = plateau.report(2.0), plateau.report(3.0)
        >>> other.load_state_dict(plateau.state_dict())
        >>> other.report(3.0)
        0.1
        """
        names = list(asdict(self._state))
        if not isinstance(state, Mapping):
            raise TypeError(f"`state` must be a mapping, got {type(state).__name__}")
        if sorted(state) != sorted(names):
            raise ValueError(f"`state` must hold {', '.join(names)}, got {', '.join(state)}")
        self._state = _State(
            Real(low=0.0, high=1.0)("state['multiplier']", state["multiplier"], 1),
            _NUMBER("state['best']", state["best"], 1),
            _ANY_COUNT("state['stale']", state["stale"], 1),
            _ANY_COUNT("state['cooling']", state["cooling"], 1),
        )


def _as_metric(metric: Any) -> float:
    """A real number, NaN included."""
    if isinstance(metric, np.ndarray) and metric.size == 1:
        metric = metric.item()
    if isinstance(metric, float | np.floating) and math.isnan(metric):
        return math.nan
    return _NUMBER("metric", metric, 1)
