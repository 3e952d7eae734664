"""The solvers by number and by name, and the names of their settings.

Owns what `state` and `entry`, which drive solvers from Python and from compiled code, have to know
of all of them. Knows no method's options; those are in `fastopt.interface.methods`.
"""

from fastopt.solvers.accelerated cimport accelerated_method, begin_accelerated
from fastopt.solvers.barzilai_borwein cimport barzilai_borwein_method, begin_barzilai_borwein
from fastopt.solvers.bounded cimport begin_bounded, bounded_method
from fastopt.solvers.conjugate_gradient cimport (
    DAI_YUAN, FLETCHER_REEVES, HAGER_ZHANG_BETA, HESTENES_STIEFEL, POLAK_RIBIERE,
    begin_conjugate_gradient, conjugate_gradient_method,
)
from fastopt.solvers.first_order cimport (
    EXPONENTIAL, POLYAK, begin_first_order, first_order_method,
)
from fastopt.solvers.inverse_hessian cimport DENSE, DENSE_DFP, LIMITED
from fastopt.solvers.iteration cimport begin
from fastopt.solvers.line_search cimport HAGER_ZHANG, MORE_THUENTE
from fastopt.solvers.newton cimport begin_newton, newton_cg_method, newton_method
from fastopt.solvers.quasi_newton cimport begin_quasi_newton, quasi_newton_method
from fastopt.solvers.settings cimport *
from fastopt.solvers.trust_region cimport (
    DOGLEG_MODEL, EXACT_MODEL, PRODUCT_MODEL, SR1_MODEL, begin_trust_region, trust_region_method,
)

SOLVERS = {
    "first-order": FIRST_ORDER,
    "bfgs": BFGS,
    "l-bfgs": LBFGS,
    "dfp": DFP,
    "sr1": SR1,
    "cg": CG,
    "newton": NEWTON,
    "newton-cg": NEWTON_CG,
    "dogleg": DOGLEG,
    "trust-exact": TRUST_EXACT,
    "trust-ncg": TRUST_NCG,
    "l-bfgs-b": LBFGSB,
    "barzilai-borwein": BARZILAI_BORWEIN,
    "accelerated": ACCELERATED,
}

# Where a setting is kept, by the name of its option.
SETTINGS = {
    "gtol": AT_GTOL,
    "norm": AT_NORM,
    "ftol": AT_FTOL,
    "xtol": AT_XTOL,
    "stopval": AT_STOPVAL,
    "maxiter": AT_MAXITER,
    "maxfev": AT_MAXFEV,
    "maxtime": AT_MAXTIME,
    "c1": AT_C1,
    "c2": AT_C2,
    "maxls": AT_MAXLS,
    "line_search": AT_LINE_SEARCH,
    "maxcor": AT_MAXCOR,
    "damping": AT_DAMPING,
    "threads": AT_THREADS,
    "beta": AT_BETA,
    "initial_trust_radius": AT_INITIAL_RADIUS,
    "max_trust_radius": AT_MAX_RADIUS,
    "eta": AT_ETA,
    "l1": AT_L1,
    "eps": AT_ABSOLUTE_STEP,
    "finite_diff_rel_step": AT_RELATIVE_STEP,
    "clip_norm": AT_CLIP_NORM,
    "clip_value": AT_CLIP_VALUE,
    "weight_decay": AT_WEIGHT_DECAY,
    "averaging": AT_AVERAGING,
    "average_decay": AT_AVERAGE_DECAY,
    "average_from": AT_AVERAGE_FROM,
}

# Words among the settings, as numbers.
WORDS = {
    "hager-zhang": HAGER_ZHANG,
    "more-thuente": MORE_THUENTE,
    "hz": HAGER_ZHANG_BETA,
    "pr+": POLAK_RIBIERE,
    "fr": FLETCHER_REEVES,
    "dy": DAI_YUAN,
    "hs": HESTENES_STIEFEL,
    "polyak": POLYAK,
    "ema": EXPONENTIAL,
}


cdef Method method_of(SolverKind kind) noexcept nogil:
    if kind == FIRST_ORDER:
        return first_order_method()
    if kind == CG:
        return conjugate_gradient_method()
    if kind == NEWTON:
        return newton_method()
    if kind == NEWTON_CG:
        return newton_cg_method()
    if kind == DOGLEG:
        return trust_region_method(DOGLEG_MODEL)
    if kind == TRUST_EXACT:
        return trust_region_method(EXACT_MODEL)
    if kind == TRUST_NCG:
        return trust_region_method(PRODUCT_MODEL)
    if kind == LBFGSB:
        return bounded_method()
    if kind == SR1:
        return trust_region_method(SR1_MODEL)
    if kind == BARZILAI_BORWEIN:
        return barzilai_borwein_method()
    if kind == ACCELERATED:
        return accelerated_method()
    return quasi_newton_method()


cdef void begin_solver(SolverKind kind, State* state, Py_ssize_t n,
                       const double* settings) noexcept nogil:
    """What is not zero in a state that has done nothing yet. A first-order rule is the caller's to
    set, all but its numbers."""
    begin(&state.iteration, n, settings)
    if kind == FIRST_ORDER:
        begin_first_order(&state.first_order, settings)
    elif kind == BFGS:
        begin_quasi_newton(&state.quasi_newton, DENSE, settings)
    elif kind == DFP:
        begin_quasi_newton(&state.quasi_newton, DENSE_DFP, settings)
    elif kind == LBFGS:
        begin_quasi_newton(&state.quasi_newton, LIMITED, settings)
    elif kind == LBFGSB:
        begin_bounded(&state.bounded, settings)
    elif kind == CG:
        begin_conjugate_gradient(&state.conjugate_gradient, settings)
    elif kind == NEWTON or kind == NEWTON_CG:
        begin_newton(&state.newton, settings)
    elif kind == DOGLEG:
        begin_trust_region(&state.trust_region, DOGLEG_MODEL, settings)
    elif kind == TRUST_EXACT:
        begin_trust_region(&state.trust_region, EXACT_MODEL, settings)
    elif kind == TRUST_NCG:
        begin_trust_region(&state.trust_region, PRODUCT_MODEL, settings)
    elif kind == BARZILAI_BORWEIN:
        begin_barzilai_borwein(&state.barzilai_borwein)
    elif kind == ACCELERATED:
        begin_accelerated(&state.accelerated, settings)
    else:
        begin_trust_region(&state.trust_region, SR1_MODEL, settings)
