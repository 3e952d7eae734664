"""Nonlinear conjugate gradients."""

from fastopt.solvers.descent cimport Descent
from fastopt.solvers.iteration cimport Method


cdef enum BetaKind:
    HAGER_ZHANG_BETA = 0
    POLAK_RIBIERE = 1
    FLETCHER_REEVES = 2
    DAI_YUAN = 3
    HESTENES_STIEFEL = 4


cdef struct ConjugateGradient:
    Descent descent
    BetaKind kind
    double unit               # what gradients are divided by
    double* change            # n: y
    double* image             # n: P g, P the preconditioner or the identity
    double* image_change      # n: P y
    bint fresh                # there is no direction before
    Py_ssize_t since_restart
    double energy             # g'P g where the direction was chosen last
    double last_step          # of the last search, along the direction, and its slope
    double last_slope


cdef Method conjugate_gradient_method() noexcept nogil
cdef void begin_conjugate_gradient(ConjugateGradient* state, const double* settings) noexcept nogil
