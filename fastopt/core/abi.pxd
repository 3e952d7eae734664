"""The C types through which solvers and objectives meet.

Whatever evaluates a function (an interpreter callable, a Numba cfunc, other C code) becomes a
`value_grad_fn`; whatever minimises one calls it. Neither side knows more of the other.
"""

# What an evaluation answers. An exception cannot cross a C function, so it is kept on the
# objective's side, and the answer says that there is one.
cdef enum Reply:
    REPLY_DONE = 0    # what was asked for has been written
    REPLY_RAISED = 1  # the user's code raised; nothing that was written counts
    REPLY_STOP = 2    # the owner of the objective wants the solve to end; likewise

# `grad == NULL` asks for the value alone, `value == NULL` for the gradient alone. A solver asks
# for a gradient alone only at the point whose value it asked for last. `x` is not written to.
ctypedef int (*value_grad_fn)(const double* x, double* value, double* grad,
                              Py_ssize_t n, void* context) noexcept nogil
ctypedef int (*value_grad_f32_fn)(const float* x, float* value, float* grad,
                                  Py_ssize_t n, void* context) noexcept nogil

# Row-major (n, n); only the lower triangle is read.
ctypedef int (*hess_fn)(const double* x, double* hess, Py_ssize_t n,
                        void* context) noexcept nogil
ctypedef int (*hessp_fn)(const double* x, const double* p, double* product, Py_ssize_t n,
                         void* context) noexcept nogil

# Newton's step by a Hessian that the objective keeps, and how to factor: -(H + shift I)^-1 `grad`
# with the shift that makes H positive definite, 0 if it is so already. `shift` comes as the last
# that was needed, where the search for one begins, and leaves as such. Where there is no such step,
# because H is zero, `step` is zero, and NaN where H is not finite.
ctypedef int (*newton_fn)(const double* x, const double* grad, double* step, double* shift,
                          Py_ssize_t n, void* context) noexcept nogil

# One step of a first-order rule over whole vectors, or over a piece of them: slot k begins at
# `slots + k * stride`, and `t` counts the steps from 1.
ctypedef void (*rule_step_fn)(double* x, const double* grad, double* slots,
                              const double* hyperparameters, long long t, long long n,
                              long long stride) noexcept nogil
ctypedef void (*rule_step_f32_fn)(float* x, const float* grad, float* slots,
                                  const double* hyperparameters, long long t, long long n,
                                  long long stride) noexcept nogil

# By what a schedule, a table of so many rows, multiplies the step length at step t.
ctypedef double (*multiplier_fn)(const double* table, long long rows, long long t) noexcept nogil

# `image` of a vector under a linear operator that may depend on nothing but the solve.
ctypedef int (*operator_fn)(const double* vector, double* image, Py_ssize_t n,
                            void* context) noexcept nogil


cdef struct Objective:
    value_grad_fn value_grad
    hess_fn hess                # NULL if there is none
    hessp_fn hessp              # likewise
    newton_fn newton            # likewise
    operator_fn precondition    # likewise; it has a context of its own
    void* context
    void* preconditioner
    bint joint                  # value and gradient come from one call of the user's function
    Py_ssize_t gradient_cost    # calls of the function that a gradient takes: 0 if it is exact
    double difference_step      # relative step of the gradient's differences; 0 if it is exact
    bint complex_step           # the gradient is by complex steps: to be checked at x0
    bint holds                  # all products at one point come from one evaluation of `hess`
    const double* low           # bounds that no evaluation may leave; NULL: there are none
    const double* high
    int stop                    # set from another thread, to end the solve at the next evaluation


# Why a solve ended; `fastopt.core.abi.Status` is its Python side. The numbers are internal:
# `fastopt.core.result.ENDINGS` maps each to what the caller sees.
cdef enum StatusCode:
    RUNNING = 0
    GTOL = 1
    FTOL = 2
    XTOL = 3
    STOPVAL = 4
    ROUNDOFF = 5             # nothing is left to gain but rounding errors
    MAXITER = 6
    MAXFEV = 7
    MAXTIME = 8
    INTERRUPTED = 9
    CALLBACK = 10
    GRADIENT_MISMATCH = 11   # no decrease along a direction that the gradient calls downhill
    DOMAIN_EDGE = 12         # every step downhill leaves the region where f is finite
    NOT_FINITE = 13          # f is not finite at x0
    UNBOUNDED = 14
    DIVERGED = 15            # a first-order method's steps led to where f is not finite
    NOISY_DIFFERENCES = 16   # no way down along a gradient made of differences
    RAISED = 17              # transient: the exception is on its way, the solve can go on
    STOPPED = 18             # transient: an objective answered REPLY_STOP
    ENDED_BY_OBJECTIVE = 19  # it did so of its own accord
    NOT_ANALYTIC = 20        # transient: complex steps are wrong at x0, an exception says so
    LOST = 21                # of a batch, the worker that had this problem
    EPOCHS = 22              # of a solve over minibatches: all that were asked for
    PATIENCE = 23            # likewise: validation has not improved for long enough
