"""BFGS (Nocedal & Wright 2006, algorithm 6.1), DFP (equation 6.15) and L-BFGS (algorithm 7.5).

Own the pair of each step and Powell's damping of it. Know nothing of searches and their failures,
nor of how curvature is stored.
"""

from fastopt.core.abi cimport Objective, StatusCode
from fastopt.core.vector cimport (
    Products, axpy, dot, length_of, scale_by, subtract_both, whole_lines,
)
from fastopt.solvers cimport (
    inverse_hessian, inverse_hessian_avx2, limited_memory, limited_memory_avx2,
)
from fastopt.solvers.descent cimport Descent, Engine, begin_descent, descend, set_out
from fastopt.solvers.inverse_hessian cimport (
    LIMITED, InverseHessian, MemoryKind, forget, lay_out_matrix, matrix_size,
)
from fastopt.solvers.iteration cimport (
    SHARED_VECTORS, Iteration, Method, Point, accept_trial, lay_out_points,
)
from fastopt.solvers.limited_memory cimport lay_out_pairs, pairs_size
from fastopt.solvers.settings cimport AT_DAMPING, AT_MAXCOR, AT_THREADS

cdef extern from *:
    """
    #if defined(__GNUC__) && defined(__x86_64__)
    #define fastopt_has_avx2() __builtin_cpu_supports("avx2")
    #else
    #define fastopt_has_avx2() 0
    #endif
    """
    bint has_avx2 "fastopt_has_avx2"() noexcept nogil

# Whether vectors of this length and longer are handled in registers of four doubles; shorter ones
# gain nothing.
cdef Py_ssize_t WIDE = 16
cdef bint wide_registers = has_avx2()

# More than there are processors, and an int.
cdef double MOST_THREADS = 1e6
# L-BFGS with so many variables and more streams its pairs. (Microseconds an iteration, m = 10, by
# the two ways: n = 200: 3.3 and 3.5; 300: 4.3 and 3.7; 1000: 10.7 and 8.9.)
cdef Py_ssize_t streamed_from = 300

# Powell's constant: a pair has at least this share of the curvature that the memory expects.
cdef double LEAST_SHARE = 0.2

cdef Engine ENGINE
ENGINE.aim = NULL
ENGINE.follow = follow
ENGINE.blind = False
ENGINE.forget = forget_all


cdef Method quasi_newton_method() noexcept nogil:
    cdef Method method
    method.state_size = sizeof(QuasiNewton)
    method.count_doubles = count_doubles
    method.lay_out = lay_out
    method.work = work
    method.prepare = prepare
    method.iterate = iterate
    return method


cdef void begin_quasi_newton(QuasiNewton* state, MemoryKind kind,
                             const double* settings) noexcept nogil:
    """What is not zero in a state that has done nothing yet; `begin` comes first."""
    begin_descent(&state.descent, settings)
    state.damped = settings[AT_DAMPING] != 0
    state.memory.kind = kind
    state.memory.n = state.descent.iteration.n
    state.memory.m = <Py_ssize_t>settings[AT_MAXCOR] if kind == LIMITED else 0
    state.memory.streamed = kind == LIMITED and state.memory.n >= streamed_from
    state.memory.threads = <int>min(settings[AT_THREADS], MOST_THREADS) if kind == LIMITED else 1
    state.memory.empty = True
    state.memory.scale = 1


cdef void prepare(void* address, const Objective* objective) noexcept nogil:
    cdef QuasiNewton* state = <QuasiNewton*>address
    cdef Descent* descent = &state.descent
    cdef const double* gradient = descent.iteration.current.gradient
    cdef double slope = 0
    if not state.memory.empty:                    # it was given what an earlier solve had learnt
        slope = point_downhill(&state.memory, gradient, descent.direction)
    set_out(descent, &ENGINE, objective, slope)


cdef StatusCode iterate(void* address, const Objective* objective) noexcept nogil:
    return descend(<Descent*>address, &ENGINE, objective)


cdef double follow(Descent* descent, bint along) noexcept nogil:
    cdef QuasiNewton* state = <QuasiNewton*>descent
    cdef Iteration* iteration = &descent.iteration
    cdef InverseHessian* memory = &state.memory
    cdef Py_ssize_t n = iteration.n
    cdef Products products
    cdef double slope
    form_pair(memory, &iteration.current, &iteration.trial, &products)
    memory.share = 1
    if state.damped and along and not memory.empty:
        damp(memory, iteration.current.gradient, descent.direction, &products)
    accept_trial(iteration, length_of(memory.s, products.ss, n))
    slope = learn(memory, products.sy, iteration.step, length_of(memory.y, products.yy, n), along,
                  iteration.current.gradient, descent.direction)
    descent.steepest = memory.empty
    descent.scale = memory.scale
    return slope


cdef void damp(InverseHessian* memory, const double* gradient, const double* direction,
               Products* products) noexcept nogil:
    """Move y towards B s where s'y is small (Nocedal & Wright 2006, procedure 18.2).

    B is the inverse of what the memory holds: with s = a d and d = -H g, B s is -a g.
    """
    cdef Py_ssize_t n = memory.n
    cdef double step = dot(memory.s, direction, n) / dot(direction, direction, n)
    cdef double expected = -step * dot(memory.s, gradient, n)
    cdef double share
    if products.sy >= LEAST_SHARE * expected:
        return
    share = (1 - LEAST_SHARE) * expected / (expected - products.sy)
    scale_by(share, memory.y, n)
    axpy(-(1 - share) * step, gradient, memory.y, n)
    memory.share = share
    memory.summed = False
    products.sy = dot(memory.s, memory.y, n)
    products.yy = dot(memory.y, memory.y, n)


cdef void forget_all(Descent* descent) noexcept nogil:
    cdef QuasiNewton* state = <QuasiNewton*>descent
    forget(&state.memory)
    state.memory.scale = descent.scale


cdef void form_pair(InverseHessian* memory, const Point* before, const Point* after,
                    Products* products) noexcept nogil:
    if memory.streamed and wide_registers:
        limited_memory_avx2.form_pair(memory, before, after, products)
    elif memory.streamed:
        limited_memory.form_pair(memory, before, after, products)
    else:
        products[0] = subtract_both(after.x, before.x, memory.s,
                                    after.gradient, before.gradient, memory.y, memory.n)


cdef double learn(InverseHessian* memory, double curvature, double length, double change,
                  bint along, const double* gradient, double* direction) noexcept nogil:
    cdef bint wide = wide_registers and memory.n >= WIDE
    if memory.kind != LIMITED:
        if wide:
            return inverse_hessian_avx2.learn(memory, curvature, length, change, along, gradient,
                                              direction)
        return inverse_hessian.learn(memory, curvature, length, change, along, gradient, direction)
    if wide:
        return limited_memory_avx2.learn(memory, curvature, length, change, gradient, direction)
    return limited_memory.learn(memory, curvature, length, change, gradient, direction)


cdef double point_downhill(InverseHessian* memory, const double* gradient,
                           double* direction) noexcept nogil:
    cdef bint wide = wide_registers and memory.n >= WIDE
    if memory.kind != LIMITED:
        if wide:
            return inverse_hessian_avx2.point_downhill(memory, gradient, direction)
        return inverse_hessian.point_downhill(memory, gradient, direction)
    if wide:
        return limited_memory_avx2.point_downhill(memory, gradient, direction)
    return limited_memory.point_downhill(memory, gradient, direction)


cdef Py_ssize_t count_doubles(const void* address) noexcept nogil:
    cdef const QuasiNewton* state = <const QuasiNewton*>address
    cdef Py_ssize_t vectors = SHARED_VECTORS + 1          # the points and the direction
    return whole_lines(vectors * state.descent.iteration.n) + memory_size(&state.memory)


cdef Py_ssize_t memory_size(const InverseHessian* memory) noexcept nogil:
    return pairs_size(memory) if memory.kind == LIMITED else matrix_size(memory)


cdef void lay_out(void* address, double* vectors) noexcept nogil:
    cdef QuasiNewton* state = <QuasiNewton*>address
    cdef Py_ssize_t n = state.descent.iteration.n
    state.descent.direction = lay_out_points(&state.descent.iteration, vectors)
    vectors += whole_lines((SHARED_VECTORS + 1) * n)
    if state.memory.kind == LIMITED:
        lay_out_pairs(&state.memory, vectors)
    else:
        lay_out_matrix(&state.memory, vectors)


cdef double work(const void* address) noexcept nogil:
    cdef const QuasiNewton* state = <const QuasiNewton*>address
    return 4 * <double>memory_size(&state.memory)


def use_wide_registers(bint wanted):
    """For tests: use AVX2, where the processor has it, or do not. Says whether it was used before.

    No bit of any result depends on it.
    """
    global wide_registers
    before = wide_registers
    wide_registers = wanted and has_avx2()
    return before


def stream_from(Py_ssize_t n):
    """For tests: stream the pairs of L-BFGS from n variables on. Says from where it did before."""
    global streamed_from
    before = streamed_from
    streamed_from = n
    return before
