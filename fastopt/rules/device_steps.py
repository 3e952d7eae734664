"""Steps over whole vectors on a GPU, made from the scalar rules.

Owns how a rule becomes a kernel: its functions in the words of kernels, and the one pass over x,
the gradient and the slots, in which each is read once and written once. Knows no rule by name. The
coefficients are arguments of the step, worked out on the CPU; or a kernel works them out where they
are needed, and the number of the step is in the GPU's memory too, so that a CUDA graph can hold all
of it. Importing this module imports numba-cuda.

How many slots and coefficients there are differs from rule to rule, and a kernel takes no tuples:
its source is written for the numbers that there are.
"""

# Functions of kernels are compiled for types that Numba finds.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import builtins
from collections.abc import Callable
from functools import cache
from inspect import signature
from types import FunctionType
from typing import Any

import numpy as np

from fastopt.device.kernel import Kernel
from fastopt.device.language import (
    cuda,
    float32,
    float64,
    inlined,
    int32,
    int64,
    load4,
    number_type,
    pointer,
    store4,
)
from fastopt.rules import _precision
from fastopt.rules.steps import rule_functions
from fastopt.rules.table import Rule

__all__ = [
    "SHAPING",
    "blocks_of",
    "coefficient_count",
    "fill_kernel",
    "in_kernels",
    "numbers_kernel",
    "step_kernel",
]

THREADS = 256
_WARP = 32

#: What precedes the coefficients where a step finds its numbers in memory: whether there is to be a
#: step at all, what multiplies the gradient, the magnitude that its entries are clipped to, the
#: weight decay that is added to it, and the part of itself that x loses first.
SHAPING = ("go", "scale", "limit", "decay", "shrink")

Words = dict[str, Any]

# --- a step --------------------------------------------------------------------------------------


def step_kernel(rule: Rule, dtype: str, width: int, form: str) -> Kernel:
    """The kernel of one step.

    Its arguments are the addresses of x, of the gradient and of each slot, and two int64: the
    numbers of these from `begin` to `end` are stepped. Then come, with `real` for the type of x,

    * ``form="plain"``: the coefficients, each a `real`;
    * ``form="shaped"``: the address of `scale`, and `limit`, `decay` and `shrink`, see
      :data:`SHAPING`, each a `real`; then the coefficients;
    * ``form="stored"``: the address of the numbers :data:`SHAPING` and the coefficients.

    Parameters
    ----------
    rule : Rule
        A row of the table. Flavors that differ in their coefficients alone share a kernel.
    dtype : str
        "float32" or "float64".
    width : int
        4 if all addresses are multiples of four numbers, else 1.
    form : {"plain", "shaped", "stored"}

    Returns
    -------
    Kernel
        Launched over :func:`blocks_of` ``(begin, end, width)``.
    """
    function, _ = rule_functions(rule.name, rule.flavor)
    return _step_kernel(function, rule.slots, coefficient_count(rule), dtype, width, form)


def coefficient_count(rule: Rule) -> int:
    """How many coefficients a rule has.

    Examples
    --------
    >>> from fastopt.rules.table import RULES
    >>> coefficient_count(RULES["gd"]), coefficient_count(RULES["adam"])
    (1, 6)
    """
    function, _ = rule_functions(rule.name, rule.flavor)
    return len(signature(function).parameters) - 2 - rule.slots


def blocks_of(begin: int, end: int, width: int) -> int:
    """How many blocks step the numbers from `begin` to `end`.

    Examples
    --------
    >>> blocks_of(0, 1025, 4), blocks_of(1023, 1025, 4), blocks_of(0, 1025, 1)
    (2, 1, 5)
    """
    return -(-(-(-end // width) - begin // width) // THREADS)


# A thread takes four neighbours of each vector at once, where all of them are to be stepped.
_BY_FOURS = """\
    i = (begin >> int64(2)) + int64(cuda.blockIdx.x) * int64(THREADS) + int64(cuda.threadIdx.x)
    i = i << int64(2)
    if begin <= i and i + int64(4) <= end:
        {loads}
        new0 = rule({first}, {numbers})
        new1 = rule({second}, {numbers})
        new2 = rule({third}, {numbers})
        new3 = rule({fourth}, {numbers})
        {stores}
    else:
        for k in range(4):
            j = i + int64(k)
            if begin <= j and j < end:
                new = rule({each}, {numbers})
                {updates}
"""
_SINGLY = """\
    j = begin + int64(cuda.blockIdx.x) * int64(THREADS) + int64(cuda.threadIdx.x)
    if j < end:
        new = rule({each}, {numbers})
        {updates}
"""


@cache
def _step_kernel(
    function: Callable[..., Any], slots: int, coefficients: int, dtype: str, width: int, form: str
) -> Kernel:
    real = number_type(dtype)
    updated = ["x", *_names("slot", slots)]
    vectors = ["x", "grad", *updated[1:]]
    own = _names("c", coefficients)
    words: Words = {
        **_LANGUAGE,
        "zero": np.dtype(dtype).type(0),
        "rule": in_kernels(function, dtype),
    }
    if form != "plain":
        words["rule"] = _shaped(words["rule"], updated[1:], own, words)
    shaping = list(SHAPING[1:])
    numbers = own if form == "plain" else [*shaping, *own]
    if form == "plain":
        arguments, opening = [(each, real) for each in own], ""
    elif form == "shaped":
        arguments = [("scales", pointer(real)), *((each, real) for each in [*shaping[1:], *own])]
        opening = "    scale = scales[0]\n"
    else:
        arguments = [("stored", pointer(real))]
        opening = "    if not stored[0] > zero:\n        return\n"
        for k, each in enumerate(numbers, 1):
            opening += f"    {each} = stored[{k}]\n"
    template = _BY_FOURS if width == 4 else _SINGLY
    body = template.format(
        loads="; ".join(f"{each}4 = load4({each}, i)" for each in vectors),
        **{
            place: ", ".join(f"{each}4[{k}]" for each in vectors)
            for k, place in enumerate(("first", "second", "third", "fourth"))
        },
        each=", ".join(f"{each}[j]" for each in vectors),
        numbers=", ".join(numbers),
        stores="; ".join(
            f"store4({each}, i, (new0[{k}], new1[{k}], new2[{k}], new3[{k}]))"
            for k, each in enumerate(updated)
        ),
        updates="; ".join(f"{each}[j] = new[{k}]" for k, each in enumerate(updated)),
    )
    names = [*vectors, "begin", "end", *(name for name, _ in arguments)]
    source = f"def step({', '.join(names)}):\n{opening}{body}"
    kinds = [pointer(real)] * len(vectors) + [int64, int64] + [kind for _, kind in arguments]
    return Kernel(_written(source, words), kinds, THREADS)


def _shaped(rule: Any, slots: list[str], coefficients: list[str], words: Words) -> Any:
    """A rule after what is done to the gradient and to x, as the CPU's `take_shaped_step` does."""
    arguments = ", ".join(["x", "grad", *slots, *SHAPING[1:], *coefficients])
    source = f"""\
def shaped({arguments}):
    grad = scale * grad
    if grad > limit:
        grad = limit
    elif grad < -limit:
        grad = -limit
    grad = grad + decay * x
    x = x - shrink * x
    return rule({", ".join(["x", "grad", *slots, *coefficients])})
"""
    return inlined(_written(source, {**words, "rule": rule}))


def fill_kernel(dtype: str) -> Kernel:
    """Puts 0 into an array; its arguments are the address and the number of elements."""
    return _fill_kernel(dtype)


@cache
def _fill_kernel(dtype: str) -> Kernel:
    real = number_type(dtype)

    def fill(out, n):
        i = int64(cuda.blockIdx.x) * int64(THREADS) + int64(cuda.threadIdx.x)
        if i < n:
            out[i] = real(0)

    return Kernel(fill, [pointer(real), int64], THREADS)


# --- its numbers ---------------------------------------------------------------------------------


def numbers_kernel(
    rule: Rule, dtype: str, multiplier: Callable[..., Any] | None = None, decoupled: bool = False
) -> Kernel:
    """Counts a step, and works out the numbers with which each group takes it.

    Its arguments, with `real` for the type of the parameters, are the addresses of

    * two `real`: the `scale` and `go` of :data:`SHAPING`;
    * two int64: the steps that were taken, and those that were not because `go` was 0; the one or
      the other is counted up;
    * for each group, in float64, the rule's hyperparameters and the weight decay of the gradient;
    * the table of the schedule, in float64;

    then the number of rows of that table, an int64, and `limit`, a float64; the address of what is
    written: for each group the numbers :data:`SHAPING` and the coefficients, in `real`; and the
    number of groups, an int32.

    In float32 too it computes in float64, as the CPU does; with powers and roots that may differ
    from the CPU's in the last bit.

    Parameters
    ----------
    rule : Rule
        A row of the table.
    dtype : str
        "float32" or "float64".
    multiplier : callable, optional
        ``multiplier(table, rows, t)``, by which the scheduled hyperparameters are multiplied: a
        plain function, as `fastopt.schedules` has it.
    decoupled : bool, default False
        Whether the weight decay is that of x, and not of the gradient.

    Returns
    -------
    Kernel
        Launched as one block.
    """
    return _numbers_kernel(rule, dtype, multiplier, decoupled)


_NUMBERS = """\
def store(control, counts, hyper, table, rows, limit, out, groups):
    scale = control[0]
    go = control[1]
    t = counts[0] + int64(1)
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        if go > zero:
            counts[0] = t
        else:
            counts[1] = counts[1] + int64(1)
    factor = multiplier(table, rows, t)
    group = int32(cuda.threadIdx.x)
    while group < groups:
        given = group * int32({hyperparameters} + 1)
        at = group * int32({numbers})
        {hyper}
        decay = hyper[given + int32({hyperparameters})]
        out[at] = go
        out[at + int32(1)] = scale
        out[at + int32(2)] = real(limit)
        out[at + int32(3)] = real({decay})
        out[at + int32(4)] = real({shrink})
        new = coefficients(number(t), {names})
        {stores}
        group = int32(group + int32(WARP))
"""


@cache
def _numbers_kernel(
    rule: Rule, dtype: str, multiplier: Callable[..., Any] | None, decoupled: bool
) -> Kernel:
    real = number_type(dtype)
    _, coefficients = rule_functions(rule.name, rule.flavor)
    single = rule.single and dtype == "float32"
    count = coefficient_count(rule)
    given = [each.name for each in rule.hyperparameters]
    names = _names("h", len(given))
    source = _NUMBERS.format(
        hyperparameters=len(names),
        numbers=len(SHAPING) + count,
        hyper="; ".join(
            f"{name} = hyper[given + int32({k})]{' * factor' if of in rule.scheduled else ''}"
            for k, (name, of) in enumerate(zip(names, given, strict=True))
        ),
        decay="float64(0)" if decoupled else "decay",
        shrink="decay * h0" if decoupled and "lr" in given else "float64(0)",
        names=", ".join(names),
        stores="; ".join(
            f"out[at + int32({place})] = real(new[{k}])"
            for k, place in enumerate(range(len(SHAPING), len(SHAPING) + count))
        ),
    )
    words: Words = {
        **_LANGUAGE,
        "WARP": _WARP,
        "real": real,
        "zero": np.dtype(dtype).type(0),
        "number": float32 if single else float64,
        "multiplier": inlined(_one) if multiplier is None else in_kernels(multiplier, dtype),
        "coefficients": in_kernels(coefficients, dtype, single),
    }
    doubles, reals = pointer(float64), pointer(real)
    kinds = [reals, pointer(int64), doubles, doubles, int64, float64, reals, int32]
    return Kernel(_written(source, words), kinds, _WARP)


def _one(table, rows, t):
    return float64(1)


# --- functions in the words of kernels -----------------------------------------------------------

_LANGUAGE: Words = {
    "THREADS": THREADS,
    "cuda": cuda,
    "float64": float64,
    "int32": int32,
    "int64": int64,
    "load4": load4,
    "store4": store4,
}


def _names(stem: str, count: int) -> list[str]:
    return [f"{stem}{k}" for k in range(count)]


def _written(source: str, words: Words) -> Any:
    """The function that a source defines."""
    found: Words = {}
    exec(source, dict(words), found)
    (function,) = found.values()
    return function


@cache
def in_kernels(function: Callable[..., Any], dtype: str, single: bool = False) -> Any:
    """A scalar function as kernels can call it.

    The functions that it calls are taken along, and what a GPU has not, or has with another
    meaning, is replaced: the greater of two numbers, which there is the other one if one is NaN.

    Parameters
    ----------
    function : callable
        Decorated with ``RULE``.
    dtype : str
        That of the parameters.
    single : bool, default False
        Whether bias corrections are had in float32.

    Returns
    -------
    callable
        Made by ``inlined``.
    """
    return _translated(function, _meanings(dtype, single))


def _translated(function: Any, meanings: dict[Any, Any]) -> Any:
    if function not in meanings:
        code, own = function.__code__, function.__globals__
        names: Words = {}
        for name in code.co_names:  # attributes as well, which are no globals but by chance
            value = own.get(name, getattr(builtins, name, None))
            if isinstance(value, FunctionType) or (callable(value) and value in meanings):
                value = _translated(value, meanings)
            if value is not None:
                names[name] = value
        copy = FunctionType(code, {"__builtins__": builtins, **names}, function.__name__)
        meanings[function] = inlined(copy)
    return meanings[function]


def _meanings(dtype: str, single: bool) -> dict[Any, Any]:
    real = number_type(dtype)

    @inlined
    def greater(a, b):
        return b if b > a else a

    @inlined
    def sign(x):
        return real(1) if x > real(0) else (-real(1) if x < real(0) else x)

    @inlined
    def power(beta, t):
        return beta ** float64(t)

    @inlined
    def single_power(beta, t):
        return float64(float32(float64(float32(beta)) ** float64(t)))

    @inlined
    def double(t):
        return float64(t)

    return {
        max: greater,
        np.sign: sign,
        _precision.power: single_power if single else power,
        _precision.double: double,
    }
