import enum

DEBUG_BUILD: bool

class Status(enum.IntEnum):
    RUNNING = 0
    GTOL = 1
    FTOL = 2
    XTOL = 3
    STOPVAL = 4
    ROUNDOFF = 5
    MAXITER = 6
    MAXFEV = 7
    MAXTIME = 8
    INTERRUPTED = 9
    CALLBACK = 10
    GRADIENT_MISMATCH = 11
    DOMAIN_EDGE = 12
    NOT_FINITE = 13
    UNBOUNDED = 14
    DIVERGED = 15
    NOISY_DIFFERENCES = 16
    RAISED = 17
    STOPPED = 18
    ENDED_BY_OBJECTIVE = 19
