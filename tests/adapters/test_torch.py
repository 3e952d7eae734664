"""PyTorch's modules as functions of flat vectors. (What needs no PyTorch is in test_missing.py.)"""

import pickle

import numpy as np
import pytest

import fastopt
from fastopt.adapters import from_torch

torch = pytest.importorskip("torch", reason="needs PyTorch")
mse = torch.nn.functional.mse_loss


def squares(module, X, y):
    return mse(module(X), y)


def network(dtype=torch.float64):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).to(
        dtype
    )


def data(dtype=np.float64, n=200):
    X = np.random.default_rng(0).uniform(-1, 1, (n, 2))
    return X.astype(dtype), (X[:, :1] * X[:, 1:]).astype(dtype)


PRECISIONS = pytest.mark.parametrize(
    ("dtype", "tensor_dtype"), [(np.float32, torch.float32), (np.float64, torch.float64)]
)


@PRECISIONS
def test_value_and_gradient_are_those_of_backward(dtype, tensor_dtype):
    module = network(tensor_dtype)
    fun = from_torch(module, squares)
    X, y = data(dtype)
    value, gradient = fun(fun.x0, X, y)
    loss = squares(module, torch.from_numpy(X), torch.from_numpy(y))
    loss.backward()
    expected = torch.cat([each.grad.ravel() for each in module.parameters()]).numpy()
    assert (type(value), value) == (float, loss.item())
    np.testing.assert_array_equal(gradient, expected, strict=True)


@PRECISIONS
def test_start_is_the_parameters_in_their_order_by_their_names(dtype, tensor_dtype):
    module = network(tensor_dtype)
    fun = from_torch(module, squares)
    expected = torch.nn.utils.parameters_to_vector(module.parameters()).detach().numpy()
    np.testing.assert_array_equal(fun.x0, expected, strict=True)
    assert fun.x0.dtype == dtype
    assert list(fun.layout.slices) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    np.testing.assert_array_equal(
        fun.x0[fun.layout.slices["0.bias"]], module[0].bias.detach().numpy()
    )


def test_gradient_matches_differences():
    fun = from_torch(network(), squares)
    X, y = data(n=20)
    assert fastopt.check_grad(fun, fun.x0, args=(X, y), jac=True)


@PRECISIONS
def test_minimize_trains_a_network(dtype, tensor_dtype):
    module = network(tensor_dtype)
    fun = from_torch(module, squares)
    X, y = data(dtype)
    start = fun(fun.x0, X, y)[0]
    result = fastopt.minimize(
        fun, fun.x0, args=(X, y), jac=True, method="l-bfgs", options={"maxiter": 300}
    )
    assert result.fun < 0.01 * start
    fun.load(result.x)
    with torch.no_grad():
        found = squares(module, torch.from_numpy(X), torch.from_numpy(y)).item()
    assert found == result.fun


@PRECISIONS
def test_training_loop_steps_the_vector(dtype, tensor_dtype):
    fun = from_torch(network(tensor_dtype), squares)
    X, y = data(dtype)
    theta = fun.x0.copy()
    optimizer = fastopt.LBFGS(theta)
    for rows in np.split(np.arange(200), 4) * 5:
        optimizer.step(lambda rows=rows: fun(theta, X[rows], y[rows]), iterations=5)
    assert fun(theta, X, y)[0] < 0.1 * fun(fun.x0, X, y)[0]


def test_parameters_that_require_no_gradient_are_left_alone():
    module = network()
    module[0].weight.requires_grad_(False)
    before = module[0].weight.clone()
    fun = from_torch(module, squares)
    assert list(fun.layout.slices) == ["0.bias", "2.weight", "2.bias"]
    fun(np.ones_like(fun.x0), *data())
    assert torch.equal(module[0].weight, before)
    assert (module[2].weight == 1).all()


def test_parameters_in_several_places_are_one_variable():
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inward = torch.nn.Linear(2, 2, bias=False, dtype=torch.float64)
            self.outward = torch.nn.Linear(2, 2, bias=False, dtype=torch.float64)
            self.outward.weight = self.inward.weight

        def forward(self, X):
            return self.outward(self.inward(X))

    fun = from_torch(Tied(), lambda module, X: module(X).sum())
    assert fun.x0.shape == (4,)
    X = np.array([[1.0, 2.0]])
    ones = np.ones(2)
    W = fun.x0.reshape(2, 2)
    expected = np.outer(ones, W @ X[0]) + np.outer(W.T @ ones, X[0])
    np.testing.assert_allclose(fun(fun.x0, X)[1], expected.ravel(), rtol=1e-14)


def test_parameters_that_are_not_used_have_no_slope():
    module = network()
    fun = from_torch(module, lambda module, X: module[0](X).sum())
    gradient = fun(fun.x0, data()[0])[1]
    assert gradient[fun.layout.slices["0.weight"]].all()
    assert not gradient[fun.layout.slices["2.weight"]].any()


def test_gradients_that_the_module_holds_are_not_touched():
    module = network()
    fun = from_torch(module, squares)
    fun(fun.x0, *data())
    assert [each.grad for each in module.parameters()] == [None] * 4


def test_gradients_are_computed_where_the_caller_has_switched_them_off():
    fun = from_torch(network(), squares)
    expected = fun(fun.x0, *data())[1]
    with torch.no_grad():
        np.testing.assert_array_equal(fun(fun.x0, *data())[1], expected)


def test_arrays_of_any_memory_become_tensors_and_other_values_stay():
    fun = from_torch(network(), lambda module, X, y, power: (module(X) - y).abs().pow(power).sum())
    X, y = data()
    expected = fun(fun.x0, torch.from_numpy(X), torch.from_numpy(y), 2)[0]
    X.flags.writeable = False
    y = y[::-1].copy()[::-1]
    assert fun(fun.x0, X, y, 2)[0] == expected


def test_a_result_may_be_kept():
    fun = from_torch(network(), squares)
    first = fun(fun.x0, *data())[1]
    before = first.copy()
    fun(fun.x0 + 1, *data())
    np.testing.assert_array_equal(first, before)


def test_function_pickles():
    fun = from_torch(network(), squares)
    copy = pickle.loads(pickle.dumps(fun))
    assert copy(fun.x0, *data())[0] == fun(fun.x0, *data())[0]


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match=r"`module` must be a torch.nn.Module, got int"):
        from_torch(3, squares)
    with pytest.raises(TypeError, match="`loss` must be callable"):
        from_torch(network(), None)
    with pytest.raises(ValueError, match="`module` must have parameters that require gradients"):
        from_torch(torch.nn.Tanh(), squares)
    with pytest.raises(TypeError, match=r"float32 or float64, got torch.float16 for '0.weight'"):
        from_torch(network(torch.float16), squares)
    mixed = network()
    mixed[2].float()
    with pytest.raises(TypeError, match=r"torch.float64 for '0.weight' and torch.float32 for '2."):
        from_torch(mixed, squares)
    fun = from_torch(network(), squares)
    with pytest.raises(ValueError, match=r"`x` must be of shape \(33,\), got an array of shape"):
        fun(np.zeros(3), *data())
    with pytest.raises(ValueError, match=r"`x` must be of shape \(33,\), got an array of shape"):
        fun.load(np.zeros((33, 1)))


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (lambda module: 1.0, TypeError, "`loss` must return a tensor, got float"),
        (lambda module: module[0].bias, ValueError, r"one element, got one of shape \(8,\)"),
        (lambda module: torch.zeros(1), ValueError, "depends on the module's parameters"),
    ],
)
def test_a_loss_that_is_none_is_named(loss, error, message):
    fun = from_torch(network(), loss)
    with pytest.raises(error, match=message):
        fun(fun.x0)


def test_function_says_what_it_is():
    assert repr(from_torch(network(), squares)) == "<TorchObjective: Sequential, 33 parameters>"
