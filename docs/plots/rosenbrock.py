import matplotlib.pyplot as plt
from scipy.optimize import rosen, rosen_der

import fastopt

results = {
    name: fastopt.minimize(
        rosen, [-1.2, 1.0], jac=rosen_der, method=name.lower(), options={"trace": True}
    )
    for name in ("BFGS", "L-BFGS")
}
fastopt.plot_convergence(results, reference=0.0, figure=plt.figure(figsize=(10, 5)))
