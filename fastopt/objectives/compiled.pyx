"""Machine code as a C objective, and the arguments that it reads.

Owns the context that a wrapper gets with every call: its own scratch memory and the arguments, laid
out as its machine code expects them. Knows nothing of how a wrapper was made.
"""

import numpy as np

cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetContext, PyCapsule_GetName, PyCapsule_GetPointer
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from fastopt.core.abi cimport (
    REPLY_DONE, REPLY_RAISED, REPLY_STOP, hess_fn, hessp_fn, value_grad_fn,
)
from fastopt.objectives.complex_step cimport is_short
from fastopt.objectives.context cimport (
    ARGUMENTS, NO_MEMORY, NOT_A_GRADIENT, NOT_A_HESSIAN, NOT_A_PRODUCT, NOT_A_SCALAR, Context, Slot,
    multiply_held,
)
from fastopt.objectives.differences cimport COMPLEX_STEP, THREE_POINT, TWO_POINT, default_step
from fastopt.objectives.objective cimport BoundObjective

cdef extern from "Python.h":
    PyObject* PyErr_Occurred()

cnp.import_array()

SCHEMES = {"2-point": TWO_POINT, "3-point": THREE_POINT, "cs": COMPLEX_STEP}

# Kinds of leaves; `packing.py` has them as well.
cdef enum:
    ARRAY = 0
    SCALAR = 1
    POINTER = 2


cdef class CompiledObjective(BoundObjective):
    """A compiled function bound to its arguments, or to those of a batch of problems.

    Parameters
    ----------
    wrapper : fastopt.objectives.wrappers.Wrapper
        The machine code, and how it expects its arguments.
    args : tuple
        The arguments, of the types that the wrapper was compiled for; of a batch, whole arrays
        where `batched` says so.
    n : int
        The number of variables.
    abs_step, rel_step : float or ndarray of shape (n,), optional
        Steps of the differences, as in `PythonObjective`.
    batched : tuple of bool, optional
        Which arguments are arrays whose first axis counts the problems; problem 0 is selected.
    preconditioner : array or callable, optional
        As in `BoundObjective.set_preconditioner`.
    bounds : array of shape (2, n), optional
        As in `BoundObjective.set_bounds`.
    """

    def __cinit__(self, wrapper, tuple args not None, Py_ssize_t n, abs_step=None, rel_step=None,
                  tuple batched=(), preconditioner=None, bounds=None):
        cdef str form = wrapper.form
        layout = wrapper.layout
        self.n = n
        self.wrapper = wrapper
        self.args = args
        self.context = <Context*>calloc(1, ARGUMENTS + max(1, <Py_ssize_t>layout.size))
        if self.context == NULL:
            raise MemoryError
        self.context.stop = &self.objective.stop
        self.objective.value_grad = <value_grad_fn><size_t>wrapper.value_grad.address
        self.objective.context = self.context
        self.objective.joint = form in ("joint", "inplace")
        self.set_bounds(bounds)
        self.context.low = self.objective.low
        self.context.high = self.objective.high
        if form in SCHEMES:
            self.set_steps(SCHEMES[form], abs_step, rel_step)
        elif form == "inplace":
            self.keep = np.empty(n)
            self.context.point = <double*>cnp.PyArray_DATA(<cnp.ndarray>self.keep)
        if wrapper.hess is not None:
            self.objective.hess = <hess_fn><size_t>wrapper.hess.address
        if wrapper.hessp is not None:
            self.objective.hessp = <hessp_fn><size_t>wrapper.hessp.address
        elif wrapper.hess is not None:
            self.hold_hessian()
        self.set_preconditioner(preconditioner)
        self.pack(layout, batched)

    def __dealloc__(self):
        if self.release != NULL:
            self.release(<char*>self.context + ARGUMENTS)
        free(self.slots)
        free(self.context)

    cdef int set_steps(self, scheme, abs_step, rel_step) except -1:
        cdef cnp.ndarray steps = np.zeros((2, self.n))
        cdef double* vectors = <double*>cnp.PyArray_DATA(steps)
        (<object>steps)[0] = 0.0 if abs_step is None else abs_step
        (<object>steps)[1] = 0.0 if rel_step is None else rel_step
        self.keep = steps
        self.context.abs_step = vectors
        self.context.rel_step = vectors + self.n
        self.objective.gradient_cost = self.count_free(self.n)
        if scheme == THREE_POINT:
            self.objective.gradient_cost *= 2
        given = np.abs(steps)
        if scheme == COMPLEX_STEP:
            self.objective.complex_step = is_short(given.max())
        else:
            self.objective.difference_step = (
                given[given > 0].min() if given.any() else default_step(scheme))
        return 0

    cdef int hold_hessian(self) except -1:
        """Have products come from the Hessian, evaluated once at a point."""
        self.matrix = np.empty((self.n + 1, self.n))
        self.context.matrix = <double*>cnp.PyArray_DATA(<cnp.ndarray>self.matrix)
        self.context.place = self.context.matrix + self.n * self.n
        self.context.hess = self.objective.hess
        self.objective.hessp = multiply_held
        self.objective.holds = True
        return 0

    # --- arguments -----------------------------------------------------------------------------

    cdef int pack(self, layout, tuple batched) except -1:
        cdef char* start = <char*>self.context + ARGUMENTS
        cdef Py_ssize_t i
        first = tuple([arg[0] if i < len(batched) and batched[i] else arg
                       for i, arg in enumerate(self.args)]) if any(batched) else self.args
        if layout.tree is None:
            layout.store(<size_t>start, first)
            self.release = <release_fn><size_t>layout.release.address
        else:
            put_all(start, layout.tree, first)
        if any(batched):
            self.slots = <Slot*>calloc(len(batched), sizeof(Slot))
            if self.slots == NULL:
                raise MemoryError
            for i in range(len(batched)):
                if batched[i]:
                    set_slot(&self.slots[self.slot_count], start, layout.leaves[i], self.args[i])
                    self.slot_count += 1
        return 0

    cdef void select(self, Py_ssize_t i) noexcept nogil:
        """Turn to the arguments of problem i of the batch."""
        cdef Py_ssize_t k
        cdef const char* source
        self.context.held = False
        for k in range(self.slot_count):
            source = self.slots[k].source + i * self.slots[k].stride
            if self.slots[k].size == 0:
                (<const char**>self.slots[k].target)[0] = source
            else:
                memcpy(self.slots[k].target, source, self.slots[k].size)

    # --- errors --------------------------------------------------------------------------------

    cdef int raise_error(self) except -1:
        cdef int code = self.context.code
        if self.error is not None:        # of the preconditioner
            BoundObjective.raise_error(self)
        if PyErr_Occurred() != NULL:      # code that went back to the interpreter has left it there
            return -1
        if code == NO_MEMORY:
            raise MemoryError(f"no memory for a copy of x, {self.context.detail} numbers")
        if code == NOT_A_SCALAR:
            raise ValueError("`fun` must return a scalar, got an array of "
                             f"{self.context.detail} numbers")
        if code == NOT_A_GRADIENT:
            name = "`fun` (jac=True)" if self.wrapper.form == "joint" else "`jac`"
            raise ValueError(f"{name} must return an array of shape ({self.n},), got one of "
                             f"{self.context.detail} numbers")
        if code == NOT_A_HESSIAN:
            raise ValueError(f"`hess` must return an array of shape {(self.n, self.n)}, got one "
                             f"with {self.context.detail} rows or columns")
        if code == NOT_A_PRODUCT:
            raise ValueError(f"`hessp` must return an array of shape ({self.n},), got one of "
                             f"{self.context.detail} numbers")
        from fastopt.objectives.wrappers import raise_from      # loads Numba, which is loaded
        raise_from(<size_t>self.context)


cdef int put_all(char* start, tuple tree, args) except -1:
    """Write arguments to where their leaves are, tuples within tuples included."""
    for leaf, value in zip(tree, args):
        if type(leaf) is tuple:
            put_all(start, leaf, value)
        else:
            put(start + <Py_ssize_t>leaf.offset, leaf.kind, leaf.dtype, value)
    return 0


cdef int put(char* target, int kind, dtype, value) except -1:
    cdef cnp.ndarray array
    cdef int64_t* fields = <int64_t*>target
    cdef int i, dimensions
    if kind == ARRAY:
        # Numba's array: owner, parent, number of items, their size, data, shape, strides. Without
        # an owner it is not counted; `args` of the objective keeps it.
        array = <cnp.ndarray?>value
        dimensions = cnp.PyArray_NDIM(array)
        fields[0] = 0
        fields[1] = 0
        fields[2] = cnp.PyArray_SIZE(array)
        fields[3] = cnp.PyArray_ITEMSIZE(array)
        fields[4] = <int64_t><size_t>cnp.PyArray_DATA(array)
        for i in range(dimensions):
            fields[5 + i] = cnp.PyArray_DIM(array, i)
            fields[5 + dimensions + i] = cnp.PyArray_STRIDE(array, i)
    elif kind == SCALAR:
        array = np.array(value, dtype=dtype)
        memcpy(target, cnp.PyArray_DATA(array), cnp.PyArray_ITEMSIZE(array))
    elif kind == POINTER:
        fields[0] = value.__array_interface__["data"][0]
    return 0


cdef int set_slot(Slot* slot, char* start, leaf, value) except -1:
    """Where a batched argument's part for problem i goes, and where it comes from."""
    cdef cnp.ndarray array = <cnp.ndarray?>value
    slot.source = <const char*>cnp.PyArray_DATA(array)
    slot.stride = cnp.PyArray_STRIDE(array, 0)
    slot.target = start + <Py_ssize_t>leaf.offset
    if leaf.kind == ARRAY:
        slot.target += 4 * sizeof(int64_t)
    elif leaf.kind == SCALAR:
        slot.size = cnp.PyArray_ITEMSIZE(array)
    return 0


# A C function of the user's own, its last argument, and its last answer that is none.
cdef struct Called:
    value_grad_fn function
    void* context
    int answer


cdef class CFunctionObjective(BoundObjective):
    """A C function of the user's own, of type `value_grad_fn`.

    Parameters
    ----------
    capsule : PyCapsule
        The function; the capsule's context is what it gets as its last argument.
    owner : object
        Kept alive for as long as this.
    """

    cdef object owner
    cdef Called called

    def __init__(self, capsule, owner, preconditioner=None, bounds=None):
        cdef const char* name = PyCapsule_GetName(capsule)
        self.owner = owner
        self.called.function = <value_grad_fn>PyCapsule_GetPointer(capsule, name)
        self.called.context = PyCapsule_GetContext(capsule)
        self.objective.value_grad = call
        self.objective.context = &self.called
        self.objective.joint = True
        self.set_preconditioner(preconditioner)
        self.set_bounds(bounds)

    cdef int raise_error(self) except -1:
        if self.error is not None:        # of the preconditioner
            BoundObjective.raise_error(self)
        if PyErr_Occurred() != NULL:
            return -1
        raise RuntimeError(f"the C function that is `fun` answered {self.called.answer}: its code "
                           "has failed")


cdef int call(const double* x, double* value, double* grad, Py_ssize_t n,
              void* context) noexcept nogil:
    """Answers that are no `Reply` are failures, too."""
    cdef Called* called = <Called*>context
    cdef int answer = called.function(x, value, grad, n, called.context)
    if answer == REPLY_DONE or answer == REPLY_STOP:
        return answer
    called.answer = answer
    return REPLY_RAISED
