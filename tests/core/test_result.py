"""Every end of a solve has its answer."""

import pytest

from fastopt.core.abi import Status
from fastopt.core.result import ENDINGS, paused, remark

TRANSIENT = {Status.RUNNING, Status.RAISED, Status.STOPPED, Status.NOT_ANALYTIC}
OF_BATCHES = {Status.LOST}


def test_every_status_that_ends_a_solve_has_an_ending():
    assert set(ENDINGS) == set(Status) - TRANSIENT - OF_BATCHES


@pytest.mark.parametrize("status", ENDINGS, ids=lambda status: status.name)
def test_success_means_status_0_and_a_test_that_holds(status):
    ending = ENDINGS[status]
    assert ending.success == (ending.status == 0) == (ending.converged_to is not None)


@pytest.mark.parametrize("status", ENDINGS, ids=lambda status: status.name)
def test_message_says_what_happened_and_then_what_to_try(status):
    sentences = ENDINGS[status].message.split(". ")
    assert len(sentences) >= 2
    assert sentences[-1].endswith(".")


def test_numbers_are_those_of_scipy_where_it_has_the_meaning():
    numbers = {status: ending.status for status, ending in ENDINGS.items()}
    assert numbers[Status.MAXITER] == numbers[Status.MAXFEV] == 1
    assert numbers[Status.GRADIENT_MISMATCH] == numbers[Status.NOISY_DIFFERENCES] == 2
    assert numbers[Status.NOT_FINITE] == 3
    assert numbers[Status.CALLBACK] == 99


def test_numbers_that_scipy_lacks_are_told_apart():
    own = [Status.UNBOUNDED, Status.DOMAIN_EDGE, Status.MAXTIME, Status.INTERRUPTED]
    assert len({ENDINGS[status].status for status in own}) == len(own)


def test_a_paused_solve_is_no_success_and_counts_its_iterations():
    assert paused(1, started=True).message.startswith("Still running; paused after 1 iteration.")
    assert "after 7 iterations" in paused(7, started=True).message
    assert not paused(7, started=True).success
    assert paused(0, started=False).message.startswith("Not started")
    assert paused(0, started=False).status not in {ending.status for ending in ENDINGS.values()}


def test_what_was_not_finite_is_named_and_counted():
    assert remark(0, "hess") == ""
    assert remark(1, "hessp").startswith(" `hessp` was not finite in 1 iteration, where")
    assert remark(2, "hess").endswith("showed the way. Check it with check_hess.")
    assert remark(None, "hess").startswith(" `hess` was not finite in some iterations,")
    assert remark(3, None).startswith(" The Hessian by differences was not finite in 3 iterations,")
    assert "check_hess" not in remark(1, None) + remark(1, "preconditioner")
