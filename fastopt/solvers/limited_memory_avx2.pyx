"""`limited_memory` for processors with AVX2: the same source, as with `inverse_hessian_avx2`."""

from fastopt.solvers.inverse_hessian cimport InverseHessian

include "limited_memory.pyx"
