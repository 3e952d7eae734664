"""
Benign or malignant: logistic regression
========================================

A classifier is to say from thirty measurements of cell nuclei whether a tumour is malignant, and
how sure that is. The data are the Wisconsin breast cancer set, 569 patients, which comes with
scikit-learn; and scikit-learn's own logistic regression is there to compare with. The picture
shows the coefficients, and what the classifier says of patients whom it has not seen.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import fastopt

cells = load_breast_cancer()
malignant = (cells.target == 0).astype(float)
X, X_test, y, y_test = train_test_split(
    cells.data, malignant, test_size=0.3, random_state=0, stratify=malignant
)
mean, spread = X.mean(axis=0), X.std(axis=0)
X, X_test = (X - mean) / spread, (X_test - mean) / spread

# %%
# :func:`fastopt.losses.logistic` has value, gradient and Hessian of the mean cross-entropy
# compiled. The measurements depend on one another (radius, perimeter and area of the same
# nuclei), and a penalty on the squares of the coefficients keeps these from growing against each
# other. scikit-learn weighs the sum over the samples by ``C`` instead: ``C = 1 / (l2 * n)`` is
# the same problem.

l2 = 1e-2
loss = fastopt.losses.logistic(X, y, l2=l2, intercept=True)
fit = fastopt.minimize(
    loss.fun, loss.x0, loss.args, "newton", loss.jac, hess=loss.hess, options={"gtol": 1e-10}
)
coefficients = loss.coef(fit.x)
print(f"{fit.nit} iterations of Newton's method, cross-entropy and penalty {fit.fun:.6f}")

reference = LogisticRegression(C=1 / (l2 * len(y)), tol=1e-10, max_iter=10_000).fit(X, y)
difference = np.abs(coefficients - reference.coef_[0]).max()
print(f"largest difference from scikit-learn's coefficients: {difference:.1e}")
assert difference < 1e-6

# %%
# The score of a patient is a weighted sum of the measurements, and its logistic function the
# probability.

probability = 1 / (1 + np.exp(-loss.decision(fit.x, X_test)))
print(f"right in {((probability > 0.5) == y_test).sum()} of {y_test.size} patients not seen before")

# %%
# The coefficients of both libraries lie on one another. Of the four patients who are misjudged,
# three have a tumour that is taken for benign, at probabilities of 0.07 to 0.18. Where that is
# worse than a false alarm, the line between the classes belongs further left.

order = np.argsort(coefficients)
place = np.arange(order.size)
figure, (left, right) = plt.subplots(
    1, 2, figsize=(11, 6), width_ratios=(1.2, 1), layout="constrained"
)
left.barh(place, coefficients[order], color="#56B4E9", label="fastopt")
left.plot(reference.coef_[0][order], place, "o", ms=4, color="#D55E00", label="scikit-learn")
left.axvline(0, color="black", lw=0.8)
left.set_yticks(place, cells.feature_names[order], fontsize=8)
left.set(title="What speaks for malignant", ylim=(-0.7, order.size - 0.3))
left.set(xlabel="coefficient (log odds per standard deviation)")
left.legend(frameon=False, loc="lower right")

bins = np.linspace(0, 1, 21)
groups = probability[y_test == 0], probability[y_test == 1]
labels = f"benign ({len(groups[0])})", f"malignant ({len(groups[1])})"
right.hist(groups, bins, color=("#009E73", "#D55E00"), label=labels)
right.axvline(0.5, color="black", lw=0.8, ls="--")
right.set(xlabel="probability of malignant, as predicted", ylabel="patients", yscale="symlog")
right.set(title="Patients not seen before", yticks=(0, 1, 10, 100), yticklabels=(0, 1, 10, 100))
right.legend(frameon=False)
