"""Floor 3: the solvers, in Cython: states that advance without the interpreter."""
