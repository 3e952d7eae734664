"""The owner of a C objective on the Python side."""

import numpy as np

cimport numpy as cnp
from libc.math cimport NAN
from libc.string cimport memcpy

from fastopt.core.abi cimport REPLY_DONE, REPLY_RAISED, REPLY_STOP
from fastopt.core.flag cimport set_flag

cnp.import_array()


cdef class BoundObjective:
    """A function bound to its arguments, as a C objective; the base of all kinds of objective."""

    def stop(self, bint stop=True):
        """Have the solve that runs, in another thread, end at its next evaluation.

        With False, take that back, so that it can go on.
        """
        set_flag(&self.objective.stop, stop)

    def evaluate(self, x, bint value=True, bint gradient=True):
        """Value and gradient at x, for callers in Python; NaN where they are not asked for.

        x is a C-contiguous float64 array. What the user's code raises comes out.
        """
        cdef const double[::1] point = x
        cdef double found = NAN
        cdef double[::1] slopes = np.full(point.size, NAN)
        cdef int reply = self.objective.value_grad(
            &point[0], &found if value else NULL, &slopes[0] if gradient else NULL, point.size,
            self.objective.context)
        if reply == REPLY_RAISED:
            self.raise_error()
        if reply == REPLY_STOP:
            return NAN, np.full(point.size, NAN)
        return found, np.asarray(slopes)

    cdef void select(self, Py_ssize_t i) noexcept nogil:
        """Turn to problem i, where this is the objective of a batch."""

    cdef int look_at_hessian(self, const double* x, bint* sparse) except -1:
        """Find out whether `objective.newton` is to be used, before the Hessian at x is asked for.

        Answers a `Reply`. What was found serves once, as it is the user's to change; `look_away`
        ends that.
        """
        sparse[0] = False
        return REPLY_DONE

    cdef void look_away(self):
        """Have the next Hessian evaluated, wherever it is asked for."""

    cdef int raise_error(self) except -1:
        """Raise what the user's code raised in the evaluation that answered `REPLY_RAISED`."""
        error, self.error = self.error, None
        raise error

    cdef int set_preconditioner(self, given) except -1:
        """An array of shape (n,), the diagonal of the preconditioner, or a callable of a vector."""
        if given is None:
            return 0
        self.preconditioner = given
        if isinstance(given, np.ndarray):
            self.objective.precondition = multiply_diagonal
            self.objective.preconditioner = cnp.PyArray_DATA(<cnp.ndarray>given)
        else:
            self.objective.precondition = call_preconditioner
            self.objective.preconditioner = <void*>self
        return 0

    cdef int set_bounds(self, given) except -1:
        """Lower and upper bounds, an array of shape (2, n), that differences and checks keep."""
        cdef double* low
        if given is None:
            return 0
        self.bounds = np.ascontiguousarray(given, dtype=np.float64)
        low = <double*>cnp.PyArray_DATA(<cnp.ndarray>self.bounds)
        self.objective.low = low
        self.objective.high = low + cnp.PyArray_DIM(<cnp.ndarray>self.bounds, 1)
        return 0

    cdef Py_ssize_t count_free(self, Py_ssize_t n):
        """How many of n variables may have more than one value."""
        return n if self.bounds is None else np.count_nonzero(self.bounds[0] < self.bounds[1])


cdef int multiply_diagonal(const double* vector, double* image, Py_ssize_t n,
                           void* context) noexcept nogil:
    cdef const double* diagonal = <const double*>context
    cdef Py_ssize_t i
    for i in range(n):
        image[i] = diagonal[i] * vector[i]
    return REPLY_DONE


cdef int call_preconditioner(const double* vector, double* image, Py_ssize_t n,
                             void* context) noexcept with gil:
    cdef BoundObjective self = <BoundObjective>context
    cdef cnp.npy_intp shape = n
    cdef cnp.ndarray copy = cnp.PyArray_EMPTY(1, &shape, cnp.NPY_DOUBLE, 0)
    cdef cnp.ndarray array
    memcpy(cnp.PyArray_DATA(copy), vector, n * sizeof(double))
    try:
        found = np.asarray(self.preconditioner(copy))
        if found.dtype.kind not in "fiub" or found.size != n:
            raise ValueError("`preconditioner` must return an array of real numbers of shape "
                             f"({n},), got shape {found.shape} and dtype {found.dtype}")
        array = np.ascontiguousarray(found, dtype=np.float64)
        memcpy(image, cnp.PyArray_DATA(array), n * sizeof(double))
        return REPLY_DONE
    except BaseException as error:
        self.error = error
        return REPLY_RAISED
