"""Floor 0: the C interface, vector loops, results and checks that everything else stands on."""
