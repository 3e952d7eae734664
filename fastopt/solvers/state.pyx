"""A solver's state as a Python object: made from settings, advanced, read, pickled.

Owns the memory. Knows nothing of callbacks, clocks or messages.
"""

import threading

import numpy as np
from scipy.optimize import LbfgsInvHessProduct

cimport numpy as cnp
from libc.math cimport NAN
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from fastopt.core.abi import Status

from fastopt.core.abi cimport (
    NOT_ANALYTIC, RAISED, REPLY_STOP, RUNNING, STOPPED, StatusCode,
)
from fastopt.core.flag cimport is_set
from fastopt.core.rule_step cimport RuleStep
from fastopt.core.vector cimport LINE, next_line
from fastopt.objectives.objective cimport BoundObjective
from fastopt.solvers.accelerated cimport Accelerated, copy_weights
from fastopt.solvers.bound_rule cimport BoundRule
from fastopt.solvers.bounded cimport Bounded, copy_bounds
from fastopt.solvers.box cimport clip
from fastopt.solvers.catalogue cimport (
    ACCELERATED, BFGS, DFP, FIRST_ORDER, LBFGS, LBFGSB, NEWTON, NEWTON_CG, State, begin_solver,
    method_of,
)
from fastopt.solvers.compact_hessian cimport CompactHessian, read_pair, recall_pair
from fastopt.solvers.first_order cimport FirstOrder, take_pending_step
from fastopt.solvers.inverse_hessian cimport InverseHessian
from fastopt.solvers.iteration cimport (
    SHARED_VECTORS, Iteration, Point, advance, answer, revisit, slope_norm,
)
from fastopt.solvers.limited_memory cimport most_pairs, put_in_order, recall
from fastopt.solvers.newton cimport IN_OBJECTIVE, IN_STATE, NOT_KNOWN, Newton
from fastopt.solvers.quasi_newton cimport QuasiNewton
from fastopt.solvers.settings cimport SETTING_COUNT

from fastopt.solvers.catalogue import SETTINGS, SOLVERS, WORDS

cnp.import_array()

# The GIL is let go where the solver's own work between two evaluations is more than this many
# operations, about 10 ms: to get it back takes as long as another thread may keep it, 5 ms by
# default. Beside one busy thread dense BFGS took 2 times as long at n = 4500 without the GIL, but
# 5 times as long at n = 2300, where holding it costs 2.
cdef double RELEASE_GIL = 3e7

# So many doubles are worth beginning at a cache line.
cdef enum:
    MANY = 4096

NOT_ANALYTIC_MESSAGE = (
    "`fun` must be analytic when jac='cs', but at x0 its complex steps disagree with central "
    "differences: abs, real, conj and norms, for example, lose the step; use jac='3-point', "
    "jac='2-point' or an exact gradient")

STRANGE_PICKLE = "this solver was pickled by another version or build of fastopt"

# What the numbers in a pickle mean: raised where that changes but not how many there are.
LAYOUT = 6

cdef dict STATUSES = {int(status): status for status in Status}     # quicker than `Status(...)`
cdef tuple PLACES = tuple(SETTINGS.items())


cdef class SolverState:
    """The state of one solve.

    Parameters
    ----------
    solver : str
        Which solver: one of `fastopt.solvers.catalogue.SOLVERS`.
    x0 : ndarray of float64, shape (n,)
        Where it starts; copied.
    settings : dict
        Limits and constants, complete and checked, by the names in `SETTINGS`, and besides:
        what `BoundRule` takes of a first-order method, ``hess_inv0``, ``bounds`` of
        "l-bfgs-b", an array of shape (2, n), and ``may_be_sparse`` of "newton": whether the first
        Hessian decides if there is to be a matrix here. ``l1`` of "accelerated" may be an array of
        shape (n,).
    """

    def __cinit__(self, str solver not None, const double[::1] x0 not None, dict settings not None):
        cdef Py_ssize_t n = x0.shape[0]
        cdef double[SETTING_COUNT] numbers
        self.solver = solver
        self.settings = settings
        self.lock = threading.Lock()
        self.kind = SOLVERS[solver]
        self.method = method_of(self.kind)
        self.iteration = <Iteration*>calloc(1, self.method.state_size)
        if self.iteration == NULL:
            raise MemoryError
        read_settings(settings, numbers)
        begin_solver(self.kind, <State*>self.iteration, n, numbers)
        if self.kind == FIRST_ORDER:
            self.set_rule(<FirstOrder*>self.iteration)
        elif (self.kind == LBFGS or self.kind == LBFGSB) and settings["maxcor"] > most_pairs(n):
            raise MemoryError(f"`maxcor` must leave room for maxcor pairs of vectors, got "
                              f"{settings['maxcor']}")
        elif self.kind == NEWTON and settings.get("may_be_sparse"):
            (<Newton*>self.iteration).place = NOT_KNOWN
        self.vectors = self.room()
        self.lay_out()
        memcpy(self.iteration.current.x, &x0[0], n * sizeof(double))
        if self.kind == LBFGSB:
            self.set_bounds(settings["bounds"])
        elif self.kind == ACCELERATED and cnp.PyArray_Check(settings.get("l1")):
            self.set_weights(<Accelerated*>self.iteration, settings["l1"])
        if settings.get("hess_inv0") is not None:
            if self.kind == LBFGSB:
                self.set_pairs(&(<Bounded*>self.iteration).memory, settings["hess_inv0"])
            else:
                self.set_curvature(&(<QuasiNewton*>self.iteration).memory, settings["hess_inv0"])
            self.settings = {**settings, "hess_inv0": None}      # it need not travel in pickles

    def __dealloc__(self):
        free(self.iteration)

    cdef object room(self):
        """Zeros, as many as the method keeps; or what is said if there is no memory for them."""
        cdef Py_ssize_t n = self.iteration.n
        cdef Py_ssize_t count = self.method.count_doubles(self.iteration)
        try:
            return allocate(count)
        except MemoryError:
            advice = "; l-bfgs, cg and newton-cg keep no matrix" if count / n >= n / 2 else ""
            raise MemoryError(f"the {self.solver} solver keeps {count / 2**27:,.1f} GiB for {n} "
                              f"variables{advice}") from None

    cdef void lay_out(self):
        self.method.lay_out(self.iteration, <double*>cnp.PyArray_DATA(<cnp.ndarray>self.vectors))

    cdef int set_curvature(self, InverseHessian* memory, given) except -1:
        """Begin with what an earlier solve has learnt: a matrix, or pairs."""
        cdef Py_ssize_t i, n = memory.n
        cdef double* row = memory.matrix
        cdef const double[:, ::1] source, changes
        if self.kind == LBFGS:
            source, changes = given
            for i in range(max(0, source.shape[0] - memory.m), source.shape[0]):
                memcpy(memory.s, &source[i, 0], n * sizeof(double))
                memcpy(memory.y, &changes[i, 0], n * sizeof(double))
                recall(memory)
            return 0
        source = given
        memory.empty = False
        memory.pairs = 1
        for i in range(n):
            memcpy(row, &source[i, 0], (i + 1) * sizeof(double))
            row += i + 1
        return 0

    cdef int set_bounds(self, const double[:, ::1] bounds) except -1:
        cdef Iteration* state = self.iteration
        if bounds.shape[0] != 2 or bounds.shape[1] != state.n:
            raise ValueError(f"no bounds of {state.n} variables")
        copy_bounds(<Bounded*>state, &bounds[0, 0], sizeof(double), &bounds[1, 0], sizeof(double))
        clip(state.current.x, state.low, state.high, state.n)
        return 0

    cdef int set_weights(self, Accelerated* state, const double[::1] weights) except -1:
        if weights.shape[0] != state.iteration.n:
            raise ValueError(f"no weights of {state.iteration.n} variables")
        if state.penalised:
            copy_weights(state, &weights[0])
        return 0

    cdef int set_pairs(self, CompactHessian* memory, given) except -1:
        cdef const double[:, ::1] source, changes
        cdef Py_ssize_t i
        source, changes = given
        for i in range(max(0, source.shape[0] - memory.m), source.shape[0]):
            recall_pair(memory, &source[i, 0], &changes[i, 0])
        return 0

    cdef int set_rule(self, FirstOrder* state) except -1:
        cdef BoundRule bound = BoundRule(self.settings, np.float64)
        self.bound_rule = bound
        state.rule = bound.rule
        return 0

    cdef bint can_go_on(self):
        return self.iteration.status in (RUNNING, RAISED, STOPPED, NOT_ANALYTIC)

    # --- running -----------------------------------------------------------------------------

    def advance(self, BoundObjective objective not None, long long k, bint release=False):
        """Run at most `k` more iterations; the first call also evaluates at x0.

        With `release`, without the GIL; where an iteration is long, without it in any case.

        Returns
        -------
        bool
            Whether there is more to do; also if the objective has cut it short (`stopped`).

        Raises
        ------
        RuntimeError
            If this state is running already, in another thread or in a caller of this one.
        ValueError
            If the gradient at x0 is by complex steps and wrong; nothing has been advanced then.
        Exception
            What the user's function raised. The state stays as the last iteration left it and can
            be advanced again.
        """
        cdef StatusCode status
        self.take()
        try:
            if not self.can_go_on():
                return False
            if k > 0 and self.kind == NEWTON and (
                    (<Newton*>self.iteration).place == NOT_KNOWN):
                status = self.run(objective, 0, release)
                if status == RUNNING:
                    status = self.place_hessian(objective)
                if status == RUNNING:
                    status = self.run(objective, k, release)
            else:
                status = self.run(objective, k, release)
        finally:
            objective.look_away()
            self.lock.release()
        return status == RUNNING or status == STOPPED

    def revisit(self, BoundObjective objective not None, const double[::1] x not None):
        """Evaluate at x, where the function may be another than it was, and be there.

        What was learnt of its curvature is kept, and a solve that has ended can go on. Where point,
        value and gradient are the last iterate's to the last bit, nothing changes. For "l-bfgs" and
        "newton-cg".

        Raises
        ------
        RuntimeError
            If this state is running already, in another thread or in a caller of this one.
        Exception
            What the user's function raised. The state is as it was.
        """
        if self.kind != LBFGS and self.kind != NEWTON_CG:
            raise ValueError(f"{self.solver} cannot be sent to another point")
        if x.shape[0] != self.iteration.n:
            raise ValueError(f"`x` must be of shape ({self.iteration.n},), got ({x.shape[0]},)")
        self.take()
        try:
            if revisit(&self.method, self.iteration, &objective.objective, &x[0]) == RAISED:
                objective.raise_error()
        finally:
            self.lock.release()

    cdef StatusCode run(self, BoundObjective objective, long long k, bint release) except *:
        cdef StatusCode status
        if release or self.method.work(self.iteration) > RELEASE_GIL:
            with nogil:
                status = advance(&self.method, self.iteration, &objective.objective, k)
        else:
            status = advance(&self.method, self.iteration, &objective.objective, k)
        if status == RAISED:
            objective.raise_error()
        if status == NOT_ANALYTIC:
            raise ValueError(NOT_ANALYTIC_MESSAGE)
        return status

    cdef StatusCode place_hessian(self, BoundObjective objective) except *:
        """Look at the first Hessian; make room for a matrix if it is not sparse."""
        cdef Newton* state = <Newton*>self.iteration
        cdef bint sparse = False
        if is_set(&objective.objective.stop) or REPLY_STOP == objective.look_at_hessian(
                self.iteration.current.x, &sparse):
            self.iteration.status = STOPPED
            return STOPPED
        if sparse:
            state.place = IN_OBJECTIVE
            return RUNNING
        block = self.gather()
        state.place = IN_STATE
        try:
            self.vectors = self.room()
        except MemoryError:
            state.place = NOT_KNOWN
            raise
        self.vectors[:len(block)] = block
        self.lay_out()
        return RUNNING

    def finish(self, StatusCode status):
        """End the solve for a reason from outside."""
        self.take()
        self.iteration.status = status
        self.lock.release()

    def land(self):
        """Have a first-order method be where its last step has led, without an evaluation there."""
        self.take()
        if self.kind == FIRST_ORDER:
            take_pending_step(<FirstOrder*>self.iteration)
        self.lock.release()

    cdef int take(self) except -1:
        if not self.lock.acquire(blocking=False):
            raise RuntimeError("this solver is running already: `fun` must not call it, nor "
                               "another thread at the same time")
        return 0

    # --- reading -----------------------------------------------------------------------------

    @property
    def status(self):
        """Why it ended, or `Status.RUNNING`."""
        return STATUSES[self.iteration.status]

    @property
    def stopped(self):
        """Whether the objective cut the last `advance` short."""
        return self.iteration.status == STOPPED

    @property
    def started(self):
        """Whether the function has been evaluated at x0."""
        return bool(self.iteration.started)

    @property
    def n(self):
        """The number of variables."""
        return self.iteration.n

    @property
    def x(self):
        """A copy of the point to return: the last iterate, or the best point if it ended badly."""
        return self.read(answer(self.iteration).x)

    @property
    def fun(self):
        """The value there; NaN before the first evaluation."""
        return answer(self.iteration).value

    @property
    def jac(self):
        """A copy of the gradient there; NaN before the first evaluation."""
        return self.read_gradient(answer(self.iteration))

    @property
    def last_x(self):
        """A copy of the last iterate."""
        return self.read(self.iteration.current.x)

    @property
    def average(self):
        """A copy of a first-order method's averaged iterates; None if it keeps no average, or has
        none yet."""
        cdef const FirstOrder* state = <const FirstOrder*>self.iteration
        if (self.kind != FIRST_ORDER or state.average == NULL
                or state.iteration.nit <= state.average_from):
            return None
        return self.read(state.average)

    @property
    def last_fun(self):
        """The value there; NaN before the first evaluation."""
        return self.iteration.current.value

    @property
    def last_jac(self):
        """A copy of the gradient there; NaN before the first evaluation."""
        return self.read_gradient(&self.iteration.current)

    @property
    def nit(self):
        """Iterations done."""
        return self.iteration.nit

    @property
    def nfev(self):
        """Calls of the function, those of finite differences included."""
        return self.iteration.nfev

    @property
    def njev(self):
        """Gradients computed."""
        return self.iteration.njev

    @property
    def nhev(self):
        """Hessians computed, or products of them."""
        return self.iteration.nhev

    @property
    def modelless(self):
        """Iterations along the gradient, since a Hessian, a product of it, or what a preconditioner
        gave was not finite."""
        return self.iteration.modelless

    @property
    def gradient_norm(self):
        """The largest magnitude in the gradient at the last iterate, projected where there are
        bounds, and in the smallest subgradient with an l1 term; NaN before the first evaluation."""
        return slope_norm(self.iteration) if self.iteration.started else NAN

    @property
    def step(self):
        """Euclidean length of the last step; NaN before the first."""
        return self.iteration.step

    cdef object read_gradient(self, const Point* point):
        if not self.iteration.started:
            return np.full(self.iteration.n, NAN)
        return self.read(point.gradient)

    cdef object read(self, const double* vector):
        cdef cnp.npy_intp shape = self.iteration.n
        cdef cnp.ndarray copy = cnp.PyArray_EMPTY(1, &shape, cnp.NPY_DOUBLE, 0)
        memcpy(cnp.PyArray_DATA(copy), vector, shape * sizeof(double))
        return copy

    def hess_inv(self):
        """The approximation of the inverse Hessian, in the form that SciPy's method gives it."""
        if self.kind == BFGS or self.kind == DFP:
            return self.dense_inverse(&(<QuasiNewton*>self.iteration).memory)
        if self.kind == LBFGS:
            return self.limited_inverse(&(<QuasiNewton*>self.iteration).memory)
        if self.kind == LBFGSB:
            return self.compact_inverse(&(<Bounded*>self.iteration).memory)
        return None

    cdef object dense_inverse(self, const InverseHessian* memory):
        cdef Py_ssize_t i, j, n = memory.n
        cdef const double* row = memory.matrix
        cdef const double* v = memory.pending_v
        cdef const double* w = memory.pending_w
        cdef cnp.npy_intp[2] shape = [n, n]
        cdef cnp.ndarray matrix
        cdef double* full
        if memory.pairs == 0:
            return memory.scale * np.eye(n)
        matrix = cnp.PyArray_EMPTY(2, shape, cnp.NPY_DOUBLE, 0)
        full = <double*>cnp.PyArray_DATA(matrix)
        for i in range(n):
            for j in range(i + 1):
                full[i * n + j] = row[j]
                if memory.pending:
                    full[i * n + j] = memory.growth * row[j] + (v[i] * w[j] + w[i] * v[j])
                full[j * n + i] = full[i * n + j]
            row += i + 1
        return matrix

    cdef object limited_inverse(self, InverseHessian* memory):
        """Copies of the pairs; those of many variables themselves, where the solve has ended."""
        if not memory.streamed or self.can_go_on():
            return LbfgsInvHessProduct(self.unroll(memory, memory.steps),
                                       self.unroll(memory, memory.changes))
        put_in_order(memory)
        return LbfgsInvHessProduct(self.rows(memory, memory.steps),
                                   self.rows(memory, memory.changes))

    cdef object rows(self, const InverseHessian* memory, const double* ring):
        """The rows in use as a view of the block, which must not change any more."""
        cdef Py_ssize_t start = ring - <double*>cnp.PyArray_DATA(<cnp.ndarray>self.vectors)
        block = self.vectors[start:start + memory.pairs * memory.stride]
        return block.reshape(memory.pairs, memory.stride)[:, :memory.n]

    cdef object compact_inverse(self, const CompactHessian* memory):
        cdef cnp.npy_intp[2] shape = [memory.reported, memory.n]
        cdef cnp.ndarray steps = cnp.PyArray_EMPTY(2, shape, cnp.NPY_DOUBLE, 0)
        cdef cnp.ndarray changes = cnp.PyArray_EMPTY(2, shape, cnp.NPY_DOUBLE, 0)
        cdef Py_ssize_t i
        for i in range(memory.reported):
            read_pair(memory, i, <double*>cnp.PyArray_DATA(steps) + i * memory.n,
                      <double*>cnp.PyArray_DATA(changes) + i * memory.n)
        return LbfgsInvHessProduct(steps, changes)

    cdef object unroll(self, const InverseHessian* memory, const double* ring):
        """The rows of a ring that are in use, the oldest first."""
        cdef cnp.npy_intp[2] shape = [memory.pairs, memory.n]
        cdef cnp.ndarray rows = cnp.PyArray_EMPTY(2, shape, cnp.NPY_DOUBLE, 0)
        cdef double* target = <double*>cnp.PyArray_DATA(rows)
        cdef Py_ssize_t i
        cdef Py_ssize_t first = (memory.next - memory.pairs + memory.m) % memory.m
        for i in range(memory.pairs):
            memcpy(target + i * memory.n, ring + ((first + i) % memory.m) * memory.stride,
                   memory.n * sizeof(double))
        return rows

    # --- pickling ----------------------------------------------------------------------------

    def __reduce__(self):
        return restore, (self.solver, self.x, self.settings, *self.save())

    def save(self):
        """All that `restore` needs besides what the state was made of: bytes, an array of float64
        and the number of their layout."""
        self.take()
        try:
            header = (<char*>self.iteration)[:self.method.state_size]
            return header, self.gather(), LAYOUT
        finally:
            self.lock.release()

    cdef object gather(self):
        """The block of vectors as `lay_out` has it: the points may have exchanged theirs."""
        cdef Iteration* state = self.iteration
        block = self.vectors.copy()
        block[:SHARED_VECTORS * state.n] = np.concatenate((
            self.read(state.current.x), self.read(state.current.gradient),
            self.read(state.trial.x), self.read(state.trial.gradient),
            self.read(state.best.x), self.read(state.best.gradient)))
        return block


cdef object allocate(Py_ssize_t size):
    """That many zeros; many of them begin a cache line."""
    cdef cnp.ndarray block
    cdef double* start
    cdef Py_ssize_t skipped
    if size < MANY:
        return np.zeros(size)
    block = np.zeros(size + LINE - 1)
    start = <double*>cnp.PyArray_DATA(block)
    skipped = next_line(start) - start
    return block[skipped:skipped + size]


cdef int read_settings(dict settings, double* numbers) except -1:
    """The settings as solvers read them."""
    cdef Py_ssize_t i
    for i in range(SETTING_COUNT):
        numbers[i] = 0
    for name, place in PLACES:
        value = settings.get(name)
        if value is not None:
            if type(value) is str:
                value = WORDS[value]
            elif cnp.PyArray_Check(value):
                value = value.max()
            numbers[<Py_ssize_t>place] = value
    return 0


def restore(solver, x0, settings, bytes header, vectors, layout=1):
    """A state as it was pickled; pickles of layout 1 did not name it."""
    cdef SolverState state = SolverState(solver, x0, settings)
    cdef RuleStep rule
    if layout != LAYOUT or len(header) != <Py_ssize_t>state.method.state_size:
        raise ValueError(STRANGE_PICKLE)
    if state.kind == FIRST_ORDER:
        rule = (<FirstOrder*>state.iteration).rule
    memcpy(state.iteration, <const char*>header, len(header))
    if state.kind == FIRST_ORDER:
        (<FirstOrder*>state.iteration).rule = rule      # its addresses are this process's
    if len(vectors) != state.method.count_doubles(state.iteration):
        raise ValueError(STRANGE_PICKLE)
    if len(vectors) != len(state.vectors):
        state.vectors = allocate(len(vectors))
    state.vectors[:] = vectors
    state.lay_out()
    return state
