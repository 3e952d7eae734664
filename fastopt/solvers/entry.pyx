"""A whole solve as one C call: what `fastopt.minimize` inside @njit code comes down to.

Owns what the Python side of a solve owns elsewhere: the checks of options, the workspace, the
clock. Needs no interpreter. Knows nothing of Numba, nor of methods but what `encode_methods` was
told: the machine code of a caller carries those bytes, and this module's TOKEN, so that code from
another build is refused and not misread.
"""

import zlib

from cpython.time cimport perf_counter
from libc.math cimport INFINITY, NAN, fabs, floor, isfinite
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastopt._version import __version__

from fastopt.core.abi cimport (
    MAXTIME, NOT_ANALYTIC, RAISED, RUNNING, Objective, StatusCode,
)
from fastopt.core.vector cimport LINE, all_finite, next_line
from fastopt.objectives.complex_step cimport is_short
from fastopt.objectives.context cimport (
    NO_MEMORY, NOT_A_GRADIENT, NOT_A_HESSIAN, NOT_A_PRODUCT, NOT_A_SCALAR, multiply_held,
)
from fastopt.objectives.differences cimport (
    COMPLEX_STEP, EXACT, THREE_POINT, Scheme, default_step,
)
from fastopt.solvers.bounded cimport copy_bounds
from fastopt.solvers.catalogue cimport (
    FIRST_ORDER, LBFGS, LBFGSB, NEWTON_CG, TRUST_NCG, SolverKind, State, begin_solver, method_of,
)
from fastopt.solvers.iteration cimport Iteration, Method, Point, advance, answer
from fastopt.solvers.limited_memory cimport most_pairs
from fastopt.solvers.settings cimport (
    AT_ABSOLUTE_STEP, AT_C1, AT_C2, AT_INITIAL_RADIUS, AT_MAX_RADIUS, AT_MAXCOR, AT_MAXTIME,
    AT_RELATIVE_STEP, AT_HYPERPARAMETERS, SETTING_COUNT,
)

from fastopt.solvers.catalogue import SOLVERS

# As in `validate.UNLIMITED`.
cdef double UNLIMITED = 2.0 ** 62


cdef int solve(Call* call) noexcept nogil:
    """Minimise, from x0 to the end. Answers a `StatusCode`, or a `Refusal`."""
    cdef double[SETTING_COUNT] settings
    cdef const MethodRow* row
    cdef int refusal
    cdef bint bounded = False
    if call.token != C_TOKEN:
        return REFUSED_STALE
    row = find_method(call)
    if row == NULL:
        return REFUSED_METHOD
    if call.n == 0:
        return REFUSED_EMPTY
    if call.x == NULL or call.gradient == NULL:
        return REFUSED_MEMORY
    if not all_finite(call.x, call.n):
        return REFUSED_NOT_FINITE
    refusal = read_options(call, row, settings)
    if refusal != 0:
        return refusal
    refusal = read_bounds(call, &bounded)
    if refusal != 0:
        return refusal
    if bounded and row.solver != LBFGS and row.solver != LBFGSB:
        return REFUSED_BOUNDED
    return run(call, row, settings, bounded)


# --- the method and its options --------------------------------------------------------------

cdef const MethodRow* find_method(const Call* call) noexcept nogil:
    cdef int64_t i
    if call.chosen >= 0:
        return &call.methods[call.chosen]
    for i in range(call.count):
        if is_named(&call.methods[i], call):
            return &call.methods[i]
    return NULL


cdef bint is_named(const MethodRow* row, const Call* call) noexcept nogil:
    """Whether the name that was given is one of the method's, in any case."""
    cdef const char* names = row.names
    cdef int64_t i = 0
    while names[0] != 0:
        i = 0
        while i < call.length and names[i] == lower(character(call, i)):
            i += 1
        if i == call.length and i > 0 and names[i] == b" ":
            return True
        while names[0] != b" ":
            names += 1
        names += 1
    return False


cdef uint32_t character(const Call* call, int64_t i) noexcept nogil:
    if call.kind == 1:
        return (<const uint8_t*>call.name)[i]
    if call.kind == 2:
        return (<const uint16_t*>call.name)[i]
    return (<const uint32_t*>call.name)[i]


cdef uint32_t lower(uint32_t character) noexcept nogil:
    return character + 32 if 65 <= character <= 90 else character


cdef int read_options(const Call* call, const MethodRow* row, double* settings) noexcept nogil:
    """The method's settings, checked and complete; 0, or why they cannot be had."""
    cdef const OptionRule* rule
    cdef double value
    cdef int64_t i
    for i in range(SETTING_COUNT):
        settings[i] = 0
    for i in range(row.count):
        rule = &row.options[i]
        value = NAN if call.options == NULL else call.options[rule.source]
        if value != value:
            value = rule.default_value + rule.per_variable * call.n
            if rule.by_tol and call.has_tol:
                value = call.tol
        elif not is_allowed(rule, value):
            return BAD_OPTION - <int>rule.complaint
        settings[rule.target] = min(value, UNLIMITED) if rule.integral else value
    if call.has_tol and not call.tol >= 0:
        return REFUSED_TOL
    if settings[AT_C1] > 0 and settings[AT_C1] >= settings[AT_C2]:
        return REFUSED_WOLFE
    if settings[AT_INITIAL_RADIUS] > settings[AT_MAX_RADIUS]:
        return REFUSED_RADIUS
    if (row.solver == LBFGS or row.solver == LBFGSB) and settings[AT_MAXCOR] > most_pairs(call.n):
        return REFUSED_MEMORY
    return 0


cdef int read_bounds(const Call* call, bint* bounded) noexcept nogil:
    """Whether any bound is finite; 0, or why they are no bounds."""
    cdef double low, high
    cdef int64_t i
    if call.low == NULL:
        return 0
    if call.low_count != call.n or call.high_count != call.n:
        return REFUSED_BOUND_COUNT
    for i in range(call.n):
        low = (<const double*>(<const char*>call.low + i * call.low_stride))[0]
        high = (<const double*>(<const char*>call.high + i * call.high_stride))[0]
        if not (low <= high and low < INFINITY and high > -INFINITY):
            return REFUSED_BOUNDS
        if isfinite(low) or isfinite(high):
            bounded[0] = True
    return 0


cdef bint is_allowed(const OptionRule* rule, double value) noexcept nogil:
    """As the checks of `validate.py`."""
    if rule.nonzero and value == 0:
        return False
    if rule.integral and not (isfinite(value) and floor(value) == value
                              or rule.unlimited and value == INFINITY):
        return False
    return ((value > rule.low if rule.open_low else value >= rule.low)
            and (value < rule.high if rule.open_high else value <= rule.high))


# --- the solve -------------------------------------------------------------------------------

cdef int run(Call* call, const MethodRow* row, const double* settings,
             bint bounded) noexcept nogil:
    cdef State state
    cdef SolverKind kind = <SolverKind>row.solver
    cdef Method method
    cdef Objective objective
    cdef StatusCode status
    cdef const Point* solution
    cdef Py_ssize_t size
    cdef double* block
    cdef double* vectors
    memset(&state, 0, sizeof(State))
    memset(&objective, 0, sizeof(Objective))
    if kind == LBFGS or kind == LBFGSB:
        kind = LBFGSB if bounded else LBFGS
    method = method_of(kind)
    begin_solver(kind, &state, call.n, settings)
    if row.solver == FIRST_ORDER:
        state.first_order.rule.step = call.steps[row - call.methods]
        state.first_order.rule.slots = row.slots
    size = method.count_doubles(&state)
    block = <double*>calloc(LINE - 1 + size + scratch_size(call, row), sizeof(double))
    if block == NULL:
        return REFUSED_MEMORY
    vectors = next_line(block)
    method.lay_out(&state, vectors)
    memcpy(state.iteration.current.x, call.x, call.n * sizeof(double))
    if bounded:
        copy_bounds(&state.bounded, call.low, call.low_stride, call.high, call.high_stride)
    objective.low = state.iteration.low
    objective.high = state.iteration.high
    set_objective(&objective, call, row, settings, vectors + size)
    status = run_to_the_end(&method, &state.iteration, &objective, settings[AT_MAXTIME])
    solution = answer(&state.iteration)
    memcpy(call.x, solution.x, call.n * sizeof(double))
    memcpy(call.gradient, solution.gradient, call.n * sizeof(double))
    call.value = solution.value
    call.nit = state.iteration.nit
    call.nfev = state.iteration.nfev
    call.njev = state.iteration.njev
    call.nhev = state.iteration.nhev
    free(block)
    if status == RAISED:
        return refusal_of(call.context.code)
    if status == NOT_ANALYTIC:
        return REFUSED_NOT_ANALYTIC
    return status


cdef StatusCode run_to_the_end(const Method* method, Iteration* state, const Objective* objective,
                               double maxtime) noexcept nogil:
    cdef double end
    cdef StatusCode status
    if maxtime == INFINITY:
        return advance(method, state, objective, <long long>UNLIMITED)
    end = perf_counter() + maxtime
    status = advance(method, state, objective, 0)
    while status == RUNNING:
        if perf_counter() >= end:
            state.status = MAXTIME
            return MAXTIME
        status = advance(method, state, objective, 1)
    return status


cdef bint holds_hessian(const Call* call, const MethodRow* row) noexcept nogil:
    """Whether products come from the Hessian."""
    return (call.hess != NULL and call.hessp == NULL
            and (row.solver == NEWTON_CG or row.solver == TRUST_NCG))


cdef Py_ssize_t scratch_size(const Call* call, const MethodRow* row) noexcept nogil:
    """How many doubles the objective needs for itself."""
    cdef Py_ssize_t size = 0
    if call.scheme != EXACT:
        size = 2 * call.n
    elif call.inplace:
        size = call.n
    if holds_hessian(call, row):
        size += call.n * (call.n + 1)
    return size


cdef void set_objective(Objective* objective, const Call* call, const MethodRow* row,
                        const double* settings, double* scratch) noexcept nogil:
    cdef Context* context = call.context
    cdef double absolute = 0
    cdef double relative = settings[AT_RELATIVE_STEP]
    cdef double step
    cdef int64_t i
    memset(context, 0, sizeof(Context))
    context.stop = &objective.stop
    context.point = scratch
    context.low = objective.low
    context.high = objective.high
    objective.value_grad = call.value_grad
    objective.context = context
    objective.joint = call.joint
    objective.hess = call.hess
    objective.hessp = call.hessp
    if holds_hessian(call, row):
        context.matrix = scratch
        context.place = scratch + call.n * call.n
        context.hess = call.hess
        objective.hessp = multiply_held
        objective.holds = True
        scratch += call.n * (call.n + 1)
        context.point = scratch
    if call.scheme == EXACT:
        return
    # As in SciPy: relative with a scheme by name, absolute without one.
    if call.without_gradient and row.absolute_step:
        absolute, relative = settings[AT_ABSOLUTE_STEP], 0
    for i in range(call.n):
        scratch[i] = absolute
        scratch[call.n + i] = relative
    context.abs_step = scratch
    context.rel_step = scratch + call.n
    for i in range(call.n):
        objective.gradient_cost += objective.low == NULL or objective.low[i] < objective.high[i]
    if call.scheme == THREE_POINT:
        objective.gradient_cost *= 2
    step = fabs(absolute if absolute != 0 else relative)
    if call.scheme == COMPLEX_STEP:
        objective.complex_step = is_short(step)
    else:
        objective.difference_step = step if step > 0 else default_step(<Scheme>call.scheme)


cdef int refusal_of(int code) noexcept nogil:
    """What is to be raised for the code that an evaluation left in the context."""
    if code == NO_MEMORY:
        return REFUSED_MEMORY
    if code == NOT_A_SCALAR:
        return REFUSED_NOT_A_SCALAR
    if code == NOT_A_GRADIENT:
        return REFUSED_NOT_A_GRADIENT
    if code == NOT_A_HESSIAN:
        return REFUSED_NOT_A_HESSIAN
    if code == NOT_A_PRODUCT:
        return REFUSED_NOT_A_PRODUCT
    return REFUSED_RAISED


# --- what callers are compiled with ----------------------------------------------------------

def encode_methods(rows):
    """The rows of methods as `solve` reads them.

    Parameters
    ----------
    rows : sequence of tuple
        For each method its names in lower case, its solver (of `SOLVERS`), the number of its
        rule's slots, whether differences for want of a gradient read ``eps``, and its options:
        dicts of `OptionRule`'s members by name.

    Returns
    -------
    bytes
        As many `MethodRow`.
    """
    cdef MethodRow row
    cdef bytes encoded = b""
    for names, solver, slots, absolute_step, options in rows:
        text = "".join([name + " " for name in names]).encode("ascii")
        if len(text) >= sizeof(row.names) or len(options) > MOST_OPTIONS:
            raise ValueError(f"{names[0]} has too many names or options")
        memset(&row, 0, sizeof(MethodRow))
        memcpy(row.names, <const char*>text, len(text))
        row.solver = SOLVERS[solver]
        row.slots = slots
        row.absolute_step = absolute_step
        for option in options:
            row.options[row.count] = option
            row.count += 1
        encoded += (<const char*>&row)[:sizeof(MethodRow)]
    return encoded


#: The name under which `solve` is made known to LLVM, and where it is.
SYMBOL = "fastopt_solve"
ADDRESS = <size_t>&solve
#: `Call.token` of code that was compiled with this build, and the size of what it has to pass.
CALL_SIZE = sizeof(Call)
TOKEN = zlib.crc32(f"{__version__} {sizeof(Call)} {sizeof(MethodRow)} {sizeof(Context)}".encode())
REFUSALS = {
    "raised": REFUSED_RAISED,
    "memory": REFUSED_MEMORY,
    "not a scalar": REFUSED_NOT_A_SCALAR,
    "not a gradient": REFUSED_NOT_A_GRADIENT,
    "not analytic": REFUSED_NOT_ANALYTIC,
    "stale": REFUSED_STALE,
    "method": REFUSED_METHOD,
    "empty": REFUSED_EMPTY,
    "not finite": REFUSED_NOT_FINITE,
    "tol": REFUSED_TOL,
    "wolfe": REFUSED_WOLFE,
    "not a hessian": REFUSED_NOT_A_HESSIAN,
    "not a product": REFUSED_NOT_A_PRODUCT,
    "radius": REFUSED_RADIUS,
    "bound count": REFUSED_BOUND_COUNT,
    "bounds": REFUSED_BOUNDS,
    "bounded": REFUSED_BOUNDED,
    "option": BAD_OPTION,
}
FIRST_HYPERPARAMETER = AT_HYPERPARAMETERS
cdef int64_t C_TOKEN = TOKEN
