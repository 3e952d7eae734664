"""A solver's state as a Python object."""

from fastopt.core.abi cimport StatusCode
from fastopt.objectives.objective cimport BoundObjective
from fastopt.solvers.accelerated cimport Accelerated
from fastopt.solvers.catalogue cimport SolverKind
from fastopt.solvers.compact_hessian cimport CompactHessian
from fastopt.solvers.first_order cimport FirstOrder
from fastopt.solvers.inverse_hessian cimport InverseHessian
from fastopt.solvers.iteration cimport Iteration, Method, Point


cdef class SolverState:

    cdef SolverKind kind
    cdef Method method
    cdef Iteration* iteration         # the first member of the solver's own struct
    cdef object vectors               # the block that its pointers point into
    cdef object bound_rule            # keeps what `FirstOrder.rule` points to alive
    cdef dict settings
    cdef object lock
    cdef readonly str solver

    cdef object room(self)
    cdef void lay_out(self)
    cdef int set_curvature(self, InverseHessian* memory, given) except -1
    cdef int set_bounds(self, const double[:, ::1] bounds) except -1
    cdef int set_weights(self, Accelerated* state, const double[::1] weights) except -1
    cdef int set_pairs(self, CompactHessian* memory, given) except -1
    cdef int set_rule(self, FirstOrder* state) except -1
    cdef int take(self) except -1
    cdef StatusCode run(self, BoundObjective objective, long long k, bint release) except *
    cdef StatusCode place_hessian(self, BoundObjective objective) except *
    cdef object read_gradient(self, const Point* point)
    cdef object read(self, const double* vector)
    cdef object dense_inverse(self, const InverseHessian* memory)
    cdef object limited_inverse(self, InverseHessian* memory)
    cdef object rows(self, const InverseHessian* memory, const double* ring)
    cdef bint can_go_on(self)
    cdef object compact_inverse(self, const CompactHessian* memory)
    cdef object unroll(self, const InverseHessian* memory, const double* ring)
    cdef object gather(self)
