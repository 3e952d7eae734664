"""C and C++ libraries on the objectives that fastopt's benchmarks use, built on demand.

README.md says what is compared, and how.
"""
