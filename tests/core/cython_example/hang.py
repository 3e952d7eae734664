import fastopt
from springs import energy_of

for method in ("bfgs", "l-bfgs"):
    result = fastopt.minimize(energy_of([1, 1, 1, 1]), [0, 0, 0, 0], jac=True, method=method)
    print(f"{method}: {result.x.round(4)}")
