"""The kernels on the CPU, compiled by Numba: what is left to do once arguments are checked.

All arrays here are C-contiguous and of one dtype, float32 or float64; outputs come last and are
overwritten; nothing is allocated. `fastopt.kernels` checks arguments, makes outputs and calls
these; `fastopt.nn` has planned its arrays and calls them directly.
"""
