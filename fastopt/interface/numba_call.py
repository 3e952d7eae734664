"""What a call of `minimize` inside @njit code comes down to: the LLVM around the solver's C entry.

Owns the stack memory of the call, the arrays of its result, and what is raised. Checks no types;
`numba_overloads` has done so. Importing this module imports Numba.

No address of this process gets into the code: the entry is a symbol that LLVM is told of, and the
objective's wrapper and the rules' steps are linked in. So Numba may keep a caller in its cache; see
`cached_code`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np.arrayobj import make_array, populate_array

from fastopt.core.result import ENDINGS
from fastopt.core.validate import Integer, NormOrder, Steps, Weights
from fastopt.interface.cached_code import keep_fresh
from fastopt.interface.methods import METHODS, Method, PerVariable
from fastopt.interface.tuples import CompiledResult, Options
from fastopt.objectives.calls import ARGUMENTS, VECTOR, propagate
from fastopt.objectives.wrappers import Wrapper, own_flags
from fastopt.rules.steps import c_step
from fastopt.rules.table import RULES
from fastopt.solvers.catalogue import SETTINGS
from fastopt.solvers.entry import (
    ADDRESS,
    CALL_SIZE,
    FIRST_HYPERPARAMETER,
    REFUSALS,
    SYMBOL,
    TOKEN,
    encode_methods,
)
from fastopt.solvers.state import NOT_ANALYTIC_MESSAGE

__all__ = ["RESULT", "Plan", "as_double", "generate_call"]

RESULT = types.NamedTuple(
    (
        VECTOR,
        types.float64,
        VECTOR,
        types.int64,
        types.int64,
        types.int64,
        types.int64,
        types.int64,
        types.boolean,
    ),
    CompiledResult,
)

_REFUSALS = {
    "memory": (MemoryError, "no memory for a solve of this size"),
    "not a scalar": (ValueError, "`fun` must return a scalar, got an array of another size"),
    "not a gradient": (
        ValueError,
        "the gradient must be an array of the length of x, got another length",
    ),
    "not analytic": (ValueError, NOT_ANALYTIC_MESSAGE),
    "stale": (
        RuntimeError,
        "this function was compiled with another build of fastopt; remove it from Numba's cache",
    ),
    "method": (
        ValueError,
        f"`method` must be one of {', '.join(map(repr, METHODS))} in @njit code, got another name",
    ),
    "empty": (ValueError, "`x0` must have at least one element, got an empty array"),
    "not finite": (ValueError, "`x0` must be finite, got a NaN or an infinity"),
    "tol": (ValueError, "`tol` must be a nonnegative number"),
    "wolfe": (ValueError, "`c1` must be less than `c2`"),
    "radius": (ValueError, "`initial_trust_radius` must be at most `max_trust_radius`"),
    "bound count": (
        ValueError,
        "`bounds` must be a low and a high bound for each variable, got other numbers of them",
    ),
    "bounds": (
        ValueError,
        "`bounds` must have no lower bound above its upper bound and no NaN",
    ),
    "bounded": (
        ValueError,
        "`method` must be one that takes bounds; leave `method` out, or transform the variables",
    ),
    "not a hessian": (
        ValueError,
        "`hess` must return an array of shape (n, n), got other numbers of rows or columns",
    ),
    "not a product": (
        ValueError,
        "`hessp` must return an array of the length of x, got another length",
    ),
}

_SCHEMES = {"2-point": 1, "3-point": 2, "cs": 3}  # `Scheme` in objectives/differences.pxd

_int64 = ir.IntType(64)
_int32 = ir.IntType(32)
_double = ir.DoubleType()
_pointer = cgutils.voidptr_t
_vector = _double.as_pointer()

# The struct `Call` in solvers/entry.pxd.
_CALL = {
    "token": _int64,
    "methods": _pointer,
    "steps": _pointer,
    "count": _int64,
    "chosen": _int64,
    "name": _pointer,
    "length": _int64,
    "kind": _int64,
    "value_grad": _pointer,
    "hess": _pointer,
    "hessp": _pointer,
    "context": _pointer,
    "joint": _int64,
    "inplace": _int64,
    "scheme": _int64,
    "without_gradient": _int64,
    "options": _pointer,
    "tol": _double,
    "has_tol": _int64,
    "low": _vector,
    "high": _vector,
    "low_count": _int64,
    "high_count": _int64,
    "low_stride": _int64,
    "high_stride": _int64,
    "n": _int64,
    "x": _vector,
    "gradient": _vector,
    "value": _double,
    "nit": _int64,
    "nfev": _int64,
    "njev": _int64,
    "nhev": _int64,
}
_MEMBERS = {name: i for i, name in enumerate(_CALL)}


@dataclass(frozen=True, eq=False)
class Plan:
    """What is known of a call when its caller is compiled.

    ``functions`` are the user's. ``methods`` has one row, or all of them where the method's name
    comes at run time. ``without_gradient`` says that forward differences stand in for a gradient
    that was not given.
    """

    functions: tuple[Any, ...]
    wrapper: Wrapper
    arguments: Any
    methods: tuple[Method, ...]
    without_gradient: bool


def generate_call(
    context: Any, builder: Any, plan: Plan, arguments: Mapping[str, tuple[Any, Any]]
) -> Any:
    """The code of a call; each argument of `minimize` is a pair, its type and its value."""
    return _Generator(context, builder, plan).run(arguments)


class _Generator:
    """The code of one call, as it is emitted from top to bottom."""

    def __init__(self, context: Any, builder: Any, plan: Plan) -> None:
        self.context = context
        self.builder = builder
        self.plan = plan
        self.struct = cgutils.alloca_once(builder, ir.LiteralStructType(_CALL.values()))
        if context.get_abi_sizeof(self.struct.type.pointee) != CALL_SIZE:
            raise AssertionError("the struct `Call` differs from that in solvers/entry.pxd")

    def run(self, arguments: Mapping[str, tuple[Any, Any]]) -> Any:
        builder, context = self.builder, self.context
        self.check_form(*arguments["jac"])
        start = self.put_start(*arguments["x0"])
        slopes = self.new_vector(start.n)
        self.put_method(*arguments["method"])
        address = self.put_objective(*arguments["args"])
        self.put_tol(*arguments["tol"])
        self.put_options(*arguments["options"])
        self.put_bounds(*arguments["bounds"])
        self.put(token=TOKEN, n=start.n, x=start.data, gradient=slopes.data)

        status = builder.call(self.entry(), [self.struct])
        # Inside `try`, the code goes on to the end after an exception, where nobody looks at this.
        empty = cgutils.get_null_value(context.get_value_type(RESULT))
        result = cgutils.alloca_once(builder, empty.type)
        builder.store(empty, result)
        refused = builder.icmp_signed("<", status, _int32(0))
        with builder.if_else(refused, likely=False) as (otherwise, done):
            with otherwise:
                start.release()
                slopes.release()
                self.raise_refusal(status, address)
            with done:
                builder.store(self.result(start, slopes, status), result)
        return builder.load(result)

    def result(self, start: _Vector, slopes: _Vector, status: Any) -> Any:
        value, *counts = (
            self.builder.load(self.member(name))
            for name in ("value", "nit", "nfev", "njev", "nhev")
        )
        fields = (start.array(), value, slopes.array(), *counts, *self.ending(status))
        return self.context.make_tuple(self.builder, RESULT, fields)

    def entry(self) -> Any:
        """The solver's C entry: a symbol, or else its address, which keeps Numba from caching."""
        kind = ir.FunctionType(_int32, [self.struct.type])
        if keep_fresh(self.context, self.plan.functions):
            return cgutils.get_or_insert_function(self.builder.module, kind, SYMBOL)
        address = self.context.add_dynamic_addr(self.builder, ADDRESS, info="fastopt")
        return self.builder.bitcast(address, kind.as_pointer())

    # --- the struct ----------------------------------------------------------------------------

    def member(self, name: str) -> Any:
        return cgutils.gep_inbounds(self.builder, self.struct, 0, _MEMBERS[name])

    def put(self, **values: Any) -> None:
        for name, value in values.items():
            type_ = _CALL[name]
            if isinstance(value, int):
                value = ir.Constant(type_, int(value))
            elif isinstance(type_, ir.PointerType):
                value = self.builder.bitcast(value, type_)
            self.builder.store(value, self.member(name))

    def constant(self, data: bytes) -> Any:
        """A pointer to bytes that are part of the code."""
        place = cgutils.global_constant(
            self.builder.module, "fastopt.methods", cgutils.make_bytearray(data)
        )
        place.align = 8
        return self.builder.bitcast(place, _pointer)

    def put_method(self, kind: Any, value: Any) -> None:
        methods = self.plan.methods
        complaints = list(_complaints(methods))
        rows = encode_methods(_encodable(row, complaints) for row in methods)
        self.put(methods=self.constant(rows), count=len(methods))
        steps = ir.ArrayType(_pointer, len(methods))(
            [self.step(row.rule).bitcast(_pointer) if row.rule else None for row in methods]
        )
        self.put(steps=cgutils.global_constant(self.builder.module, "fastopt.steps", steps))
        if len(methods) == 1:
            self.put(chosen=0, name=_pointer(None), length=0, kind=0)
            return
        name = cgutils.create_struct_proxy(kind)(self.context, self.builder, value=value)
        width = self.builder.zext(name.kind, _int64)
        self.put(chosen=-1, name=name.data, length=name.length, kind=width)

    def step(self, rule: str) -> Any:
        """The C step of a first-order method, linked in."""
        with own_flags():
            compiled: Any = c_step(rule)
        self.context.add_linking_libs([compiled._library])
        return self.declare(compiled.native_name)

    def declare(self, name: str) -> Any:
        """A function that is only pointed to, so that its type does not matter."""
        function = ir.FunctionType(ir.VoidType(), [])
        return cgutils.get_or_insert_function(self.builder.module, function, name)

    def put_objective(self, kind: Any, value: Any) -> Any:
        """The wrapper, and the context with the arguments; returns the latter's address."""
        wrapper, builder = self.plan.wrapper, self.builder
        parts = (wrapper.value_grad, wrapper.hess, wrapper.hessp)
        self.context.add_linking_libs([part.library for part in parts if part is not None])
        arguments = self.plan.arguments
        if not isinstance(kind, types.BaseTuple):
            kind, value = (
                types.Tuple((kind,)),
                self.context.make_tuple(builder, types.Tuple((kind,)), (value,)),
            )
        value = self.context.cast(builder, value, kind, arguments)
        header = ir.ArrayType(ir.IntType(8), ARGUMENTS)
        behind = self.context.get_value_type(arguments)
        place = cgutils.alloca_once(builder, ir.LiteralStructType([header, behind]))
        place.align = 16
        # As in Python: where a list could keep an array, all arguments are counted.
        if wrapper.layout.tree is not None:
            value = _borrowed(self.context, builder, arguments, value)
        builder.store(value, cgutils.gep_inbounds(builder, place, 0, 1))
        self.put(
            value_grad=self.declare(wrapper.value_grad.name),
            hess=self.declare(wrapper.hess.name) if wrapper.hess else _pointer(None),
            hessp=self.declare(wrapper.hessp.name) if wrapper.hessp else _pointer(None),
            context=place,
            joint=wrapper.form in ("joint", "inplace"),
            inplace=wrapper.form == "inplace",
            scheme=_SCHEMES.get(wrapper.form, 0),
            without_gradient=self.plan.without_gradient,
        )
        return builder.bitcast(place, _pointer)

    def put_tol(self, kind: Any, value: Any) -> None:
        builder, context = self.builder, self.context
        given: Any = kind != types.none
        if isinstance(kind, types.Optional):
            given = builder.zext(context.make_helper(builder, kind, value).valid, _int64)
        self.put(tol=as_double(context, builder, kind, value), has_tol=given)

    def put_options(self, kind: Any, value: Any) -> None:
        builder, context = self.builder, self.context
        if kind == types.none:
            self.put(options=_pointer(None))
            return
        place = cgutils.alloca_once(builder, ir.ArrayType(_double, len(kind)))
        for i, (type_, each) in enumerate(
            zip(kind, cgutils.unpack_tuple(builder, value), strict=True)
        ):
            number = as_double(context, builder, type_, each)
            builder.store(number, cgutils.gep_inbounds(builder, place, 0, i))
        self.put(options=place)

    def put_bounds(self, kind: Any, value: Any) -> None:
        """Two vectors, or the columns of a matrix, where they are."""
        builder, context = self.builder, self.context
        if kind == types.none:
            self.put(low=_vector(None), high=_vector(None))
            self.put(low_count=0, high_count=0, low_stride=0, high_stride=0)
            return
        if isinstance(kind, types.Array):
            matrix = make_array(kind)(context, builder, value)
            rows, columns = cgutils.unpack_tuple(builder, matrix.shape, 2)
            stride, across = cgutils.unpack_tuple(builder, matrix.strides, 2)
            are_two = builder.icmp_signed("==", columns, _int64(2))
            count = builder.select(are_two, rows, _int64(-1))
            self.put(low=matrix.data, low_count=count, low_stride=stride)
            high = cgutils.pointer_add(builder, matrix.data, across)
            self.put(high=high, high_count=count, high_stride=stride)
            return
        parts = cgutils.unpack_tuple(builder, value)
        for name, type_, part in zip(("low", "high"), kind, parts, strict=True):
            vector = make_array(type_)(context, builder, part)
            stride = cgutils.unpack_tuple(builder, vector.strides, 1)[0]
            self.put(**{name: vector.data, f"{name}_count": vector.nitems})
            self.put(**{f"{name}_stride": stride})

    # --- x0 and the result ---------------------------------------------------------------------

    def new_vector(self, n: Any) -> _Vector:
        return _Vector(self.context, self.builder, n)

    def put_start(self, kind: Any, value: Any) -> _Vector:
        """x0 as a fresh vector, which becomes the result's x."""
        builder, context = self.builder, self.context
        if isinstance(kind, types.Array) and kind.ndim == 1:
            array = make_array(kind)(context, builder, value)
            start = self.new_vector(array.nitems)
            with start.filling() as i:
                stride = cgutils.unpack_tuple(builder, array.strides, 1)[0]
                place = cgutils.pointer_add(builder, array.data, builder.mul(stride, i))
                place = builder.bitcast(place, array.data.type)
                start.store(kind.dtype, context.unpack_value(builder, kind.dtype, place), i)
            return start
        if isinstance(kind, types.List | types.ListType):
            length = types.intp(kind)
            item = kind.dtype(kind, types.intp)
            start = self.new_vector(context.compile_internal(builder, _length, length, [value]))
            with start.filling() as i:
                start.store(
                    kind.dtype, context.compile_internal(builder, _item, item, [value, i]), i
                )
            return start
        if isinstance(kind, types.BaseTuple):
            items = list(zip(kind, cgutils.unpack_tuple(builder, value), strict=True))
        else:
            items = [(kind, value)]
        start = self.new_vector(_int64(len(items)))
        with builder.if_then(start.exists, likely=True):
            for i, (type_, item) in enumerate(items):
                start.store(type_, item, _int64(i))
        return start

    def ending(self, status: Any) -> tuple[Any, Any]:
        """A result's `status` and `success`."""
        builder, module = self.builder, self.builder.module
        most = max(ENDINGS)
        endings = [ENDINGS.get(code) for code in range(most + 1)]  # type: ignore[call-overload]
        codes = [-1 if ending is None else ending.status for ending in endings]
        passed = [bool(ending and ending.success) for ending in endings]
        found = []
        for name, type_, entries in (("status", _int64, codes), ("success", ir.IntType(1), passed)):
            table = ir.ArrayType(type_, len(entries))(list(map(type_, entries)))
            place = cgutils.global_constant(module, f"fastopt.{name}", table)
            found.append(builder.load(cgutils.gep_inbounds(builder, place, 0, status)))
        return found[0], found[1]

    def check_form(self, kind: Any, value: Any) -> None:
        """A `jac` that is True or False at run time must be what the function's result said."""
        if isinstance(kind, types.Boolean):
            joint = ir.Constant(value.type, self.plan.wrapper.form == "joint")
            with self.builder.if_then(self.builder.icmp_unsigned("!=", value, joint)):
                message = "`jac` must be True if and only if `fun` returns a pair"
                self.context.call_conv.return_user_exc(self.builder, ValueError, (message,))

    # --- errors --------------------------------------------------------------------------------

    def raise_refusal(self, status: Any, address: Any) -> None:
        builder = self.builder
        refusals = {REFUSALS[name]: raised for name, raised in _REFUSALS.items()}
        for number, message in enumerate(_complaints(self.plan.methods).values()):
            refusals[REFUSALS["option"] - number] = (ValueError, message)
        otherwise = builder.append_basic_block("raised")
        choice = builder.switch(status, otherwise)
        for code, (kind, message) in refusals.items():
            block = builder.append_basic_block("refused")
            choice.add_case(_int32(code), block)
            with builder.goto_block(block):
                self.context.call_conv.return_user_exc(builder, kind, (message,))
        builder.position_at_end(otherwise)
        propagate(self.context, builder, address)


class _Vector:
    """A vector that the code makes; nowhere, if memory has run out."""

    def __init__(self, context: Any, builder: Any, n: Any) -> None:
        self.context = context
        self.builder = builder
        self.n = n
        size = builder.mul(n, _int64(8))
        self.memory = context.nrt.meminfo_alloc_unchecked(builder, size)
        self.exists = cgutils.is_not_null(builder, self.memory)
        place = cgutils.alloca_once_value(builder, _vector(None))
        with builder.if_then(self.exists, likely=True):
            start = context.nrt.meminfo_data(builder, self.memory)
            builder.store(builder.bitcast(start, _vector), place)
        self.data = builder.load(place)

    @contextmanager
    def filling(self) -> Iterator[Any]:
        """A loop over its places."""
        count = self.builder.select(self.exists, self.n, _int64(0))
        with cgutils.for_range(self.builder, count) as loop:
            yield loop.index

    def store(self, kind: Any, value: Any, i: Any) -> None:
        number = self.context.cast(self.builder, value, kind, types.float64)
        self.builder.store(number, self.builder.gep(self.data, [i]))

    def array(self) -> Any:
        array = make_array(VECTOR)(self.context, self.builder)
        size = self.context.get_constant(types.intp, 8)
        populate_array(array, self.data, [self.n], [size], size, meminfo=self.memory)
        return array._getvalue()

    def release(self) -> None:
        self.context.nrt.decref(self.builder, VECTOR, self.array())


def _length(values):
    return len(values)


def _item(values, i):
    return values[i]


def as_double(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """A number that may be missing, and is NaN then."""
    missing = ir.Constant(_double, math.nan)
    if kind == types.none:
        return missing
    if isinstance(kind, types.Optional):
        held = context.make_helper(builder, kind, value)
        number = context.cast(builder, held.data, kind.type, types.float64)
        return builder.select(cgutils.as_bool_bit(builder, held.valid), number, missing)
    return context.cast(builder, value, kind, types.float64)


def _borrowed(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Arguments whose arrays have no owner, and so no reference count.

    The caller holds them for as long as the solve lasts. Threads that share an array would wait
    for each other at its count, at every evaluation.
    """
    if isinstance(kind, types.BaseTuple):
        items = zip(kind, cgutils.unpack_tuple(builder, value), strict=True)
        return context.make_tuple(
            builder, kind, [_borrowed(context, builder, each, item) for each, item in items]
        )
    if isinstance(kind, types.Array):
        array = make_array(kind)(context, builder, value)
        array.meminfo = array.meminfo.type(None)
        array.parent = array.parent.type(None)
        return array._getvalue()
    return value


# --- the table of methods --------------------------------------------------------------------


def _complaints(methods: Iterable[Method]) -> dict[tuple[str, str], str]:
    """What is to be said of each option with a bad value, by its name and what it should be."""
    return {
        (name, option.check.expected): f"`{name}` must be {_expected(option.check)}"
        for row in methods
        for name, option in row.options.items()
        if name in Options._fields
    }


def _expected(check: Any) -> str:
    if isinstance(check, Steps):
        return "a finite nonzero number"
    if isinstance(check, Weights):
        return "a finite nonnegative number"
    return str(check.expected)


def _encodable(row: Method, complaints: list[tuple[str, str]]) -> tuple[Any, ...]:
    """A row as `encode_methods` takes it."""
    rule = RULES[row.rule] if row.rule else None
    hyperparameters = [each.name for each in rule.hyperparameters] if rule else []
    rules = []
    for name, option in row.options.items():
        if name not in Options._fields or not (name in hyperparameters or name in SETTINGS):
            continue  # of a flavor that compiled code has no word for
        default = option.default
        grows = isinstance(default, PerVariable)
        rules.append(
            {
                "source": Options._fields.index(name),
                "target": (
                    FIRST_HYPERPARAMETER + hyperparameters.index(name)
                    if name in hyperparameters
                    else SETTINGS[name]
                ),
                "default_value": 0 if grows or default is None else default,
                "per_variable": default.factor if grows else 0,
                "by_tol": name in row.tol_options,
                "complaint": complaints.index((name, option.check.expected)),
                **_limits(option.check),
            }
        )
    names = (row.name, *row.aliases)
    slots = rule.slots if rule else 0
    return names, row.solver, slots, row.has_absolute_step, rules


def _limits(check: Any) -> dict[str, Any]:
    """A check of `core.validate`, as data."""
    limits = {
        "low": getattr(check, "low", -math.inf),
        "high": getattr(check, "high", math.inf),
        "open_low": getattr(check, "open_low", False),
        "open_high": getattr(check, "open_high", False),
        "integral": isinstance(check, Integer),
        "unlimited": getattr(check, "unlimited", False),
        "nonzero": isinstance(check, NormOrder | Steps),
    }
    if isinstance(check, Steps):
        limits.update(open_low=True, open_high=True)
    return limits
