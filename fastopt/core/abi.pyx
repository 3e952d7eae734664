"""The Python side of the C interface in `abi.pxd`."""

import enum

from fastopt.core.check cimport CHECKED

# Whether this build checks its invariants (FASTOPT_DEBUG=1).
DEBUG_BUILD = bool(CHECKED)


class Status(enum.IntEnum):
    """Why a solve ended: fastopt's own codes (see `fastopt.core.result.ENDINGS`)."""

    RUNNING = StatusCode.RUNNING
    GTOL = StatusCode.GTOL
    FTOL = StatusCode.FTOL
    XTOL = StatusCode.XTOL
    STOPVAL = StatusCode.STOPVAL
    ROUNDOFF = StatusCode.ROUNDOFF
    MAXITER = StatusCode.MAXITER
    MAXFEV = StatusCode.MAXFEV
    MAXTIME = StatusCode.MAXTIME
    INTERRUPTED = StatusCode.INTERRUPTED
    CALLBACK = StatusCode.CALLBACK
    GRADIENT_MISMATCH = StatusCode.GRADIENT_MISMATCH
    DOMAIN_EDGE = StatusCode.DOMAIN_EDGE
    NOT_FINITE = StatusCode.NOT_FINITE
    UNBOUNDED = StatusCode.UNBOUNDED
    DIVERGED = StatusCode.DIVERGED
    NOISY_DIFFERENCES = StatusCode.NOISY_DIFFERENCES
    RAISED = StatusCode.RAISED
    STOPPED = StatusCode.STOPPED
    ENDED_BY_OBJECTIVE = StatusCode.ENDED_BY_OBJECTIVE
    NOT_ANALYTIC = StatusCode.NOT_ANALYTIC
    LOST = StatusCode.LOST
    EPOCHS = StatusCode.EPOCHS
    PATIENCE = StatusCode.PATIENCE
