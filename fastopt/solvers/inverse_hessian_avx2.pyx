"""`inverse_hessian` for processors with AVX2: the same source, for registers of four doubles.

The same bits, too: no sum is taken in another order, and nothing is fused (setup.py has the flags).
Only what answers `wide` uses them, so that other processors can load this module.
`quasi_newton` chooses, by what the processor says of itself.
"""

from fastopt.solvers.inverse_hessian cimport DENSE_DFP, InverseHessian, is_curved

include "inverse_hessian.pyx"
