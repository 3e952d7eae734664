"""Floor 2: what is minimised, as C functions that solvers can call."""
