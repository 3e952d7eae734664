"""Many problems, one after another, in the workspace of one.

Owns the reuse of a `SolverState`: to begin a problem is to copy the header of a fresh state over
it. No interpreter runs between two problems. Knows nothing of threads: each has its own object.
"""

import numpy as np

cimport numpy as cnp
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fastopt.core.abi cimport (
    ENDED_BY_OBJECTIVE, NOT_ANALYTIC, RAISED, RUNNING, STOPPED, StatusCode,
)
from fastopt.core.flag cimport is_set
from fastopt.objectives.objective cimport BoundObjective
from fastopt.solvers.iteration cimport Iteration, Point, advance, answer
from fastopt.solvers.state cimport SolverState

cdef extern from "limits.h":
    const long long LLONG_MAX

from fastopt.solvers.state import NOT_ANALYTIC_MESSAGE

cnp.import_array()


cdef class Answers:
    """The results of a batch of problems: an array for each quantity, a row for each problem.

    `status` holds fastopt's own codes (`Status`), RUNNING for problems that have not ended.
    """

    cdef readonly cnp.ndarray x
    cdef readonly cnp.ndarray fun
    cdef readonly cnp.ndarray jac
    cdef readonly cnp.ndarray nit
    cdef readonly cnp.ndarray nfev
    cdef readonly cnp.ndarray njev
    cdef readonly cnp.ndarray nhev
    cdef readonly cnp.ndarray modelless
    cdef readonly cnp.ndarray status
    cdef readonly dict errors          # of the problems whose function raised

    def __cinit__(self, starts):
        problems = len(starts)
        self.x = np.array(starts, dtype=np.float64, order="C")
        self.fun = np.full(problems, np.nan)
        self.jac = np.full(starts.shape, np.nan)
        self.nit = np.zeros(problems, dtype=np.int64)
        self.nfev = np.zeros(problems, dtype=np.int64)
        self.njev = np.zeros(problems, dtype=np.int64)
        self.nhev = np.zeros(problems, dtype=np.int64)
        self.modelless = np.zeros(problems, dtype=np.int64)
        self.status = np.zeros(problems, dtype=np.int64)
        self.errors = {}

    def note(self, Py_ssize_t i, SolverState state not None):
        """Note how problem i ended, or how far it got, where the interpreter has solved it."""
        if not 0 <= i < len(self.fun) or state.n != self.x.shape[1]:
            raise ValueError(f"no place for problem {i}")
        self.write(i, state.iteration)

    cdef void write(self, Py_ssize_t i, const Iteration* state) noexcept nogil:
        cdef const Point* point = answer(state)
        cdef Py_ssize_t n = state.n
        memcpy(<double*>cnp.PyArray_DATA(self.x) + i * n, point.x, n * sizeof(double))
        (<int64_t*>cnp.PyArray_DATA(self.nit))[i] = state.nit
        (<int64_t*>cnp.PyArray_DATA(self.nfev))[i] = state.nfev
        (<int64_t*>cnp.PyArray_DATA(self.njev))[i] = state.njev
        (<int64_t*>cnp.PyArray_DATA(self.nhev))[i] = state.nhev
        (<int64_t*>cnp.PyArray_DATA(self.modelless))[i] = state.modelless
        self.set_status(i, state.status)
        if state.started:
            (<double*>cnp.PyArray_DATA(self.fun))[i] = point.value
            memcpy(<double*>cnp.PyArray_DATA(self.jac) + i * n, point.gradient,
                   n * sizeof(double))

    cdef void set_status(self, Py_ssize_t i, StatusCode status) noexcept nogil:
        (<int64_t*>cnp.PyArray_DATA(self.status))[i] = status


cdef class BatchSolver:
    """A workspace for problems of one size, solved one after another.

    Parameters
    ----------
    solver, settings
        As in `SolverState`.
    n : int
        The number of variables of each problem.
    """

    cdef readonly long long iterations    # done in all, an evaluation at x0 counts as one
    cdef SolverState state
    cdef char* header                 # the struct and, where they matter, the vectors of a state
    cdef object vectors               # that has not begun

    def __cinit__(self, str solver not None, Py_ssize_t n, dict settings not None):
        self.state = SolverState(solver, np.zeros(n), settings)
        self.header = <char*>malloc(self.state.method.state_size)
        if self.header == NULL:
            raise MemoryError
        memcpy(self.header, self.state.iteration, self.state.method.state_size)
        if solver == "first-order" or settings.get("hess_inv0") is not None:
            self.vectors = self.state.vectors.copy()

    def __dealloc__(self):
        free(self.header)

    def solve(self, BoundObjective objective not None, const double[:, ::1] starts not None,
              Answers answers not None, Py_ssize_t first, Py_ssize_t last,
              long long most=LLONG_MAX):
        """Solve problems `first` to `last` - 1, without the GIL, in at most so many iterations.

        Returns
        -------
        int
            The first problem that was not solved: `last`, or less if the objective was stopped or
            `most` was not enough. How far that one got is in `answers`; it begins anew next time.
        """
        cdef Iteration* state = self.state.iteration
        cdef Py_ssize_t i = first
        cdef StatusCode status
        if not 0 <= first <= last <= starts.shape[0]:
            raise ValueError(f"no problems {first} to {last} in a batch of {starts.shape[0]}")
        if state.n != starts.shape[1] or len(answers.fun) != starts.shape[0]:
            raise ValueError("starts, answers and solver are not of one size")
        with nogil:
            while i < last and most > 0:
                objective.select(i)
                self.begin(&starts[i, 0])
                status = advance(&self.state.method, state, &objective.objective, most)
                most -= state.nit + 1
                self.iterations += state.nit + 1
                if status == RAISED or status == NOT_ANALYTIC:
                    with gil:
                        answers.errors[i] = error_of(objective, status)
                    state.status = ENDED_BY_OBJECTIVE     # the best point is the answer
                    answers.write(i, state)
                    answers.set_status(i, RAISED)
                    i += 1
                    continue
                if status == RUNNING:
                    answers.write(i, state)
                    break
                if status == STOPPED:
                    state.status = ENDED_BY_OBJECTIVE
                    if is_set(&objective.objective.stop):
                        answers.write(i, state)
                        answers.set_status(i, RUNNING)
                        break
                answers.write(i, state)
                i += 1
        return i

    cdef void begin(self, const double* x0) noexcept nogil:
        cdef Iteration* state = self.state.iteration
        memcpy(state, self.header, self.state.method.state_size)
        if self.vectors is not None:
            memcpy(cnp.PyArray_DATA(<cnp.ndarray>self.state.vectors),
                   cnp.PyArray_DATA(<cnp.ndarray>self.vectors),
                   cnp.PyArray_NBYTES(<cnp.ndarray>self.vectors))
        memcpy(state.current.x, x0, state.n * sizeof(double))


cdef object error_of(BoundObjective objective, StatusCode status):
    """The exception that ended a problem."""
    if status == NOT_ANALYTIC:
        return ValueError(NOT_ANALYTIC_MESSAGE)
    try:
        objective.raise_error()
    except Exception as error:
        return error.with_traceback(None)
