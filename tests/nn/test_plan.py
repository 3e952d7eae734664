"""Values, gradients and memory of what plans do."""

import gc
import itertools
import resource
import sys
import tracemalloc

import numpy as np
import pytest

from fastopt import kernels, nn
from fastopt.kernels import reference
from fastopt.nn import plan

from .conftest import NETWORKS, differences, make_batch, make_model, somewhere

EPS = np.finfo(float).eps


def test_gradient_agrees_with_differences(network):
    model = make_model(network)
    theta, (x, y) = somewhere(model), make_batch()
    with model.held():
        _, grad = model.value_and_grad(theta, x, y)
    indices = np.random.default_rng(0).permutation(model.n)[:60]
    slopes = differences(model, theta, x, y, indices)
    np.testing.assert_allclose(grad[indices], slopes, rtol=1e-6, atol=1e-7)


def test_single_precision_is_double_precision_rounded(network):
    double, single = make_model(network), make_model(network, dtype="float32")
    theta, (x, y) = somewhere(double), make_batch()
    exact, exact_grad = double.value_and_grad(theta, x, y)
    value, grad = single.value_and_grad(theta.astype("float32"), x.astype("float32"), y)
    assert value == pytest.approx(exact, rel=1e-4)
    np.testing.assert_allclose(grad, exact_grad, rtol=1e-3, atol=1e-3 * abs(exact_grad).max())


def naive(graph, parameters, buffers, x, training):
    """The output, node by node; nothing is joined, overwritten or planned."""
    values = {0: x}
    for node in graph.nodes:
        inputs = [values[each.index] for each in node.inputs]
        own = [parameters[each.name] for each in node.parameters]
        options = dict(node.attributes)
        match node.op:
            case "batchnorm":
                running = [buffers[each.name].copy() for each in node.buffers]
                out, _ = reference.batchnorm_forward(
                    *inputs, *own, *running, training, eps=options["eps"]
                )
            case "dropout":
                assert not training
                (out,) = inputs
            case "flatten":
                out = inputs[0].reshape(len(x), -1)
            case "concat":
                out = reference.concatenate(inputs)
            case "max_pool2d":
                out, _ = reference.max_pool2d(*inputs, **options)
            case op:
                out = getattr(reference, op)(*inputs, *own, **options)
        values[node.output.index] = out
    return values[graph.output.index]


def test_inference_is_what_the_references_make_one_after_the_other(network):
    model = make_model(network)
    theta, (x, y) = somewhere(model), make_batch()
    for _ in range(3):
        model.value_and_grad(theta, x, y)  # running statistics that are not 0 and 1
    expected = naive(model._graph, model.parameters(theta), model.buffers, x, training=False)
    np.testing.assert_allclose(model.predict(theta, x), expected, rtol=1e-11, atol=1e-12)
    loss, _ = reference.softmax_cross_entropy(expected, y)
    assert model.value(theta, x, y) == pytest.approx(loss, rel=1e-11)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name.endswith(("al", "on", "se"))])
def test_training_is_what_the_references_make_one_after_the_other(name):
    model = make_model(NETWORKS[name])
    theta, (x, y) = somewhere(model), make_batch()
    expected = naive(model._graph, model.parameters(theta), model.buffers, x, training=True)
    loss, _ = reference.softmax_cross_entropy(expected, y)
    assert model.value_and_grad(theta, x, y)[0] == pytest.approx(loss, rel=1e-11)


def test_the_gradient_of_the_input_is_not_computed():
    model = make_model((nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3), nn.Flatten(), nn.Linear(3)))
    x, y = make_batch()
    model.value_and_grad(model.init(0), x, y)
    backward = [call.func.__name__ for call in model._programs.get("train", 5).backward]
    assert backward.count("backward_data") == 1  # of the linear layer alone
    assert "max_pool2d_backward" not in backward


def test_sizes_may_alternate_and_results_stay_the_same(network):
    model = make_model(network)
    theta = somewhere(model)
    batches = {N: make_batch(N, seed=N) for N in (5, 2, 9)}

    def evaluate(N):
        with model.held():
            value, grad = model.value_and_grad(theta, *batches[N])
        return (
            value,
            *grad,
            model.value(theta, *batches[N]),
            *model.predict(theta, batches[N][0])[0],
        )

    first = {N: evaluate(N) for N in batches}
    for N in (9, 2, 5, 5, 2):
        assert np.array_equal(evaluate(N), first[N])


def test_results_do_not_depend_on_the_number_of_threads(network):
    model = make_model(network)
    theta, (x, y) = somewhere(model), make_batch(40)
    threads = kernels.get_num_threads()
    found = []
    try:
        for count in (1, 3, 1):
            kernels.set_num_threads(count)
            with model.held():
                found.append(model.value_and_grad(theta, x, y))
    finally:
        kernels.set_num_threads(threads)
    for value, grad in found[1:]:
        assert value == found[0][0]
        assert np.array_equal(grad, found[0][1])


def test_plans_of_sizes_long_unused_are_dropped():
    model = make_model((nn.Flatten(), nn.Linear(3)))
    theta = model.init(0)
    for N in range(1, 3 * plan._KEPT):
        model.predict(theta, make_batch(N)[0])
    assert len(model._programs._plans) == plan._KEPT
    assert ("predict", 1) not in {key[:2] for key in model._programs._plans}
    assert model._programs._programs.keys() <= model._programs._plans.keys()


def test_later_evaluations_allocate_nothing(network):
    model = make_model(network, dtype="float32")
    theta, (x, y) = somewhere(model).astype(float), make_batch(80, dtype="float32")
    grad = np.empty(model.n)

    def steps(count):
        for _ in itertools.repeat(None, count):
            model.value_and_grad(theta, x, y, grad)
            model.value(theta, x, y)

    steps(3)
    tracemalloc.start()
    steps(100)  # CPython's own lists of free objects have what they will have
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    steps(100)
    _, peak = tracemalloc.get_traced_memory()
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Futures and locks of threads come and go. One array kept by each of 200 evaluations, however
    # small, would be 20 kB. NumPy converts theta through a buffer of 32 kB. The images are 78 kB.
    assert after - before < 15_000
    assert peak - before < 60_000


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in another unit there")
def test_a_thousand_steps_need_no_more_memory_than_the_first():
    model = make_model(NETWORKS["residual"], dtype="float32")
    theta, (x, y) = somewhere(model), make_batch(64, dtype="float32")
    for _ in range(20):
        model.value_and_grad(theta, x, y)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(1000):
        model.value_and_grad(theta, x, y)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1000  # kB


def test_one_arena_is_smaller_than_all_arrays():
    model = make_model(NETWORKS["residual"])
    model.value_and_grad(somewhere(model), *make_batch())
    ((_, planned),) = model._programs._plans.items()
    assert planned.size < 0.7 * sum(block.size for block in planned.blocks)


def test_a_network_of_no_operations_has_a_loss():
    model = nn.Model(nn.Identity(), input_shape=(3,), dtype="float64")
    value, grad = model.value_and_grad(np.empty(0), np.zeros((2, 3)), np.array([0, 1]))
    assert value == pytest.approx(np.log(3), rel=10 * EPS)
    assert grad.shape == (0,)


def test_normalizing_a_batch_of_one_vector_is_refused():
    layers = nn.Flatten(), nn.BatchNorm1d(name="norm"), nn.Linear(3)
    model = make_model(layers)
    with pytest.raises(ValueError, match=r"layer 'norm': .* `x` must have more than one sample"):
        model.value_and_grad(model.init(0), *make_batch(1))
    model.value(model.init(0), *make_batch(1))
