"""A vector of parameters that a rule steps in place: the core of a training loop's optimizers.

Owns the slots, the number of the step, and the division of the vector into groups. Knows nothing of
options and their names; an optimizer has checked them.
"""

import numpy as np

cimport numpy as cnp
from libc.stdlib cimport calloc, free

from fastopt.core.rule_step cimport RuleStep, clip_scale, take_step
from fastopt.core.vector cimport all_finite, real
from fastopt.solvers.bound_rule cimport BoundRule

cnp.import_array()

# From so many parameters on, a step lets go of the GIL: it then takes some 0.1 ms.
cdef enum:
    MANY = 65536


# Neighbouring parameters of one group.
cdef struct Piece:
    Py_ssize_t start
    Py_ssize_t size
    const RuleStep* rule


cdef class Stepper:
    """Parameters, slots, and a rule for each group of parameters.

    Parameters
    ----------
    theta : ndarray of float32 or float64, shape (n,), contiguous and writable
        The parameters; kept, and stepped in place.
    rules : list of BoundRule
        One for each group, all of one rule in one flavor.
    pieces : list of (start, stop, group)
        Which parameters belong to which group: all of them, each to one.
    """

    cdef readonly cnp.ndarray theta
    cdef readonly cnp.ndarray slots
    cdef public long long t           # steps taken
    cdef public long long skipped     # and left out, which is the caller's to count
    cdef list rules                   # keeps what the pieces point to alive
    cdef Piece* pieces
    cdef Py_ssize_t count
    cdef Py_ssize_t n

    def __cinit__(self, cnp.ndarray theta not None, list rules not None, list pieces not None):
        cdef Py_ssize_t k
        self.theta = theta
        self.n = theta.shape[0]
        self.rules = rules
        self.slots = np.zeros(((<BoundRule?>rules[0]).rule.slots, self.n), theta.dtype)
        self.count = len(pieces)
        self.pieces = <Piece*>calloc(self.count, sizeof(Piece))
        if self.pieces == NULL:
            raise MemoryError
        for k, (start, stop, group) in enumerate(pieces):
            self.pieces[k].start = start
            self.pieces[k].size = stop - start
            self.pieces[k].rule = &(<BoundRule?>rules[group]).rule

    def __dealloc__(self):
        free(self.pieces)

    cpdef bint fits(self, grad):
        """Whether `grad` is an array that can be stepped along."""
        return (isinstance(grad, np.ndarray)
                and cnp.PyArray_NDIM(<cnp.ndarray>grad) == 1
                and (<cnp.ndarray>grad).shape[0] == self.n
                and cnp.PyArray_TYPE(<cnp.ndarray>grad) == cnp.PyArray_TYPE(self.theta)
                and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>grad))

    def is_finite(self, cnp.ndarray grad not None):
        """Whether all of a gradient that fits is finite."""
        if cnp.PyArray_TYPE(grad) == cnp.NPY_FLOAT:
            return all_finite(<const float*>cnp.PyArray_DATA(grad), self.n)
        return all_finite(<const double*>cnp.PyArray_DATA(grad), self.n)

    def step(self, grad):
        """One step along `grad`. False, and nothing is changed, if it does not fit."""
        if not self.fits(grad):
            return False
        self.t += 1
        if cnp.PyArray_TYPE(self.theta) == cnp.NPY_FLOAT:
            run(self, <float*>cnp.PyArray_DATA(self.theta),
                <const float*>cnp.PyArray_DATA(<cnp.ndarray>grad),
                <float*>cnp.PyArray_DATA(self.slots))
        else:
            run(self, <double*>cnp.PyArray_DATA(self.theta),
                <const double*>cnp.PyArray_DATA(<cnp.ndarray>grad),
                <double*>cnp.PyArray_DATA(self.slots))
        return True


cdef void run(Stepper stepper, real* x, const real* grad, real* slots):
    cdef const Piece* pieces = stepper.pieces
    cdef Py_ssize_t count = stepper.count
    cdef Py_ssize_t n = stepper.n
    cdef long long t = stepper.t
    if n < MANY:
        step_pieces(pieces, count, x, grad, slots, t, n)
    else:
        with nogil:
            step_pieces(pieces, count, x, grad, slots, t, n)


cdef void step_pieces(const Piece* pieces, Py_ssize_t count, real* x, const real* grad,
                      real* slots, long long t, Py_ssize_t n) noexcept nogil:
    cdef double scale = clip_scale(pieces[0].rule, grad, n)
    cdef Py_ssize_t k, start
    for k in range(count):
        start = pieces[k].start
        take_step(pieces[k].rule, x + start, grad + start, slots + start, scale, t,
                  pieces[k].size, n)
