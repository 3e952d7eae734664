"""The kernels on the CPU, compiled by Numba: what is left to do once arguments are checked.

All arrays here are C-contiguous and of one dtype, float32 or float64; outputs come last and are
overwritten. Nothing of an array's size is allocated, only some kilobytes of sums here and
there. `fastopt.kernels` checks arguments, makes outputs and calls these; `fastopt.nn` has planned
its arrays and calls them directly.
"""
