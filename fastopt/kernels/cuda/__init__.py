"""The kernels of a GPU, in Numba CUDA: modules and functions as those of the CPU have them.

Arrays are :class:`fastopt.device.arrays.DeviceArray`, already checked, and all work goes to the
current stream. Importing a module of this package imports numba-cuda.
"""
