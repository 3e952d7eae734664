"""Steps on a GPU: those of the CPU, read and written once, and nothing else touched."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastopt.device.arrays import describe
from fastopt.rules._precision import in_double, in_own_precision
from fastopt.rules._unroll import cast
from fastopt.rules.device_steps import (
    SHAPING,
    blocks_of,
    coefficient_count,
    fill_kernel,
    numbers_kernel,
    step_kernel,
)
from fastopt.rules.steps import njit_step, rule_functions
from fastopt.rules.table import FLAVORS, RULES
from fastopt.schedules import cosine, warmup
from fastopt.schedules._multiplier import multiplier
from tests.kernels.cuda.compilation import CAPABILITIES, machine_code

DTYPES = ["float32", "float64"]
# Flavors that differ in their defaults alone are one form.
FORMS = {
    (row.name, row.coefficients, row.single): row
    for flavors in FLAVORS.values()
    for row in reversed(flavors.values())
}.values()


def named(row):
    return f"{row.name}-{row.flavor}"


def coefficients_of(row, dtype, t, hyperparameters):
    """As the CPU's loop has them."""
    _, coefficients = rule_functions(row.name, row.flavor)
    number = in_own_precision if row.single else in_double
    found = coefficients(number(t, np.zeros(0, dtype)), *hyperparameters)
    return list(map(float, cast(found, np.dtype(dtype))))


class Vectors:
    """x and slots on a device, each behind a number or more that nobody may touch."""

    def __init__(self, device, row, x, offset=0, form="plain"):
        self.device, self.row, self.form, self.offset = device, row, form, offset
        self.dtype, self.n = x.dtype.name, x.size
        self.wholes = [self._whole(values) for values in [x, *np.zeros((row.slots, x.size))]]
        self.width = 1 if offset % 4 else 4

    def _whole(self, values):
        whole = np.full(self.n + self.offset + 4, -7.0, self.dtype)
        whole[self.offset : self.offset + self.n] = values
        return self.device.array(whole)

    def _address(self, whole):
        return describe(whole[self.offset :]).address

    def step(self, grad, numbers, begin=0, end=None):
        end = self.n if end is None else end
        kernel = step_kernel(self.row, self.dtype, self.width, self.form)
        x, *slots = map(self._address, self.wholes)
        grad = self._whole(grad)
        kernel.launch(
            (blocks_of(begin, end, self.width),),
            *(x, self._address(grad), *slots, begin, end, *numbers),
        )

    def get(self):
        """x and the slots, in one array."""
        wholes = np.array([whole.get() for whole in self.wholes])
        inside = slice(self.offset, self.offset + self.n)
        assert (np.delete(wholes, np.arange(wholes.shape[1])[inside], axis=1) == -7.0).all()
        return wholes[:, inside]


def assert_close(found, expected, ulps=16):
    """Each vector to a few roundings of its largest numbers."""
    eps = np.finfo(expected.dtype).eps
    scale = np.abs(expected).max(axis=-1, keepdims=True)
    assert (np.abs(found - expected) <= ulps * eps * scale).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", FORMS, ids=named)
def test_steps_are_those_of_the_cpu(row, dtype, device):
    rng = np.random.default_rng(1)
    x = rng.standard_normal(11).astype(dtype)
    slots = np.zeros((row.slots, 11), dtype)
    vectors = Vectors(device, row, x)
    step = njit_step(row.name, row.flavor)
    for t in range(1, 8):
        grad = rng.standard_normal(11).astype(dtype)
        vectors.step(grad, coefficients_of(row, dtype, t, row.defaults))
        step(x, grad, slots, row.defaults, t)
        assert_close(vectors.get(), np.array([x, *slots]))


@pytest.mark.parametrize("offset", [0, 4, 1, 3])
@pytest.mark.parametrize(("begin", "end"), [(0, 2050), (3, 6), (5, 1031), (8, 12), (1023, 2048)])
def test_only_the_numbers_asked_for_are_stepped(begin, end, offset, device):
    row = RULES["adam"]
    x = np.random.default_rng(2).standard_normal(2050).astype(np.float32)
    slots = np.zeros((2, 2050), np.float32)
    vectors = Vectors(device, row, x, offset)
    vectors.step(2 * x, coefficients_of(row, "float32", 1, row.defaults), begin, end)
    piece = slice(begin, end)
    expected = x.copy()
    njit_step("adam")(expected[piece], 2 * x[piece], slots[:, piece], row.defaults, 1)
    assert_close(vectors.get(), np.array([expected, *slots]))
    untouched = np.delete(vectors.get(), np.arange(2050)[piece], axis=1)
    assert (untouched == np.delete(np.array([x, *0 * slots]), np.arange(2050)[piece], axis=1)).all()


@pytest.mark.parametrize("form", ["shaped", "stored"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_is_scaled_clipped_and_decays_in_this_order(dtype, form, device):
    row = RULES["momentum"]
    x, grad = np.array([1.0, 2, -4, 8, 16], dtype), np.array([1.0, 3, -3, -0.5, np.nan], dtype)
    scale, limit, decay, shrink = 0.5, 1.0, 0.25, 0.125
    vectors = Vectors(device, row, x, form=form)
    own = coefficients_of(row, dtype, 1, (0.5, 0.5))
    if form == "shaped":
        scales = device.array(np.array([scale], dtype))
        numbers = [describe(scales).address, limit, decay, shrink, *own]
    else:
        stored = device.array(np.array([1.0, scale, limit, decay, shrink, *own], dtype))
        numbers = [describe(stored).address]
    vectors.step(grad, numbers)
    shaped = np.array([0.5, 1, -1, -0.25, np.nan]) + decay * x
    shrunk = x - shrink * x
    np.testing.assert_array_equal(vectors.get(), [shrunk - 0.5 * shaped, 0.5 * shaped])


def test_step_that_is_not_to_be_taken_leaves_everything(device):
    row = RULES["adam"]
    x = np.arange(9.0)
    vectors = Vectors(device, row, x, form="stored")
    stored = device.array(np.zeros(len(SHAPING) + coefficient_count(row)))
    vectors.step(np.full(9, np.nan), [describe(stored).address])
    assert (vectors.get() == [x, 0 * x, 0 * x]).all()


def test_arrays_are_filled_with_zeros(device):
    array = device.empty((300,), np.float32)
    fill_kernel("float32").launch((2,), describe(array).address, 299)
    assert (array.get()[:299] == 0).all()
    assert np.isnan(array.get()[299])


# --- numbers, worked out on the device ------------------------------------------------------------


def stored_numbers(device, row, dtype, t, groups, schedule=None, decoupled=False, go=1.0):
    """What the kernel stores for step t, and the counts after it."""
    control = device.array(np.array([0.5, go], dtype))
    counts = device.array(np.array([t - 1, 4]))
    hyper = device.array(np.array(groups))
    table = device.array(schedule.table if schedule else np.zeros(1))
    out = device.empty((len(groups), len(SHAPING) + coefficient_count(row)), dtype)
    kernel = numbers_kernel(row, dtype, multiplier if schedule else None, decoupled)
    addresses = [describe(each).address for each in (control, counts, hyper, table)]
    rows = len(schedule.table) if schedule else 0
    kernel.launch((1,), *addresses, rows, 3.0, describe(out).address, len(groups))
    return out.get(), counts.get()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", FORMS, ids=named)
def test_device_works_out_the_coefficients_of_the_cpu(row, dtype, device):
    for t in (1, 2, 3, 700):
        (numbers,), counts = stored_numbers(device, row, dtype, t, [[*row.defaults, 0.25]])
        assert list(counts) == [t, 4]
        assert list(numbers[:5]) == [1.0, 0.5, 3.0, 0.25, 0.0]
        expected = coefficients_of(row, dtype, t, row.defaults)
        np.testing.assert_allclose(numbers[5:], expected, rtol=16 * np.finfo(dtype).eps)


@pytest.mark.parametrize("row", [RULES["adamw"], FLAVORS["gd"]["keras"]], ids=named)
def test_device_schedules_as_the_cpu_does(row, device):
    schedule = warmup(5) * cosine(50)
    decoupled = row.flavor == "keras"
    for t in (1, 4, 20, 60):
        factor = schedule(t)
        groups = [row.defaults, [0.5 * each for each in row.defaults]]
        numbers, _ = stored_numbers(
            device, row, "float64", t, [[*each, 0.25] for each in groups], schedule, decoupled
        )
        for found, given in zip(numbers, groups, strict=True):
            scheduled = [
                value * factor if each.name in row.scheduled else value
                for each, value in zip(row.hyperparameters, given, strict=True)
            ]
            expected = coefficients_of(row, "float64", t, scheduled)
            np.testing.assert_allclose(found[5:], expected, rtol=1e-14)
            decay = [0.0, 0.25 * scheduled[0]] if decoupled else [0.25, 0.0]
            np.testing.assert_allclose(found[3:5], decay, rtol=1e-14)


def test_every_one_of_many_groups_gets_its_numbers(device):
    groups = [[float(k), 0.0] for k in range(70)]
    numbers, _ = stored_numbers(device, RULES["gd"], "float64", 1, groups)
    assert list(numbers[:, 5]) == list(range(70))


def test_step_that_is_not_taken_is_counted_as_that(device):
    numbers, counts = stored_numbers(device, RULES["gd"], "float32", 3, [[0.1, 0.0]], go=0.0)
    assert list(counts) == [2, 5]
    assert numbers[0, 0] == 0


# --- machine code ---------------------------------------------------------------------------------


def check_code(row, dtype, form, capability, folder):
    code = machine_code(step_kernel(row, dtype, 4, form), capability, folder)
    vectors = 2 + row.slots
    wide = dtype == "float64"
    # A float64 vector of four is two instructions.
    assert code.count("LDG.E.128") >= vectors * (1 + wide)
    assert code.count("STG.E.128") >= (vectors - 1) * (1 + wide)
    assert code.doubles == wide
    assert code.registers <= (128 if wide else 64)


@pytest.mark.parametrize("row", RULES.values(), ids=named)
def test_step_reads_128_bits_at_once_in_its_own_precision(row, tmp_path):
    check_code(row, "float32", "plain", (9, 0), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("capability", CAPABILITIES, ids=str)
@pytest.mark.parametrize("form", ["plain", "shaped", "stored"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", RULES.values(), ids=named)
def test_every_step_reads_128_bits_at_once(row, dtype, form, capability, tmp_path):
    check_code(row, dtype, form, capability, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", FORMS, ids=named)
def test_every_kernel_of_numbers_compiles(row, dtype):
    kernel = numbers_kernel(row, dtype, multiplier, row.flavor == "keras")
    assert kernel.machine_code((8, 0))[0]
