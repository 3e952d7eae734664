"""A whole solve as one C call, with everything about it in one struct."""

from libc.stdint cimport int64_t

from fastopt.core.abi cimport hess_fn, hessp_fn, rule_step_fn, value_grad_fn
from fastopt.objectives.context cimport Context


cdef enum:
    MOST_OPTIONS = 32         # of one method


# One option of a method: where it comes from, where it goes, and what it may be.
cdef struct OptionRule:
    int64_t source            # its place among the caller's options
    int64_t target            # one of `SETTINGS`, or where the hyperparameters begin and beyond
    double default_value      # the default is this + per_variable n
    double per_variable
    double low
    double high
    int64_t open_low
    int64_t open_high
    int64_t integral
    int64_t unlimited         # an integer that may be inf
    int64_t nonzero
    int64_t by_tol            # `tol` is its default where one is given
    int64_t complaint         # what the caller has to say of a bad value


cdef struct MethodRow:
    char[64] names            # in lower case, each followed by a blank
    int64_t solver            # one of `SOLVERS`
    int64_t slots             # of a first-order rule
    int64_t absolute_step     # differences for want of a gradient read `eps`
    int64_t count
    OptionRule[MOST_OPTIONS] options


cdef struct Call:
    int64_t token             # `TOKEN` of the build that the caller was compiled with
    # The method: one of `methods`, by its name where `chosen` is negative.
    const MethodRow* methods
    const rule_step_fn* steps  # one for each of `methods`; NULL where it is no first-order rule
    int64_t count
    int64_t chosen
    const void* name          # `length` characters of `kind` bytes, as CPython keeps a str
    int64_t length
    int64_t kind
    # The objective.
    value_grad_fn value_grad
    hess_fn hess              # NULL if there is none; likewise
    hessp_fn hessp
    Context* context          # all but the arguments is this call's to fill in
    int64_t joint
    int64_t inplace
    int64_t scheme            # `Scheme` of differences.pxd
    int64_t without_gradient  # the caller named no scheme
    # Options, NaN where none is given; the same for `tol`, but that `has_tol` says so.
    const double* options
    double tol
    int64_t has_tol
    # Bounds, so many of each, each so many bytes from the one before; NULL where none are given.
    const double* low
    const double* high
    int64_t low_count
    int64_t high_count
    int64_t low_stride
    int64_t high_stride
    # x0 and, afterwards, the solution.
    int64_t n
    double* x
    double* gradient
    double value
    int64_t nit
    int64_t nfev
    int64_t njev
    int64_t nhev


# What `solve` answers instead of a `StatusCode` where there is nothing to return. Below
# `BAD_OPTION`, the complaint of the option's rule is subtracted.
cdef enum Refusal:
    REFUSED_RAISED = -1       # the context holds what the user's code raised
    REFUSED_MEMORY = -2
    REFUSED_NOT_A_SCALAR = -3
    REFUSED_NOT_A_GRADIENT = -4
    REFUSED_NOT_ANALYTIC = -5
    REFUSED_STALE = -6
    REFUSED_METHOD = -7
    REFUSED_EMPTY = -8
    REFUSED_NOT_FINITE = -9
    REFUSED_TOL = -10
    REFUSED_WOLFE = -11
    REFUSED_NOT_A_HESSIAN = -12
    REFUSED_NOT_A_PRODUCT = -13
    REFUSED_RADIUS = -14
    REFUSED_BOUND_COUNT = -15
    REFUSED_BOUNDS = -16
    REFUSED_BOUNDED = -17     # the method takes none
    BAD_OPTION = -100


cdef int solve(Call* call) noexcept nogil
