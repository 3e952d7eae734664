"""Every case of every suite, small: it runs, and fastopt and its peers agree.

Run where PyTorch and NLopt are installed, it compares with them as well.
"""

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from fastopt.commands.bench.sizes import QUICK, USUAL
from fastopt.commands.bench.suites import SUITES, latency, many, objectives, rules
from fastopt.commands.bench.suites.peers import torch
from fastopt.interface.methods import METHODS
from fastopt.training import optimizers

CASES = [(suite, case) for suite in SUITES.values() for case in suite.cases(QUICK)]


@pytest.mark.parametrize(
    ("suite", "case"), CASES, ids=[f"{suite.name}: {case.name}" for suite, case in CASES]
)
@pytest.mark.filterwarnings("ignore")  # SciPy's, when it is asked for the last digit
def test_answers_of_all_who_are_here_agree(suite, case):
    contest = case.prepare()
    ours = contest.ours.function()
    for library, call in contest.peers.items():
        answers = contest.compare(ours, call.function())
        assert answers.agree, (library, answers)
        assert "fastopt" in answers.numbers or suite.answers == "apart"


@pytest.mark.parametrize("sizes", [QUICK, USUAL], ids=["quick", "usual"])
def test_rows_of_a_suite_have_names_of_their_own(sizes):
    for suite in SUITES.values():
        names = [case.name for case in suite.cases(sizes)]
        assert names
        assert len(set(names)) == len(names)


def test_latency_has_every_method_that_scipy_has_too():
    names = {case.name for case in latency.cases(USUAL)}
    assert names >= {name for name, method in METHODS.items() if method.scipy is not None}


def test_rules_have_every_optimizer():
    names = {case.name.partition(",")[0] for case in rules.cases(USUAL)}
    assert names == set(optimizers.__all__)


@pytest.mark.parametrize("name", optimizers.__all__)
def test_every_optimizer_takes_the_same_steps_as_its_peer(name):
    contest = rules.make_step(getattr(optimizers, name), 100)
    ours = contest.ours.function()
    rule = getattr(optimizers, name).rule
    expected = rules.PLAIN if torch() is None else rules.TORCH
    assert bool(contest.peers) == (rule in expected)
    for call in contest.peers.values():
        assert contest.compare(ours, call.function()).agree


RNG = np.random.default_rng(0)
SIGNAL = RNG.normal(size=6)
SPECTRUM = many.lines(1)[1][0]


@pytest.mark.parametrize(
    ("fun", "x", "args"),
    [
        (latency.rosenbrock, RNG.normal(size=2), ()),
        (objectives.chained_rosenbrock, RNG.normal(size=5), ()),
        (
            objectives.gaussian_line,
            np.array([1.5, 0.4, -2.0]),
            (many.CHANNELS, SPECTRUM),
        ),
        (objectives.smoothing, RNG.normal(size=6), (SIGNAL, 0.5, 0.25)),
    ],
    ids=["rosenbrock", "chained_rosenbrock", "gaussian_line", "smoothing"],
)
def test_gradients_match_differences(fun, x, args):
    value, gradient = fun(x, *args)
    # The error of a forward difference: a step of sqrt(eps) times half the curvature.
    expected = approx_fprime(x, lambda at: fun(at, *args)[0])
    np.testing.assert_allclose(gradient, expected, atol=1e-4, rtol=1e-4)
    assert np.isfinite(value)


def test_hessian_matches_differences():
    x = np.array([-1.2, 1.0])
    expected = approx_fprime(x, lambda at: latency.rosenbrock(at)[1])
    np.testing.assert_allclose(latency.rosenbrock_hessian(x), expected, rtol=1e-5, atol=1e-4)
