"""What a caller is told about the end of a solve.

Owns the map from fastopt's internal `Status` to a result's ``status``, ``success``,
``converged_to`` and ``message``. Knows neither solvers nor methods.
"""

from __future__ import annotations

from typing import NamedTuple

from fastopt.core.abi import Status

__all__ = ["BATCH_ENDINGS", "DATA_ENDINGS", "ENDINGS", "Ending", "paused", "remark"]


class Ending(NamedTuple):
    """One way for a solve to end.

    `status` is SciPy's number where SciPy has one of that meaning (0 success, 1 a limit was
    reached, 2 no progress, 3 not finite, 99 stopped by the callback). `converged_to` names the
    test that holds at the point returned, if one does.
    """

    status: int
    success: bool
    converged_to: str | None
    message: str


ENDINGS: dict[Status, Ending] = {
    Status.GTOL: Ending(
        0,
        True,
        "gtol",
        "Converged: the norm of the gradient is at most gtol. "
        "For more accuracy, choose a smaller gtol.",
    ),
    Status.FTOL: Ending(
        0,
        True,
        "ftol",
        "Converged: the relative decrease of the function in one iteration is at most ftol. "
        "For more accuracy, choose a smaller ftol, or 0 to turn this test off.",
    ),
    Status.XTOL: Ending(
        0,
        True,
        "xtol",
        "Converged: the last step relative to x is at most xtol. "
        "For more accuracy, choose a smaller xtol, or 0 to turn this test off.",
    ),
    Status.STOPVAL: Ending(
        0,
        True,
        "stopval",
        "Stopped as asked: the function value is at most stopval. "
        "To go on from here, restart at x with a smaller stopval.",
    ),
    Status.ROUNDOFF: Ending(
        0,
        True,
        "roundoff",
        "Converged to attainable precision: what is left to gain is below the rounding error of "
        "the function, though the gradient is above gtol. "
        "For more, compute the function with less cancellation, scale it, or supply an exact "
        "gradient.",
    ),
    Status.EPOCHS: Ending(
        0,
        True,
        "epochs",
        "Stopped as asked: all epochs have been run. "
        "To go on from here, restart at x with a smaller learning rate (lr), or run more epochs.",
    ),
    Status.PATIENCE: Ending(
        0,
        True,
        "patience",
        "Stopped as asked: validation has not improved for patience epochs; x is where it was "
        "best. To look further, raise patience.",
    ),
    Status.MAXITER: Ending(
        1,
        False,
        None,
        "The number of iterations reached maxiter. "
        "Raise maxiter, or restart from x; if that does not help, scale the variables.",
    ),
    Status.MAXFEV: Ending(
        1,
        False,
        None,
        "The number of function evaluations reached maxfev. "
        "Raise maxfev (maxfun); with differences for a gradient, supplying one saves n evaluations "
        "each.",
    ),
    Status.GRADIENT_MISMATCH: Ending(
        2,
        False,
        None,
        "The function does not decrease along a direction that its gradient calls downhill: "
        "the two seem inconsistent at x. "
        "Check the gradient with check_grad; if it is right, scale the variables, and raise maxls "
        "if that was lowered; with jac='cs', check that the function is analytic.",
    ),
    Status.NOISY_DIFFERENCES: Ending(
        2,
        False,
        None,
        "The differences that stand in for the gradient are too inaccurate to find a way down "
        "from here; x may be as good as they can tell. "
        "Use jac='3-point', a larger step (eps or finite_diff_rel_step), or an exact gradient.",
    ),
    Status.NOT_FINITE: Ending(
        3,
        False,
        None,
        "The function or its gradient is NaN or infinite at x0. "
        "Start from a point where both are finite, or rewrite the function so that it does not "
        "overflow.",
    ),
    Status.DIVERGED: Ending(
        3,
        False,
        None,
        "The iterates diverged until the function or its gradient was no longer finite; the "
        "lowest point before that is returned. "
        "Use a smaller learning rate (lr), or scale the variables.",
    ),
    Status.UNBOUNDED: Ending(
        4,
        False,
        None,
        "The function seems unbounded below: it went to -inf, or kept falling along ever longer "
        "steps. "
        "Check its sign; or add a penalty, a stopval to stop at, or bounds, with "
        "method='l-bfgs-b' or none.",
    ),
    Status.DOMAIN_EDGE: Ending(
        5,
        False,
        None,
        "Every step downhill leaves the region where the function is finite: x is at its edge. "
        "Transform the variables so that the edge moves to infinity; or add bounds, with "
        "method='l-bfgs-b' or none.",
    ),
    Status.MAXTIME: Ending(
        6,
        False,
        None,
        "The time limit maxtime was reached; x is the best point seen. "
        "Raise maxtime, or restart from x.",
    ),
    Status.INTERRUPTED: Ending(
        7,
        False,
        None,
        "Interrupted from the keyboard; x is the best point seen. Restart from x to go on.",
    ),
    Status.ENDED_BY_OBJECTIVE: Ending(
        8,
        False,
        None,
        "The objective itself, a C function, answered that the solve is to end. "
        "x is the best point seen; restart from it to go on.",
    ),
    Status.CALLBACK: Ending(
        99,
        False,
        None,
        "The callback raised StopIteration; x is the best point seen. Restart from x to go on.",
    ),
}


# What is different where the function is of minibatches: the best point is not known.
DATA_ENDINGS: dict[Status, Ending] = {
    **ENDINGS,
    Status.DIVERGED: Ending(
        3,
        False,
        None,
        "The value or the gradient of a batch, or the point that a step led to, is NaN or "
        "infinite; the point before that is returned. "
        "Use a smaller learning rate (lr) or clip_norm, and look for NaN in the data.",
    ),
    Status.MAXTIME: Ending(
        6,
        False,
        None,
        "The time limit maxtime was reached. Raise maxtime, or restart from x.",
    ),
    Status.INTERRUPTED: Ending(
        7,
        False,
        None,
        "Interrupted from the keyboard. Restart from x to go on.",
    ),
    Status.CALLBACK: Ending(
        99,
        False,
        None,
        "The callback raised StopIteration. Restart from x to go on.",
    ),
}


# What can become of one problem of a batch besides.
BATCH_ENDINGS: dict[Status, Ending] = {
    **ENDINGS,
    Status.RUNNING: Ending(
        -1,
        False,
        None,
        "Not ended: the batch was stopped before. Solve it again, from x.",
    ),
    Status.RAISED: Ending(
        9,
        False,
        None,
        "The function raised an exception. It is in `errors`; x is the best point seen before.",
    ),
    Status.LOST: Ending(
        10,
        False,
        None,
        "The worker that had this problem was lost. `errors` says how; solve it again.",
    ),
}


def remark(modelless: int | None, given: str | None) -> str:
    """What a message says besides, where the gradient alone had to show the way.

    Parameters
    ----------
    modelless : int or None
        Iterations of which that is so; None where their number does not matter.
    given : {"hess", "hessp", "preconditioner"} or None
        The argument that was not finite; None if it was the differences that stand in for it.
    """
    if modelless == 0:
        return ""
    what = "The Hessian by differences" if given is None else f"`{given}`"
    often = "some" if modelless is None else str(modelless)
    plural = "" if modelless == 1 else "s"
    check = " Check it with check_hess." if given in ("hess", "hessp") else ""
    return (
        f" {what} was not finite in {often} iteration{plural}, where the gradient alone "
        f"showed the way.{check}"
    )


def paused(nit: int, started: bool) -> Ending:
    """The answer of a solve that has not ended: no SciPy status means that, so -1 does."""
    if not started:
        return Ending(-1, False, None, "Not started yet. Call advance() or run().")
    plural = "" if nit == 1 else "s"
    return Ending(
        -1,
        False,
        None,
        f"Still running; paused after {nit} iteration{plural}. Call advance() or run() to go on.",
    )
