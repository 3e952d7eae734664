"""Whether a solve still gets anywhere, and why it does not."""

from fastopt.core.abi cimport Objective, StatusCode
from fastopt.solvers.iteration cimport Iteration


cdef struct Marks:
    double first_gradient     # norm of the gradient at x0
    double promised           # what the model at this iterate says is to be gained, twice over
    double least_value        # what an iteration has to beat to count as progress
    double least_gradient
    int idle                  # iterations since one did


cdef void begin_marks(Marks* marks) noexcept nogil
cdef bint is_idle(Marks* marks, const Iteration* iteration,
                  const Objective* objective) noexcept nogil
cdef StatusCode tell_noise_from_error(const Marks* marks, const Iteration* iteration,
                                      const Objective* objective, double noise) noexcept nogil
cdef StatusCode diagnose(const Marks* marks, const Iteration* iteration,
                         const Objective* objective, double edge) noexcept nogil
cdef bint take_lower_point(Iteration* iteration) noexcept nogil
