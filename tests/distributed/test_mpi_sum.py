"""The example of a sum over MPI's processes."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize

from tests.interface.test_executors import OPEN_MPI, output_of

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "mpi_sum.py"
TRUTH = np.linspace(-1.0, 1.0, 20)


def rows_of(rank):
    rng = np.random.default_rng(rank)
    X = rng.normal(size=(10_000, 20))
    return X, np.where(X @ TRUTH + rng.logistic(size=len(X)) > 0, 1.0, -1.0)


def loss(w, X, y):
    margins = y * (X @ w)
    return np.logaddexp(0.0, -margins).sum(), -X.T @ (y / (1.0 + np.exp(margins)))


@pytest.mark.checkout
@pytest.mark.parametrize("processes", [1, 3])
def test_example_finds_the_minimum_over_all_rows(processes):
    pytest.importorskip("mpi4py")
    if shutil.which("mpiexec") is None:
        pytest.skip("needs mpiexec")
    command = ["mpiexec", "-n", str(processes), sys.executable, "-m", "mpi4py", str(EXAMPLE)]
    output = output_of(command, **OPEN_MPI)
    assert f" {processes} processes, " in output

    X, y = map(np.concatenate, zip(*map(rows_of, range(processes)), strict=True))
    whole = scipy.optimize.minimize(loss, np.zeros(20), (X, y), jac=True, tol=1e-9)
    (error,) = re.findall(r"largest error of a coefficient: ([\d.]+)$", output, re.MULTILINE)
    assert float(error) == pytest.approx(abs(whole.x - TRUTH).max(), abs=1e-3)
