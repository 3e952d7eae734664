"""Interpreter callables as C objectives.

Owns the calls: a fresh array for each, the checks of what comes back, finite differences, and the
exception that a call ends with. Knows nothing of solvers. `evaluate` is what solvers call; it
takes the GIL itself, which costs nothing to speak of when the thread holds it already.
"""

from functools import partial
from time import perf_counter

import numpy as np
from scipy.sparse import csc_array, issparse

cimport numpy as cnp
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from libc.math cimport INFINITY, NAN
from libc.string cimport memcpy

from fastopt.core.abi cimport REPLY_DONE, REPLY_RAISED, REPLY_STOP
from fastopt.core.vector cimport multiply_lower
from fastopt.objectives.complex_step cimport is_short
from fastopt.objectives.differences cimport (
    COMPLEX_STEP, EXACT, THREE_POINT, TWO_POINT, Scheme, Stencil, default_step, difference_step,
    place_points, three_point_slope,
)
from fastopt.objectives.objective cimport BoundObjective

from fastopt.objectives.sparse import newton_step

cnp.import_array()

SCHEMES = {"inplace": EXACT, "2-point": TWO_POINT, "3-point": THREE_POINT, "cs": COMPLEX_STEP}


cdef class PythonObjective(BoundObjective):
    """An interpreter callable and its gradient, bound to their arguments.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args) -> float``; with ``jac=True``, ``-> (float, array)``; with
        ``jac="inplace"``, ``fun(x, grad, *args) -> float``, which fills ``grad``, an array of shape
        (n,), or (0,) where the value alone is wanted.
    jac : callable, True, "inplace", "2-point", "3-point" or "cs"
        The gradient: ``jac(x, *args) -> array``, part of what `fun` computes, or differences.
    args : tuple
        Further arguments of both.
    n : int
        The number of variables.
    abs_step, rel_step : float or ndarray of shape (n,), optional
        Absolute and relative steps of the differences; where 0 or not given, the scheme's own.
    workers : callable, optional
        ``workers(function, iterable)``, like `map`, for the evaluations of one gradient.
    hess : callable, optional
        The Hessian: ``hess(x, *args)``, an array of shape (n, n), a sparse one, or what else has a
        product with a vector.
    hessp : callable, optional
        Its product: ``hessp(x, p, *args) -> array``.
    preconditioner : array or callable, optional
        As in `BoundObjective.set_preconditioner`.
    bounds : array of shape (2, n), optional
        As in `BoundObjective.set_bounds`.

    Attributes
    ----------
    deadline : float
        On the clock of `time.perf_counter`; no value is computed after it, and the solve ends.
    """

    cdef object fun
    cdef object jac
    cdef tuple args
    cdef bint inplace
    cdef Scheme scheme
    cdef double default        # its relative step
    cdef Py_ssize_t n
    cdef object abs_step       # arrays of shape (n,), zero where none is given
    cdef object rel_step
    cdef object workers
    cdef object hess
    cdef object hessp
    cdef object held           # the Hessian at `place`, for products
    cdef object place
    cdef object seen           # what `hess` returned where it was looked at, for its first use
    cdef double value          # the function at the last point it was asked for
    cdef public double deadline

    def __init__(self, fun, jac, tuple args not None, Py_ssize_t n, abs_step=None, rel_step=None,
                 workers=None, hess=None, hessp=None, preconditioner=None, bounds=None):
        self.fun = fun
        self.hess = hess
        self.hessp = hessp
        self.jac = jac
        self.args = args
        self.n = n
        self.scheme = SCHEMES[jac] if isinstance(jac, str) else EXACT
        self.default = default_step(self.scheme, hasattr(fun, "nopython_signatures"))
        self.workers = workers
        self.deadline = INFINITY
        self.objective.value_grad = evaluate
        self.objective.context = <void*>self
        if hess is not None:
            self.objective.hess = evaluate_hess
            self.objective.newton = find_newton_step
        if hess is not None or hessp is not None:
            self.objective.hessp = evaluate_product
        self.objective.holds = hessp is None
        self.set_preconditioner(preconditioner)
        self.set_bounds(bounds)
        self.inplace = isinstance(jac, str) and jac == "inplace"
        self.objective.joint = jac is True or self.inplace
        if self.scheme != EXACT:
            self.abs_step = np.ascontiguousarray(
                np.broadcast_to(0.0 if abs_step is None else abs_step, n), dtype=np.float64)
            self.rel_step = np.ascontiguousarray(
                np.broadcast_to(0.0 if rel_step is None else rel_step, n), dtype=np.float64)
            self.objective.gradient_cost = self.count_free(n)
            if self.scheme == THREE_POINT:
                self.objective.gradient_cost *= 2
            given = np.abs(np.concatenate((self.abs_step, self.rel_step)))
            if self.scheme == COMPLEX_STEP:
                self.objective.complex_step = is_short(given.max())
            else:
                self.objective.difference_step = (
                    given[given > 0].min() if given.any() else default_step(self.scheme))

    def __reduce__(self):
        return PythonObjective, (self.fun, self.jac, self.args, self.n, self.abs_step,
                                 self.rel_step, self.workers, self.hess, self.hessp,
                                 self.preconditioner, self.bounds)

    def set_args(self, tuple args not None):
        """Have the function called with other arguments from here on."""
        self.args = args

    cdef object call(self, object function, const double* x):
        point = fresh_copy(x, self.n)
        if self.args:
            return function(point, *self.args)
        return function(point)

    cdef int take_gradient(self, object found, double* grad) except -1:
        """Copy what the user returned as a gradient, if it is one."""
        cdef cnp.ndarray array
        if not (cnp.PyArray_CheckExact(found)
                and cnp.PyArray_TYPE(<cnp.ndarray>found) == cnp.NPY_DOUBLE
                and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>found)):    # of this byte order, too
            found = as_gradient(found, self.name_of_gradient())
        array = <cnp.ndarray>found
        if not (cnp.PyArray_NDIM(array) == 1 and cnp.PyArray_DIM(array, 0) == self.n
                or is_flat(array, self.n)):
            raise ValueError(f"{self.name_of_gradient()} must return an array of shape "
                             f"({self.n},), got shape {found.shape}")
        memcpy(grad, cnp.PyArray_DATA(array), self.n * sizeof(double))
        return 0

    cdef str name_of_gradient(self):
        if self.inplace:
            return "`fun` (jac='inplace')"
        return "`fun` (jac=True)" if self.jac is True else "`jac`"

    cdef int joint(self, const double* x, double* value, double* grad) except -1:
        cdef object found = self.call(self.fun, x)
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            raise TypeError("`fun` must return a pair (value, gradient) when jac=True, got "
                            f"{describe(found)}")
        if value != NULL:
            value[0] = as_value(found[0])
        if grad != NULL:
            self.take_gradient(found[1], grad)
        return 0

    cdef int fill(self, const double* x, double* value, double* grad) except -1:
        """Value and gradient of a function that writes the gradient where it is told to."""
        cdef cnp.npy_intp shape = self.n if grad != NULL else 0
        cdef cnp.ndarray gradient = cnp.PyArray_EMPTY(1, &shape, cnp.NPY_DOUBLE, 0)
        cdef double* entries = <double*>cnp.PyArray_DATA(gradient)
        cdef Py_ssize_t i
        for i in range(shape):
            entries[i] = NAN       # an entry that the function forgets is no slope to go by
        found = self.fun(fresh_copy(x, self.n), gradient, *self.args)
        if value != NULL:
            value[0] = as_value(found)
        if grad != NULL:
            self.take_gradient(gradient, grad)
        return 0

    cdef int differences(self, const double* x, double* grad) except -1:
        """The gradient from `gradient_cost` further calls of the function."""
        cdef const double[::1] absolute = self.abs_step
        cdef const double[::1] relative = self.rel_step
        cdef Stencil stencil
        cdef double step
        cdef Py_ssize_t i
        cdef Py_ssize_t k = 0
        cdef list values
        base = np.empty(self.n, dtype=np.complex128 if self.scheme == COMPLEX_STEP else np.float64)
        for i in range(self.n):
            base[i] = x[i]
        points = perturbed(base, self.moves(x))
        if self.workers is None:
            values = [self.fun(point, *self.args) for point in points]
        else:
            values = list(self.workers(partial(call_at, self.fun, self.args), points))
            if len(values) != self.objective.gradient_cost:
                raise ValueError(f"`workers` must return a value for each of the "
                                 f"{self.objective.gradient_cost} points, got {len(values)}")
        for i in range(self.n):
            if self.is_fixed(i):
                grad[i] = 0
                continue
            step = difference_step(self.scheme, x[i], relative[i], absolute[i], self.default)
            if self.scheme == COMPLEX_STEP:
                grad[i] = as_imaginary(values[k]) / step
                k += 1
                continue
            stencil = self.stencil(i, x[i], step)
            if self.scheme == TWO_POINT:
                grad[i] = (as_value(values[k]) - self.value) / (stencil.first - x[i])
                k += 1
            else:
                grad[i] = three_point_slope(stencil, x[i], self.value, as_value(values[k]),
                                            as_value(values[k + 1]))
                k += 2
        return 0

    cdef list moves(self, const double* x):
        """Which variable has which value at each point of the differences."""
        cdef const double[::1] absolute = self.abs_step
        cdef const double[::1] relative = self.rel_step
        cdef Stencil stencil
        cdef double step
        cdef Py_ssize_t i
        cdef list found = []
        for i in range(self.n):
            if self.is_fixed(i):
                continue
            step = difference_step(self.scheme, x[i], relative[i], absolute[i], self.default)
            if self.scheme == COMPLEX_STEP:
                found.append((i, complex(x[i], step)))
                continue
            stencil = self.stencil(i, x[i], step)
            found.append((i, stencil.first))
            if self.scheme == THREE_POINT:
                found.append((i, stencil.second))
        return found

    cdef bint is_fixed(self, Py_ssize_t i):
        """Whether a variable can have one value alone: then no difference is taken for it."""
        return self.objective.low != NULL and self.objective.low[i] == self.objective.high[i]

    cdef Stencil stencil(self, Py_ssize_t i, double x, double step):
        if self.objective.low == NULL:
            return place_points(self.scheme, x, step, -INFINITY, INFINITY)
        return place_points(self.scheme, x, step, self.objective.low[i], self.objective.high[i])

    cdef int take_hessian(self, object found, double* hess) except -1:
        """Copy the lower triangle of what the user returned as a Hessian, if it is one."""
        cdef cnp.ndarray array
        cdef const double* row
        cdef Py_ssize_t i
        if not isinstance(found, np.ndarray) and hasattr(found, "toarray"):
            found = found.toarray()
        array = as_matrix(found, self.n)
        row = <const double*>cnp.PyArray_DATA(array)
        for i in range(self.n):
            memcpy(hess + i * self.n, row + i * self.n, (i + 1) * sizeof(double))
        return 0

    cdef object hessian_at(self, const double* x):
        """What the user's `hess` returns, or has returned if it has just been looked at."""
        if self.seen is None:
            return self.call(self.hess, x)
        found, self.seen = self.seen, None
        return found

    cdef int look_at_hessian(self, const double* x, bint* sparse) except -1:
        sparse[0] = False
        if self.hess is None:
            return REPLY_DONE
        if self.deadline < INFINITY and perf_counter() > self.deadline:
            return REPLY_STOP
        self.seen = self.call(self.hess, x)
        sparse[0] = issparse(self.seen)
        return REPLY_DONE

    cdef void look_away(self):
        self.seen = None

    cdef int step(self, const double* x, const double* grad, double* step, double* shift) except -1:
        cdef cnp.ndarray array
        matrix = as_sparse(self.hessian_at(x), self.n)
        found, shift[0] = newton_step(matrix, fresh_copy(grad, self.n), shift[0])
        array = np.ascontiguousarray(found, dtype=np.float64)
        memcpy(step, cnp.PyArray_DATA(array), self.n * sizeof(double))
        return 0

    cdef int multiply(self, const double* x, const double* p, double* product) except -1:
        cdef cnp.ndarray array
        cdef str name = "`hessp`"
        if self.hessp is not None:
            found = self.hessp(fresh_copy(x, self.n), fresh_copy(p, self.n), *self.args)
        else:
            self.hold(x)
            if isinstance(self.held, np.ndarray):
                multiply_lower(<const double*>cnp.PyArray_DATA(<cnp.ndarray>self.held), p, product,
                               self.n)
                return 0
            found = self.held @ fresh_copy(p, self.n)
            name = "`hess` times a vector"
        found = as_gradient(found, name)
        array = <cnp.ndarray>found
        if not is_flat(array, self.n):
            raise ValueError(f"{name} must be an array of shape ({self.n},), got shape "
                             f"{found.shape}")
        memcpy(product, cnp.PyArray_DATA(array), self.n * sizeof(double))
        return 0

    cdef int hold(self, const double* x) except -1:
        """Have the Hessian at x in `held`: evaluated once for all products there."""
        point = fresh_copy(x, self.n)
        if self.place is not None and np.array_equal(self.place, point):
            return 0
        self.place = None
        found = self.hess(point.copy(), *self.args)
        if hasattr(found, "toarray") or hasattr(found, "matvec"):    # sparse; a LinearOperator
            if found.shape != (self.n, self.n):
                raise ValueError(f"`hess` must return a matrix of shape {(self.n, self.n)}, got "
                                 f"shape {found.shape}")
            self.held = found
        else:
            self.held = as_matrix(found, self.n).copy()
        self.place = point
        return 0


cdef int evaluate_hess(const double* x, double* hess, Py_ssize_t n,
                       void* context) noexcept with gil:
    """The objective's `hess_fn`."""
    cdef PythonObjective self = <PythonObjective>context
    try:
        if self.deadline < INFINITY and perf_counter() > self.deadline:
            return REPLY_STOP
        self.take_hessian(self.hessian_at(x), hess)
        return REPLY_DONE
    except BaseException as error:
        self.error = error
        return REPLY_RAISED


cdef int find_newton_step(const double* x, const double* grad, double* step, double* shift,
                          Py_ssize_t n, void* context) noexcept with gil:
    """The objective's `newton_fn`."""
    cdef PythonObjective self = <PythonObjective>context
    try:
        if self.deadline < INFINITY and perf_counter() > self.deadline:
            return REPLY_STOP
        self.step(x, grad, step, shift)
        return REPLY_DONE
    except BaseException as error:
        self.error = error
        return REPLY_RAISED


cdef int evaluate_product(const double* x, const double* p, double* product, Py_ssize_t n,
                          void* context) noexcept with gil:
    """The objective's `hessp_fn`."""
    cdef PythonObjective self = <PythonObjective>context
    try:
        if self.deadline < INFINITY and perf_counter() > self.deadline:
            return REPLY_STOP
        self.multiply(x, p, product)
        return REPLY_DONE
    except BaseException as error:
        self.error = error
        return REPLY_RAISED


cdef int evaluate(const double* x, double* value, double* grad, Py_ssize_t n,
                  void* context) noexcept with gil:
    """The objective's `value_grad_fn`."""
    cdef PythonObjective self = <PythonObjective>context
    try:
        if n != self.n:
            raise ValueError(f"the objective has {self.n} variables, the solver {n}")
        if value != NULL and self.deadline < INFINITY and perf_counter() > self.deadline:
            return REPLY_STOP
        if self.jac is True:
            self.joint(x, value, grad)
            return REPLY_DONE
        if self.inplace:
            self.fill(x, value, grad)
            return REPLY_DONE
        if value != NULL:
            self.value = value[0] = as_value(self.call(self.fun, x))
        if grad != NULL:
            if self.scheme == EXACT:
                self.take_gradient(self.call(self.jac, x), grad)
            else:
                self.differences(x, grad)
        return REPLY_DONE
    except BaseException as error:
        self.error = error
        # Numba hands on Ctrl-C, where it comes while a pair is made into Python objects, as the
        # interpreter's complaint of a result with an exception set.
        if type(error) is SystemError and isinstance(error.__cause__, KeyboardInterrupt):
            self.error = error.__cause__
        return REPLY_RAISED


cdef object fresh_copy(const double* x, Py_ssize_t n):
    """x as an array that is the user's to write to and to keep."""
    cdef cnp.npy_intp shape = n
    cdef cnp.ndarray point = cnp.PyArray_EMPTY(1, &shape, cnp.NPY_DOUBLE, 0)
    memcpy(cnp.PyArray_DATA(point), x, n * sizeof(double))
    return point


def perturbed(base, moves):
    """The points of the differences, each a fresh array, in the order of use."""
    for i, entry in moves:
        point = base.copy()
        point[i] = entry
        yield point


def call_at(fun, args, x):
    """``fun(x, *args)``; a module-level function, so that a pool of processes can have it."""
    return fun(x, *args)


cdef double as_value(object found) except? -1.0:
    """The number that the user's function returned: a real scalar, or an array that holds one."""
    if PyFloat_Check(found):         # np.float64 is one too
        return PyFloat_AS_DOUBLE(found)
    return scalar_of(found)


cdef double scalar_of(object found) except? -1.0:
    if isinstance(found, tuple) and len(found) == 2:
        raise TypeError(
            f"`fun` must return a real scalar, got {describe(found)}; if that is the value and the "
            "gradient, pass jac=True"
        )
    if isinstance(found, np.ma.MaskedArray):
        found = unmasked(found)
    if isinstance(found, (list, tuple, np.ndarray)):
        try:
            array = np.asarray(found)
        except ValueError:
            raise TypeError(f"`fun` must return a real scalar, got {describe(found)}") from None
        if array.size != 1:
            raise ValueError(f"`fun` must return a scalar, got {describe(found)}")
        found = array.item()
    if found is None or isinstance(found, (str, bytes, complex, np.complexfloating)):
        raise TypeError(f"`fun` must return a real scalar, got {describe(found)}")
    try:
        return as_double(found)
    except (TypeError, ValueError):
        raise TypeError(f"`fun` must return a real scalar, got {describe(found)}") from None


cdef object unmasked(object found):
    """A masked array as a plain one. What is masked is no number: NaN, and not what lies below."""
    return found if found.dtype.kind not in "fiub" else found.astype(np.float64).filled(np.nan)


cdef double as_double(object number) except? -1.0:
    """A number of any type; integers and fractions that no double reaches are infinite."""
    try:
        return float(number)
    except OverflowError:
        return INFINITY if number > 0 else -INFINITY


cdef double as_imaginary(object found) except? -1.0:
    """The imaginary part of what the user's function made of a complex point."""
    if isinstance(found, (list, tuple, np.ndarray)) and np.size(found) == 1:
        found = np.asarray(found).item()
    if not isinstance(found, (complex, np.complexfloating)):
        raise TypeError("`fun` must return a complex number at a complex x when jac='cs', got "
                        f"{describe(found)}; use jac='3-point' if it cannot")
    return found.imag


cpdef object as_gradient(object found, str name):
    """What the user's function returned, as a C-contiguous float64 array of any shape."""
    if isinstance(found, np.ma.MaskedArray):
        found = unmasked(found)
    try:
        array = np.asarray(found)
    except ValueError:
        raise ValueError(f"{name} must return an array of numbers, got "
                         f"{describe(found)}") from None
    if found is None or array.dtype.kind not in "fiubO":
        raise TypeError(f"{name} must return an array of real numbers, got {describe(found)}")
    try:
        if array.dtype.kind == "O":      # NumPy makes NaN of None
            return np.array([as_double(entry) for entry in array.flat]).reshape(array.shape)
        if array.dtype == np.longdouble:
            with np.errstate(over="ignore"):
                return np.ascontiguousarray(array, dtype=np.float64)
        return np.ascontiguousarray(array, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must return an array of real numbers, got "
                        f"{describe(found)}") from None


cdef cnp.ndarray as_matrix(object found, Py_ssize_t n):
    """A Hessian as a C-contiguous float64 array of shape (n, n)."""
    found = as_gradient(found, "`hess`")
    if found.shape != (n, n) and not (n == 1 and found.size == 1):
        raise ValueError(f"`hess` must return an array of shape {(n, n)}, got shape {found.shape}")
    return found


cdef object as_sparse(object found, Py_ssize_t n):
    """A Hessian as a sparse matrix of real numbers of shape (n, n)."""
    if not issparse(found):          # another one was
        return csc_array(as_matrix(found, n))
    if found.shape != (n, n):
        raise ValueError(f"`hess` must return a matrix of shape {(n, n)}, got shape {found.shape}")
    if found.dtype.kind not in "fiub":
        raise TypeError(f"`hess` must return a matrix of real numbers, got dtype {found.dtype}")
    return found


cdef bint is_flat(cnp.ndarray array, Py_ssize_t n):
    """Whether `array` is n numbers along one axis, the other axes being of length one."""
    return cnp.PyArray_SIZE(array) == n and max((<object>array).shape, default=1) == n


cdef str describe(object found):
    if isinstance(found, np.ndarray):
        return f"an array of shape {found.shape} and dtype {found.dtype}"
    if isinstance(found, tuple):
        return f"a tuple of length {len(found)}"
    text = repr(found)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(found).__name__})"
