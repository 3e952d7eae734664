"""Arrays and kernels on a GPU: what numba-cuda and the CUDA driver are used for, and how."""
