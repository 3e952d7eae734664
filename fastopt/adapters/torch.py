"""A PyTorch module and its loss as a function of one flat vector.

Owns the way of numbers between the vector and the module's parameters. Knows nothing of what
minimizes the function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastopt.core.validate import check_callable
from fastopt.training.flatten import Layout, flatten

if TYPE_CHECKING:
    import torch

__all__ = ["TorchObjective", "from_torch"]


def from_torch(module: torch.nn.Module, loss: Callable[..., torch.Tensor]) -> TorchObjective:
    """A PyTorch module's loss and gradient as a function of one flat vector.

    Parameters
    ----------
    module : torch.nn.Module
        Its parameters that require gradients are the variables, in the module's order. They are all
        float32 or all float64, and on any device. One that is used in several places is one
        variable; others and buffers are left alone.
    loss : callable
        ``loss(module, *batch) -> tensor``, of one element.

    Returns
    -------
    TorchObjective
        A function ``fun(x, *batch) -> (value, gradient)``, which `minimize` takes with ``jac=True``
        and ``args=batch``. NumPy arrays in `batch` become tensors on the module's device; what else
        there is reaches `loss` as it is. The gradient has the dtype of the parameters. The
        attributes and methods of the function are

        * ``x0``: the parameters as they were, a vector, shape (n,);
        * ``layout``: which part of a vector is which parameter, a `Layout` whose names are the
          module's own, as in ``layout.slices["0.weight"]``;
        * ``load(x)``: writes a vector into the module's parameters.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    TypeError, ValueError
        If `module` is none, has no such parameters, or has them in other precisions.

    See Also
    --------
    from_jax : The same for JAX.
    fastopt.minimize : What takes the function.
    fastopt.LBFGS : What steps a vector in a training loop.

    Notes
    -----
    A call writes `x` into the module, and leaves it there: at the end of `minimize`, load the
    solution. The parameters' ``grad`` are not touched. Dropout and batch normalization make another
    function of each call; call ``module.eval()`` first where `minimize` is to have one function.

    `minimize` computes in double precision. A module of float32 rounds `x`, and what it computes is
    as exact as that: use ``module.double()`` where a solution should be more exact than some five
    digits.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> import fastopt
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> y = np.sin(3 * X)
    >>> _ = torch.manual_seed(0)
    >>> module = torch.nn.Sequential(
    ...     torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
    ... ).double()
    >>> fun = fastopt.adapters.from_torch(
    ...     module, lambda module, X, y: torch.nn.functional.mse_loss(module(X), y)
    ... )
    >>> result = fastopt.minimize(fun, fun.x0, args=(X, y), jac=True, method="l-bfgs")
    >>> fun.load(result.x)
    >>> bool(result.fun < 1e-4)
    True
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "from_torch needs PyTorch, which is not installed: pip install 'fastopt[torch]'"
        ) from error
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"`module` must be a torch.nn.Module, got {type(module).__name__}")
    check_callable("loss", loss)
    return TorchObjective(module, loss)


class TorchObjective:
    """What `from_torch` returns, and describes."""

    x0: NDArray[Any]
    layout: Layout

    def __init__(self, module: torch.nn.Module, loss: Callable[..., torch.Tensor]) -> None:
        named = {name: each for name, each in module.named_parameters() if each.requires_grad}
        _check_parameters(named)
        self._module = module
        self._loss = loss
        self._parameters = list(named.values())
        flat = flatten({name: each.detach().cpu().numpy() for name, each in named.items()})
        self.x0 = flat.vector
        self.layout = flat.layout

    def __call__(self, x: ArrayLike, *batch: Any) -> tuple[float, NDArray[Any]]:
        import torch

        self.load(x)
        device = self._parameters[0].device
        with torch.enable_grad():
            value = self._loss(self._module, *(_as_tensor(each, device) for each in batch))
            _check_loss(value)
            slopes = torch.autograd.grad(value, self._parameters, allow_unused=True)
        gradient = np.zeros_like(self.x0)
        parts = self.layout.unflatten(gradient).values()
        for part, slope in zip(parts, slopes, strict=True):
            if slope is not None:
                torch.from_numpy(part).copy_(slope)
        return value.item(), gradient

    def load(self, x: ArrayLike) -> None:
        """Write a vector, shape (n,), into the module's parameters."""
        import torch

        with np.errstate(over="ignore"):  # a trial step may lead anywhere
            vector = np.array(x, dtype=self.x0.dtype)
        if vector.shape != self.x0.shape:
            raise ValueError(
                f"`x` must be of shape {self.x0.shape}, got an array of shape {vector.shape}"
            )
        parts = self.layout.unflatten(vector).values()
        with torch.no_grad():
            for parameter, part in zip(self._parameters, parts, strict=True):
                parameter.copy_(torch.from_numpy(part))

    def __repr__(self) -> str:
        return f"<TorchObjective: {type(self._module).__name__}, {self.x0.size} parameters>"


def _check_parameters(named: dict[str, torch.nn.Parameter]) -> None:
    import torch

    if not named:
        raise ValueError("`module` must have parameters that require gradients, got none")
    (first, parameter), *_ = named.items()
    for name, each in named.items():
        if each.dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"`module` must have parameters of float32 or float64, got {each.dtype} for "
                f"{name!r}"
            )
        if each.dtype != parameter.dtype:
            raise TypeError(
                f"`module` must have parameters of one dtype, got {parameter.dtype} for {first!r} "
                f"and {each.dtype} for {name!r}"
            )


def _check_loss(value: Any) -> None:
    import torch

    if not isinstance(value, torch.Tensor):
        raise TypeError(f"`loss` must return a tensor, got {type(value).__name__}")
    if value.numel() != 1:
        raise ValueError(
            f"`loss` must return a tensor of one element, got one of shape {tuple(value.shape)}"
        )
    if not value.requires_grad:
        raise ValueError(
            "`loss` must return a tensor that depends on the module's parameters, got one without "
            "gradient"
        )


def _as_tensor(value: Any, device: torch.device) -> Any:
    """An array as a tensor, in the same memory where that is possible."""
    import torch

    if not isinstance(value, np.ndarray):
        return value
    return torch.from_numpy(np.require(value, requirements=["C", "W"])).to(device)
