"""Where each setting of a solve is kept in the array of numbers that solvers begin with."""

from fastopt.core.rule_step cimport MOST_HYPERPARAMETERS

cdef enum:
    AT_GTOL
    AT_NORM
    AT_FTOL
    AT_XTOL
    AT_STOPVAL
    AT_MAXITER
    AT_MAXFEV
    AT_MAXTIME
    AT_C1
    AT_C2
    AT_MAXLS
    AT_LINE_SEARCH            # `SearchKind`
    AT_MAXCOR
    AT_DAMPING
    AT_THREADS
    AT_BETA                   # `BetaKind`
    AT_INITIAL_RADIUS         # 0: chosen at x0
    AT_MAX_RADIUS
    AT_ETA
    AT_L1                     # the largest, if there are many
    AT_ABSOLUTE_STEP
    AT_RELATIVE_STEP
    AT_CLIP_NORM              # INFINITY: not at all
    AT_CLIP_VALUE             # likewise
    AT_WEIGHT_DECAY
    AT_AVERAGING              # `Averaging`
    AT_AVERAGE_DECAY
    AT_AVERAGE_FROM           # after so many iterations
    AT_HYPERPARAMETERS        # of a first-order rule, to the end

cdef enum:
    SETTING_COUNT = AT_HYPERPARAMETERS + MOST_HYPERPARAMETERS
