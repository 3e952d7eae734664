"""What first-order optimizers of training loops share: a rule that steps a flat vector in place.

Owns the checks and defaults of what a rule is given, its groups, and the state that is saved. Knows
no rule by name, and nothing of the arithmetic, which is the rules'.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from importlib import import_module
from inspect import Parameter, signature
from types import ModuleType
from typing import Any, ClassVar, Literal, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastopt.core.validate import Choice, Flag, Integer, Real, StepSchedule, parameter_vector
from fastopt.device.arrays import describe, is_device_array
from fastopt.rules.table import FLAVORS, RULES, find_rule
from fastopt.schedules import Schedule
from fastopt.solvers.bound_rule import BoundRule
from fastopt.training.stepper import Stepper

__all__ = ["Group", "Number", "Optimizer", "Settings", "documented"]

_CLIP = Real(low=0.0, open_low=True)
_WEIGHT_DECAY = Real(low=0.0, open_high=True)
_COUNT = Integer(low=0)
_NONFINITE = Choice(("propagate", "skip", "raise"))


class Settings(TypedDict, total=False):
    """What every optimizer takes besides the hyperparameters of its rule."""

    flavor: Literal["textbook", "torch", "optax", "keras"]
    clip_norm: float
    clip_value: float
    schedule: Schedule | None
    groups: Iterable[tuple[slice, Mapping[str, float]]]
    nonfinite: Literal["propagate", "skip", "raise"]
    capturable: bool


# Those of the settings that are not None.
_DEFAULTS: dict[str, Any] = {
    "flavor": "textbook",
    "clip_norm": math.inf,
    "clip_value": math.inf,
    "groups": (),
    "nonfinite": "propagate",
    "capturable": False,
}

_Optimizer = TypeVar("_Optimizer", bound=type["Optimizer"])


def documented(optimizer: _Optimizer) -> _Optimizer:
    """Spell out what all optimizers have in common: in the docstring, where it says ``{theta}``,
    ``{weight_decay}`` and ``{settings}``, and in the signature."""
    own = signature(optimizer)
    parameters = [each for each in own.parameters.values() if each.kind is not each.VAR_KEYWORD]
    parameters += [
        Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            default=_DEFAULTS.get(name),
            annotation=annotation.__forward_arg__,
        )
        for name, annotation in Settings.__annotations__.items()
    ]
    optimizer.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    flavors = ", ".join(f'"{flavor}"' for flavor in FLAVORS[optimizer.rule])
    reference = RULES[optimizer.rule].reference
    settings = _SETTINGS.replace("{flavors}", f"{{{flavors}}}").replace("{reference}", reference)
    text = str(optimizer.__doc__).replace("{theta}\n", _THETA)
    text = text.replace("{weight_decay}\n", _DECAY).replace("{settings}\n", settings)
    optimizer.__doc__ = text
    return optimizer


_THETA = """theta : ndarray of float32 or float64, shape (n,), contiguous and writable
        The parameters, which are stepped in place. They may be an array on a GPU, of Numba's,
        CuPy's or PyTorch's, see the notes.
"""
_DECAY = """weight_decay : float, default 0
        Times `theta`, this is added to the gradient, after clipping. With ``flavor="keras"``
        `theta` loses `lr` times as much of itself before the step instead.
"""
_SETTINGS = """flavor : {flavors}, default "textbook"
        Whose form of the rule it is, and whose defaults it has.
    clip_norm : float, default inf
        A gradient longer than this is shortened to it, as a whole, whatever the groups.
    clip_value : float, default inf
        Entries of the gradient are clipped to this magnitude, after `clip_norm`.
    schedule : Schedule, optional
        One of `fastopt.schedules`: what multiplies ``lr`` at each step.
    groups : sequence of (slice, dict), optional
        Parts of `theta` with hyperparameters of their own, for example
        ``[(slice(0, 10), {"lr": 0.1})]``. No two may overlap; the rest of `theta` has the others.
    nonfinite : {"propagate", "skip", "raise"}, default "propagate"
        What becomes of a gradient that holds a NaN or an infinity. The step is taken all the same;
        or is left out and counted in ``skipped``; or is a FloatingPointError. For the latter two
        every gradient is looked through before its step.
    capturable : bool, default False
        Whether a CUDA graph can hold a step, for parameters on a GPU, see the notes.

    Attributes
    ----------
    theta : ndarray, shape (n,)
        The parameters.
    t : int
        The number of steps taken.
    slots : dict of ndarray, shape (n,)
        What the rule remembers of each parameter, by name.
    groups : tuple of Group
        The groups in their order, and last the parameters that belong to none. Each is a mapping
        from the names of its hyperparameters to their values, which can be set.
    skipped : int
        The number of steps left out.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong. The message says which, what was expected and what came.

    Notes
    -----
    Each hyperparameter is an attribute as well, and can be set between two steps, as in
    ``opt.lr *= 0.5``: for all parameters but those in groups that were given their own.

    A step keeps the GIL below 65 536 parameters; it is not to be taken by two threads at once.

    **On a GPU**, with `theta` and the gradients there, `slots` are there too, arrays of the library
    that made `theta`. A step is launched on the stream on which the gradient is made, or on the one
    that it is given, and does not wait for it; other streams have to be told by their owner. The
    results are the CPU's but for roundings. ``nonfinite="skip"`` decides on the GPU, and ``t`` and
    ``skipped`` are read back, which waits, when they are asked for; ``nonfinite="raise"`` waits in
    each step. States that are saved are NumPy's, and can be loaded here and there.

    A CUDA graph repeats what it holds with the same numbers. With ``capturable=True`` the number of
    the step is in the GPU's memory, where what depends on it is worked out, the schedule as well;
    hyperparameters that are set, outside of a capture, reach the next replay; to set one waits for
    the GPU. Take one step before the capture: it loads the code.

    The method is from {reference}.
"""


class Number:
    """A hyperparameter as an attribute of its optimizer."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Optimizer, owner: type | None = None) -> float:
        if optimizer is None:
            return self
        try:
            return optimizer.groups[-1][self.name]
        except KeyError:
            raise AttributeError(f"{optimizer!r} has no {self.name!r}") from None

    def __set__(self, optimizer: Optimizer, value: float) -> None:
        for group in optimizer.groups:
            if self.name not in group.own:
                group[self.name] = value


class Group(MutableMapping[str, float]):
    """Parameters that share their hyperparameters, a mapping of these by name.

    Attributes
    ----------
    place : slice or None
        The part of the vector; None for the parameters that are in no other group.
    own : frozenset of str
        The hyperparameters that it was given, which the optimizer's do not reach.

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> opt = fastopt.SGD(np.zeros(5), lr=0.5, groups=[(slice(0, 2), {"lr": 0.1})])
    >>> opt.groups
    (<Group 0:2 lr=0.1 weight_decay=0>, <Group lr=0.5 weight_decay=0>)
    >>> opt.groups[0]["lr"] = 0.2
    >>> opt.step(np.ones(5))
    >>> opt.theta
    array([-0.2, -0.2, -0.5, -0.5, -0.5])
    """

    def __init__(
        self, rule: Any, checks: dict[str, Real], place: slice | None, own: Iterable[str]
    ) -> None:
        self._rule = rule
        self._checks = checks
        self.place = place
        self.own = frozenset(own)

    def __getitem__(self, name: str) -> float:
        if name not in self._checks:
            raise KeyError(name)
        value: float = self._rule.get(name)
        return value

    def __setitem__(self, name: str, value: float) -> None:
        if name not in self._checks:
            raise KeyError(f"no hyperparameter is called {name!r}; there are {', '.join(self)}")
        self._rule.set(name, self._checks[name](name, value, 1))

    def __delitem__(self, name: str) -> None:
        raise TypeError("a hyperparameter can be set, but not be removed")

    def __iter__(self) -> Iterator[str]:
        return iter(self._checks)

    def __len__(self) -> int:
        return len(self._checks)

    def __repr__(self) -> str:
        place = "" if self.place is None else f" {self.place.start}:{self.place.stop}"
        return f"<Group{place} {' '.join(f'{name}={value:g}' for name, value in self.items())}>"


class Optimizer:
    """What all first-order optimizers have in common.

    Parameters
    ----------
    theta : array of float32 or float64, shape (n,), contiguous and writable
        The parameters, which are stepped in place, on the CPU or on a GPU.
    hyperparameters : dict
        Those of the rule, by name; None stands for the flavor's default.
    settings : dict
        The others, as in `Adam`.
    rule : str, optional
        Another form of the class's rule.
    """

    # No __dict__: a misspelt name, or a setting that cannot be changed later, is an error to set.
    __slots__ = (
        "__weakref__",
        "_arguments",
        "_checks",
        "_nonfinite",
        "_on_gpu",
        "_row",
        "_stepper",
        "groups",
    )

    rule: ClassVar[str]

    lr = Number()
    weight_decay = Number()

    def __init__(
        self,
        theta: NDArray[Any],
        hyperparameters: Mapping[str, float | None],
        settings: Settings,
        rule: str | None = None,
    ) -> None:
        vector = _check_theta(theta)
        self._on_gpu = is_device_array(theta)
        _refuse_unknown(self._name, settings, hyperparameters)
        given = {**_DEFAULTS, **settings}
        rule = rule or self.rule
        flavor = Choice(tuple(FLAVORS[rule]))("flavor", given["flavor"], 1)
        self._row = find_rule(rule, flavor)
        self._checks = {
            each.name: Real(each.low, each.high, open_low=not each.low_included, open_high=True)
            for each in self._row.hyperparameters
        }
        self._checks.setdefault("weight_decay", _WEIGHT_DECAY)
        self._nonfinite = _NONFINITE("nonfinite", given["nonfinite"], 1)
        common = {
            "rule": rule,
            "flavor": flavor,
            "schedule": self._check_schedule(given.get("schedule")),
            "clip_norm": _CLIP("clip_norm", given["clip_norm"], 1),
            "clip_value": _CLIP("clip_value", given["clip_value"], 1),
        }
        numbers = {
            "weight_decay": 0.0,
            **{each.name: each.default for each in self._row.hyperparameters},
            **self._check(
                {name: value for name, value in hyperparameters.items() if value is not None}
            ),
        }
        groups = [
            (place, self._check(own)) for place, own in _check_groups(given["groups"], vector.size)
        ]
        self._arguments = dict(hyperparameters), {**given, "groups": groups}, rule
        places: list[tuple[slice | None, dict[str, float]]] = [*groups, (None, {})]
        rules = [self._bind(common, {**numbers, **own}, vector.dtype) for _, own in places]
        self.groups = tuple(
            Group(bound, self._checks, place, own)
            for bound, (place, own) in zip(rules, places, strict=True)
        )
        pieces = _pieces([place for place, _ in groups], vector.size)
        self._stepper = self._make_stepper(theta, rules, pieces, given["capturable"])

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _check(self, given: Mapping[str, Any]) -> dict[str, float]:
        """Hyperparameters by name, checked."""
        for name in given:
            if name not in self._checks:
                raise TypeError(
                    f"`{name}` must not be given to {self._name} with flavor={self._row.flavor!r}, "
                    f"whose hyperparameters are {', '.join(self._checks)}"
                )
        return {name: self._checks[name](name, value, 1) for name, value in given.items()}

    def _check_schedule(self, schedule: Any) -> Schedule | None:
        if schedule is None:
            return None
        StepSchedule()("schedule", schedule, 1)
        if not self._row.scheduled:
            raise ValueError(
                f"`schedule` must be None for {self._name} with flavor={self._row.flavor!r}, which "
                f"has no step length, got {schedule!r}"
            )
        checked: Schedule = schedule
        return checked

    def _bind(
        self, common: dict[str, Any], numbers: Mapping[str, float], dtype: np.dtype[Any]
    ) -> Any:
        names = [each.name for each in self._row.hyperparameters]
        settings = {**common, "hyperparameters": tuple(numbers[name] for name in names)}
        if "weight_decay" not in names:
            settings["weight_decay"] = numbers["weight_decay"]
        return _for_gpu().DeviceRule(settings) if self._on_gpu else BoundRule(settings, dtype)

    def _make_stepper(
        self, theta: Any, rules: list[Any], pieces: list[tuple[int, int, int]], capturable: Any
    ) -> Any:
        capturable = Flag()("capturable", capturable, 1)
        if capturable and not self._on_gpu:
            raise ValueError("`capturable` must be False where `theta` is on the CPU, got True")
        if capturable and self._nonfinite == "raise":
            raise ValueError(
                "`nonfinite` must be 'propagate' or 'skip' with capturable=True, got 'raise', "
                "which waits for the GPU"
            )
        if self._on_gpu:
            return _for_gpu().DeviceStepper(theta, rules, pieces, capturable, self._nonfinite)
        return Stepper(theta, rules, pieces)

    # --- stepping --------------------------------------------------------------------------------

    def step(self, grad: NDArray[Any], *, stream: Any = None) -> None:
        """Step `theta` along a gradient, in place.

        Parameters
        ----------
        grad : ndarray of the dtype of `theta`, shape (n,), contiguous
            The gradient at `theta`, where that is. It is not written to.
        stream : stream or int, optional
            Of a GPU; by default the one on which `grad` is made.

        Raises
        ------
        TypeError, ValueError
            If `grad` is not such an array; nothing has been changed then.
        FloatingPointError
            If it is not finite and ``nonfinite`` is ``"raise"``; likewise.
        """
        stepper = self._stepper
        if self._on_gpu:
            self._step_on_gpu(grad, stream)
        elif stream is not None:
            raise TypeError("`stream` must be None where `theta` is on the CPU")
        elif self._nonfinite != "propagate" and stepper.fits(grad) and not stepper.is_finite(grad):
            if self._nonfinite == "raise":
                raise _not_finite(grad)
            stepper.skipped += 1
        elif not stepper.step(grad):
            raise _unfit(grad, self._vector)

    def _step_on_gpu(self, grad: Any, stream: Any) -> None:
        stepper = self._stepper
        if self._nonfinite == "raise":
            array = stepper.read(grad)
            if array is not None and not stepper.is_finite(grad, stream):
                raise _not_finite(stepper.read_back(array))
        if not stepper.step(grad, stream):
            raise _unfit(grad, self._vector)

    @property
    def theta(self) -> NDArray[Any]:
        """The vector that is stepped."""
        theta: NDArray[Any] = self._stepper.theta
        return theta

    @property
    def _vector(self) -> Any:
        """The same, with NumPy's words for its shape and dtype, whoever made it."""
        return self._stepper.array if self._on_gpu else self._stepper.theta

    @property
    def t(self) -> int:
        """The number of steps taken."""
        t: int = self._stepper.t
        return t

    @property
    def skipped(self) -> int:
        """The number of steps left out."""
        skipped: int = self._stepper.skipped
        return skipped

    @property
    def flavor(self) -> str:
        """Whose form of the rule it is."""
        flavor: str = self._row.flavor
        return flavor

    @property
    def slots(self) -> dict[str, NDArray[Any]]:
        """What the rule remembers of each parameter, by name: views, which see every step."""
        return dict(zip(self._row.slot_names, self._stepper.slots, strict=True))

    # --- saving ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on besides `theta`, its gradient and the arguments.

        Returns
        -------
        dict
            Words, numbers and arrays, which ``np.savez`` can hold: the slots by name, of each
            hyperparameter an array with its value in each group, ``"t"``, ``"skipped"``, and what
            the optimizer is, ``"rule"`` and ``"flavor"``.

        Examples
        --------
        >>> import numpy as np
        >>> import fastopt
        >>> opt = fastopt.Momentum(np.zeros(3), lr=0.5)
        >>> opt.step(np.ones(3))
        >>> state = opt.state_dict()
        >>> state["t"], state["velocity"], state["lr"]
        (1, array([0.5, 0.5, 0.5]), array([0.5]))

        Another optimizer goes on from there, with the same bits:

        >>> other = fastopt.Momentum(opt.theta.copy(), lr=0.5)
        >>> other.load_state_dict(state)
        >>> opt.step(np.ones(3))
        >>> other.step(np.ones(3))
        >>> bool((opt.theta == other.theta).all())
        True
        """
        return {
            "rule": self._row.name,
            "flavor": self._row.flavor,
            "t": self.t,
            "skipped": self.skipped,
            **{name: np.array([group[name] for group in self.groups]) for name in self._checks},
            **dict(zip(self._row.slot_names, self._read_slots(), strict=True)),
        }

    def _read_slots(self) -> list[NDArray[Any]]:
        """Copies on the CPU."""
        if self._on_gpu:
            slots: list[NDArray[Any]] = self._stepper.read_slots()
            return slots
        return [slot.copy() for slot in self._stepper.slots]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another optimizer was: with the same `theta`, to the same bits.

        Parameters
        ----------
        state : mapping
            What `state_dict` returned, or ``np.load`` of it, from an optimizer of the same rule,
            flavor, dtype and groups.

        Raises
        ------
        TypeError, ValueError
            If it is the state of another optimizer, not complete, or none. Nothing has been changed
            then.
        """
        if not isinstance(state, Mapping):
            raise TypeError(
                "`state` must be what state_dict() returned, got "
                f"{'None' if state is None else f'an object of type {type(state).__name__}'}"
            )
        expected = self.state_dict()
        missing = [name for name in expected if name not in state]
        if missing:
            raise ValueError(f"`state` must have {', '.join(expected)}; it has no {missing[0]!r}")
        for name in ("rule", "flavor"):
            if str(state[name]) != expected[name]:
                raise ValueError(
                    f"`state` must be that of {expected['rule']} with "
                    f"flavor={expected['flavor']!r}, got {name}={str(state[name])!r}"
                )
        slots = self._row.slot_names
        arrays = {name: np.asarray(state[name]) for name in (*self._checks, *slots)}
        for name, array in arrays.items():
            own = expected[name]
            if array.shape != own.shape or array.dtype != own.dtype:
                raise ValueError(
                    f"`state[{name!r}]` must be of shape {own.shape} and dtype {own.dtype}, got "
                    f"an array of shape {array.shape} and dtype {array.dtype}"
                )
        checked = [
            {name: check(name, float(arrays[name][k]), 1) for name, check in self._checks.items()}
            for k in range(len(self.groups))
        ]
        t, skipped = (_COUNT(f"state[{name!r}]", state[name], 1) for name in ("t", "skipped"))
        for group, numbers in zip(self.groups, checked, strict=True):
            group.update(numbers)
        if self._on_gpu:
            self._stepper.write_slots([arrays[name] for name in slots])
        else:
            for name, slot in self.slots.items():
                slot[...] = arrays[name]
        self._stepper.t, self._stepper.skipped = t, skipped

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, or a pickle, has a `theta` of its own and goes on with the same bits."""
        return _rebuild, (type(self), self.theta, *self._arguments), self.state_dict()

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.load_state_dict(state)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value:g}" for name, value in self.groups[-1].items())
        theta = self._vector
        return f"<{self._name}: {theta.size} parameters of {theta.dtype}, t={self.t}, {values}>"


def _rebuild(cls: type[Optimizer], theta: NDArray[Any], *arguments: Any) -> Optimizer:
    """An optimizer whose class has a signature of its own, from what they all share."""
    optimizer = cls.__new__(cls)
    Optimizer.__init__(optimizer, theta, *arguments)
    return optimizer


def _check_theta(theta: Any) -> Any:
    """`theta`, with NumPy's words for its shape and dtype, whoever made it."""
    if is_device_array(theta):
        return _for_gpu().device_vector("theta", theta)
    return parameter_vector("theta", theta)


def _for_gpu() -> ModuleType:
    """What steps vectors of a GPU; loading it loads numba-cuda."""
    return import_module("fastopt.solvers.device_stepper")


def _refuse_unknown(
    optimizer: str, settings: Mapping[str, Any], hyperparameters: Mapping[str, Any]
) -> None:
    for name in settings:
        if name not in Settings.__annotations__:
            known = (*hyperparameters, *Settings.__annotations__)
            raise TypeError(
                f"`{name}` is no argument of {optimizer}; those are theta, {', '.join(known)}"
            )


def _not_finite(grad: NDArray[Any]) -> FloatingPointError:
    at = int(np.isfinite(grad).argmin())
    return FloatingPointError(
        f"`grad` must be finite, got {float(grad[at])!r} at index {at}; "
        "nonfinite='skip' leaves such steps out"
    )


def _unfit(grad: Any, theta: Any) -> Exception:
    """What to raise for a gradient along which `theta` cannot be stepped."""
    on_cpu = isinstance(theta, np.ndarray)
    expected = (
        f"`grad` must be a contiguous array {'' if on_cpu else 'on the GPU '}of shape "
        f"{theta.shape} and dtype {theta.dtype}"
    )
    if not (isinstance(grad, np.ndarray) if on_cpu else is_device_array(grad)):
        return TypeError(f"{expected}, got an object of type {type(grad).__name__}")
    grad = grad if on_cpu else describe(grad)
    if grad.dtype != theta.dtype:
        return TypeError(f"{expected}, got dtype {grad.dtype}")
    if grad.shape != theta.shape:
        return ValueError(f"{expected}, got shape {grad.shape}")
    return ValueError(f"{expected}, got strides {grad.strides}")


def _check_groups(groups: Any, n: int) -> list[tuple[slice, Mapping[str, Any]]]:
    """The groups with slices whose ends are known."""
    expected = "`groups` must be a sequence of (slice, dict) pairs"
    checked: list[tuple[slice, Mapping[str, Any]]] = []
    try:
        pairs = [(place, own) for place, own in groups]
    except (TypeError, ValueError):
        raise TypeError(f"{expected}, got {groups!r}") from None
    for place, own in pairs:
        if not isinstance(place, slice) or not isinstance(own, Mapping):
            raise TypeError(f"{expected}, got {(place, own)!r}")
        start, stop, stride = place.indices(n)
        if stride != 1 or start >= stop:
            raise ValueError(
                f"`groups` must have slices of neighbouring parameters, got {place} of {n}"
            )
        for other, _ in checked:
            if start < other.stop and other.start < stop:
                raise ValueError(
                    f"`groups` must not overlap, got {other.start}:{other.stop} and {start}:{stop}"
                )
        checked.append((slice(start, stop), own))
    return checked


def _pieces(places: list[slice], n: int) -> list[tuple[int, int, int]]:
    """The whole vector as pieces (start, stop, group); the last group has what is in no slice."""
    pieces = sorted((place.start, place.stop, k) for k, place in enumerate(places))
    end = 0
    gaps = []
    for start, stop, _ in [*pieces, (n, n, 0)]:
        if end < start:
            gaps.append((end, start, len(places)))
        end = stop
    return sorted([*pieces, *gaps])
