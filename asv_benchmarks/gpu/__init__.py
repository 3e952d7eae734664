"""Kernels and training steps on a GPU, beside PyTorch, cuDNN and CuPy.

``python -m gpu FOLDER``, from the folder above, runs the tests that need a GPU, times
everything, and writes ``gpu.md`` and ``gpu.json`` there.
"""
