"""Schedules as functions of the step, and as values."""

import copy
import doctest
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastopt import schedules
from fastopt.schedules import Schedule, _multiplier

NAMES = {name: getattr(schedules, name) for name in schedules.__all__}

# Every function with arguments that are not the defaults, and what it is after s steps.
FORMULAS = {
    "constant(0.3)": lambda s: 0.3,
    "linear(10, start=0.2, end=0.9)": lambda s: 0.2 + 0.7 * min(s, 10) / 10,
    "warmup(9)": lambda s: min(s + 1, 10) / 10,
    "warmup(10, start=0.0)": lambda s: min(s, 10) / 10,
    "polynomial(10, 3.0, end=0.1)": lambda s: 0.1 + 0.9 * (1 - min(s, 10) / 10) ** 3,
    "cosine(10, start=0.8, end=0.1)": lambda s: (
        0.1 + 0.35 * (1 + math.cos(math.pi * min(s, 10) / 10))
    ),
    "cosine_restarts(5, end=0.1)": lambda s: 0.1 + 0.45 * (1 + math.cos(math.pi * (s % 5) / 5)),
    "step(0.5, every=4)": lambda s: 0.5 ** (s // 4),
    "exponential(0.9, every=3)": lambda s: 0.9 ** (s / 3),
    "exponential(1.5)": lambda s: 1.5**s,
    "inverse_sqrt(4)": lambda s: (1 + s / 4) ** -0.5,
    "piecewise([3, 7], [1.0, 0.0, 0.5])": lambda s: 1.0 if s < 3 else 0.0 if s < 7 else 0.5,
}


def made(text):
    return eval(text, dict(NAMES))


def first(schedule, steps):
    return schedule(range(1, steps + 1))


counts = st.integers(1, 12)
values = st.floats(0, 2, allow_subnormal=False)
positive = st.floats(0.01, 3)
shapes = st.one_of(
    st.builds(schedules.constant, values),
    st.builds(schedules.warmup, counts, start=st.none() | values),
    st.builds(schedules.linear, counts, start=values, end=values),
    st.builds(schedules.polynomial, counts, positive, start=values, end=values),
    st.builds(schedules.cosine, counts, start=values, end=values),
    st.builds(
        schedules.cosine_restarts, counts, growth=st.integers(1, 3), start=values, end=values
    ),
    st.builds(schedules.exponential, positive, every=counts),
    st.builds(schedules.step, positive, every=counts),
    st.builds(schedules.inverse_sqrt, counts),
    st.builds(lambda n, start: schedules.one_cycle(n + 1, start=start), counts, values),
    st.builds(
        lambda edges, heights: schedules.piecewise(sorted(edges), heights[: len(edges) + 1]),
        st.sets(counts, max_size=4),
        st.lists(values, min_size=5, max_size=5),
    ),
)
combinations = st.recursive(
    shapes,
    lambda some: (
        st.builds(lambda a, b, after: a.then(b, after), some, some, counts)
        | st.builds(lambda a, b: a * b, some, some)
    ),
    max_leaves=12,
)


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", FORMULAS)
def test_multiplier_is_what_its_formula_says(text):
    expected = [FORMULAS[text](s) for s in range(40)]
    np.testing.assert_allclose(first(made(text), 40), expected, rtol=1e-14, atol=1e-16)


def test_restarts_come_after_periods_that_grow():
    schedule = schedules.cosine_restarts(3, growth=2, end=0.25)
    periods = [first(schedules.cosine(n, end=0.25), n) for n in (3, 6, 12, 24)]
    assert np.array_equal(first(schedule, 45), np.concatenate(periods))


def test_one_cycle_goes_up_then_down():
    schedule = schedules.one_cycle(100)
    assert schedule(1) == 1 / 25
    assert schedule(31) == 1.0
    assert schedule(101) == schedule(10**6) == 1 / 250_000
    multipliers = first(schedule, 101)
    assert (np.diff(multipliers[:31]) > 0).all()
    assert (np.diff(multipliers[30:]) < 0).all()
    assert schedules.one_cycle(2).steps == 2


def test_warmup_and_inverse_sqrt_are_the_schedule_of_vaswani_et_al():
    k = 40
    schedule = schedules.warmup(k - 1).then(schedules.inverse_sqrt(k))
    t = np.arange(1.0, 400.0)
    equation_3 = math.sqrt(k) * np.minimum(t**-0.5, t * k**-1.5)
    np.testing.assert_allclose(first(schedule, 399), equation_3, rtol=1e-14)


@pytest.mark.parametrize("make", [schedules.linear, schedules.cosine])
@given(st.integers(1, 10**6), values, values)
def test_ends_are_exact_and_the_way_is_monotone(make, steps, start, end):
    schedule = make(steps, start=start, end=end)
    assert schedule(1) == start
    assert schedule(steps + 1) == schedule(steps + 2) == schedule(10**15) == end
    near = [*range(1, min(steps, 20) + 1), *range(max(1, steps - 20), steps + 2)]
    changes = np.diff(schedule(sorted(set(near))))
    assert (changes <= 0).all() or (changes >= 0).all()


@given(st.integers(1, 1000), positive, values, values)
def test_polynomial_ends_are_exact_and_the_way_is_monotone(steps, power, start, end):
    multipliers = first(schedules.polynomial(steps, power, start=start, end=end), steps + 2)
    assert multipliers[0] == start
    assert multipliers[-1] == multipliers[-2] == end
    changes = np.diff(multipliers)
    assert (changes <= 0).all() or (changes >= 0).all()


def test_cosine_keeps_its_digits_near_the_end():
    steps = 10**6
    found = schedules.cosine(steps)(steps)  # one step before 0
    x = math.pi / steps
    assert found == pytest.approx(x * x / 4 * (1 - x * x / 12), rel=1e-14)


def test_power_that_overflows_is_infinite():
    assert schedules.exponential(2.0)(10**9) == math.inf
    assert schedules.step(2.0, every=1)(10**9) == math.inf
    assert schedules.exponential(0.5)(10**9) == 0.0


def test_steps_say_when_a_schedule_changes_no_more():
    expected = {
        "constant(0.5)": 0,
        "warmup(5)": 5,
        "one_cycle(20)": 20,
        "piecewise([3, 7], [1, 2, 3])": 7,
        "step(0.5, every=3)": math.inf,
        "step(0.5, every=3).then(constant(0), after=7)": 7,
        "warmup(5).then(cosine(9), after=6)": 15,
        "warmup(5).then(cosine(9), after=2)": 11,
        "warmup(5) * cosine(9)": 9,
        "warmup(5) * inverse_sqrt(2)": math.inf,
    }
    assert {text: made(text).steps for text in expected} == expected


# --- combinations --------------------------------------------------------------------------------


@given(combinations, combinations, counts)
def test_what_follows_begins_at_its_own_beginning(a, b, after):
    expected = np.concatenate([first(a, after), first(b, 40)])
    assert np.array_equal(first(a.then(b, after), after + 40), expected)


@given(combinations, combinations)
def test_product_is_that_of_the_multipliers(a, b):
    np.testing.assert_allclose(first(a * b, 60), first(a, 60) * first(b, 60), rtol=1e-14)


@given(combinations, values)
def test_number_times_schedule_multiplies(a, number):
    np.testing.assert_allclose(first(number * a, 30), number * first(a, 30), rtol=1e-14)
    np.testing.assert_allclose(first(a * number, 30), number * first(a, 30), rtol=1e-14)
    assert np.float64(number) * a == number * a
    assert np.float64(number) * a == schedules.constant(number) * a


@given(combinations, combinations, combinations, counts, counts)
def test_sequence_is_associative(a, b, c, k, m):
    assert a.then(b.then(c, m), k) == a.then(b, k).then(c, k + m)


def test_sequence_takes_over_where_the_first_ends():
    schedule = schedules.warmup(7).then(schedules.cosine(20))
    assert schedule == schedules.warmup(7).then(schedules.cosine(20), after=7)
    # Continuous: the warm-up would be at 1 where the cosine begins there.
    assert schedule(8) == 1.0


@pytest.mark.parametrize(
    "text",
    ["constant(1)", "step(0.5, every=3)", "cosine_restarts(3)", "warmup(3) * inverse_sqrt(1)"],
)
def test_what_has_no_end_of_its_own_needs_one(text):
    with pytest.raises(ValueError, match=r"^`after` must be given, for .* has no end of its own"):
        made(text).then(schedules.linear(3))


def test_many_parts():
    boundaries = list(range(1, 2001))
    schedule = schedules.piecewise(boundaries, [1.0 / k for k in range(1, 2002)])
    assert schedule(1500) == 1 / 1500
    assert made(repr(schedule.then(schedules.constant(0.5), 50)))(51) == 0.5
    assert Schedule.from_table(schedule.table) == schedule


# --- a value -------------------------------------------------------------------------------------


@given(combinations)
def test_repr_table_and_pickle_make_it_again(schedule):
    assert made(repr(schedule)) == schedule
    assert Schedule.from_table(schedule.table) == schedule
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert copy.deepcopy(schedule) == schedule
    table = schedule.table
    assert table.dtype == np.float64
    assert table.shape == (len(table), _multiplier.COLUMNS)


def test_repr_is_how_one_would_write_it():
    for text in (
        "warmup(500).then(cosine(9500, end=0.01), after=500)",
        "warmup(500) * cosine(10000)",
        "(warmup(3, start=0.5) * linear(9)).then(step(0.1, every=30), after=9)",
        "constant(1.0).then(warmup(3) * exponential(0.9), after=5)",
        "constant(2.0) * constant(1.0).then(constant(0.5), after=5).then(constant(0.1), after=8)",
        "polynomial(5, 2.0, start=0.5)",
        "cosine_restarts(5, growth=2, end=0.1)",
        "inverse_sqrt(4)",
    ):
        assert repr(made(text)) == text


def test_equal_by_value_and_a_key():
    a, b = (schedules.warmup(3).then(schedules.cosine(4)) for _ in range(2))
    assert a == b
    assert len({a, b, schedules.cosine(4)}) == 2
    assert a != schedules.warmup(3).then(schedules.cosine(5))
    assert a != 1


def test_never_changes():
    schedule = schedules.linear(4)
    with pytest.raises(AttributeError):
        schedule.steps = 3
    with pytest.raises((AttributeError, TypeError)):
        schedule._rows = ()
    schedule.table[:] = 0.0
    assert schedule == schedules.linear(4)


def test_saved_with_numpy(tmp_path):
    schedule = schedules.warmup(3) * schedules.piecewise([2, 5], [1, 0.5, 0.1])
    np.savez(tmp_path / "saved.npz", schedule=schedule.table)
    with np.load(tmp_path / "saved.npz") as saved:
        assert Schedule.from_table(saved["schedule"]) == schedule


def test_numbers_of_kinds_are_those_of_saved_tables():
    kinds = ["constant(1)", "polynomial(3, 2)", "cosine(3)", "cosine_restarts(3)"]
    kinds += ["exponential(0.5)", "step(0.5, every=3)", "inverse_sqrt(3)"]
    assert [made(text).table[0, 0] for text in kinds] == [0, 1, 2, 3, 4, 5, 6]
    row = [3, 0, math.inf, 5, 0.5, 0.25, 2]
    assert Schedule.from_table([row]) == made("cosine_restarts(5, growth=2, start=0.5, end=0.25)")


# Each a table that is right, but for one number.
@pytest.mark.parametrize(
    ("row", "column", "value"),
    [
        (0, 0, 99.0),
        (0, 0, math.nan),
        (0, 1, 1.0),
        (0, 1, math.nan),
        (0, 2, 6.0),
        (0, 2, 4.0),
        (0, 2, math.nan),
        (0, 3, 0.0),
        (0, 3, 2.5),
        (0, 3, math.inf),
        (0, 4, -1.0),
        (0, 5, math.nan),
        (0, 6, 0.0),
        (1, 2, 100.0),
        (1, 1, 6.0),
        (2, 1, 3.0),
        (2, 2, 9.0),
        (2, 6, 2.0),
    ],
)
def test_table_that_no_schedule_has_is_refused(row, column, value):
    table = made("polynomial(5, 2).then(cosine(5)) * constant(0.5)").table
    assert len(table) == 3
    table[row, column] = value
    with pytest.raises(ValueError, match=r"^`table` must be that of a schedule, got another"):
        Schedule.from_table(table)


@pytest.mark.parametrize(
    ("table", "error"),
    [
        (np.zeros((1, 6)), ValueError),
        (np.zeros((0, 7)), ValueError),
        (np.zeros(7), ValueError),
        (np.zeros((1, 7), complex), TypeError),
        ("cosine", TypeError),
    ],
)
def test_what_is_no_table_is_refused(table, error):
    with pytest.raises(error, match=r"`table` must be an array of shape"):
        Schedule.from_table(table)


@given(st.lists(st.tuples(*[st.sampled_from([0.0, 1.0, 2.0, 5.0, math.inf])] * 7), min_size=1))
def test_any_table_is_taken_or_refused(rows):
    try:
        schedule = Schedule.from_table(rows)
    except ValueError:
        return
    assert np.array_equal(schedule.table, rows)
    assert made(repr(schedule)) == schedule


# --- arguments -----------------------------------------------------------------------------------


def test_steps_may_be_any_integers_in_any_shape():
    schedule = schedules.linear(4)
    assert type(schedule(2)) is float
    for number in (np.int32(2), np.uint8(2), np.array(2)):
        assert schedule(number) == 0.75
    found = schedule(np.array([[1, 2], [3, 4]], dtype=np.uint16))
    assert np.array_equal(found, [[1.0, 0.75], [0.5, 0.25]])
    assert found.dtype == np.float64
    assert schedule(np.array([], dtype=int)).shape == (0,)


@pytest.mark.parametrize("t", [1.0, True, "1", None, [1.5], [[True]], 1j, [[1], []]])
def test_step_that_is_no_integer_is_refused(t):
    with pytest.raises(TypeError, match=r"^`t` must be an integer or an array of integers, got"):
        schedules.linear(4)(t)


@pytest.mark.parametrize("t", [0, -3, [3, 0]])
def test_steps_are_counted_from_1(t):
    with pytest.raises(ValueError, match=r"^`t` must count steps from 1, got"):
        schedules.linear(4)(t)


BAD = [
    ("constant", "value", -1.0, ValueError),
    ("constant", "value", math.nan, ValueError),
    ("constant", "value", math.inf, ValueError),
    ("constant", "value", "1", TypeError),
    *[
        (name, argument, value, error)
        for name in ("linear", "cosine", "cosine_restarts", "polynomial", "warmup", "one_cycle")
        for argument, value, error in [
            ("steps", 0, ValueError),
            ("steps", 2.5, ValueError),
            ("steps", None, TypeError),
            ("start", -0.1, ValueError),
            ("start", "high", TypeError),
            ("end", math.inf, ValueError),
        ]
        if (name, argument) != ("warmup", "end")
    ],
    ("polynomial", "power", 0.0, ValueError),
    ("polynomial", "power", None, TypeError),
    ("cosine_restarts", "growth", 0, ValueError),
    ("cosine_restarts", "growth", 1.5, ValueError),
    ("one_cycle", "steps", 1, ValueError),
    ("one_cycle", "rise", 0, ValueError),
    ("one_cycle", "rise", 10, ValueError),
    ("one_cycle", "shape", "square", ValueError),
    ("one_cycle", "shape", 3, TypeError),
    ("step", "gamma", 0.0, ValueError),
    ("step", "gamma", math.inf, ValueError),
    ("step", "every", 0, ValueError),
    ("exponential", "gamma", -0.5, ValueError),
    ("exponential", "every", 0.5, ValueError),
    ("inverse_sqrt", "steps", 0, ValueError),
    ("piecewise", "boundaries", [0], ValueError),
    ("piecewise", "boundaries", [3, 3], ValueError),
    ("piecewise", "boundaries", [5, 3], ValueError),
    ("piecewise", "boundaries", 5, TypeError),
    ("piecewise", "values", [1.0, -1.0, 0.5], ValueError),
    ("piecewise", "values", [1.0, 0.5], ValueError),
    ("piecewise", "values", 0.5, TypeError),
]
GOOD = {
    "constant": {"value": 1.0},
    "linear": {"steps": 10},
    "cosine": {"steps": 10},
    "cosine_restarts": {"steps": 10},
    "polynomial": {"steps": 10, "power": 2},
    "warmup": {"steps": 10},
    "one_cycle": {"steps": 10},
    "step": {"gamma": 0.5, "every": 3},
    "exponential": {"gamma": 0.5},
    "inverse_sqrt": {"steps": 10},
    "piecewise": {"boundaries": [3, 5], "values": [1, 0.5, 0.1]},
}


@pytest.mark.parametrize(("name", "argument", "value", "error"), BAD)
def test_bad_argument_is_named(name, argument, value, error):
    assert isinstance(NAMES[name](**GOOD[name]), Schedule)
    with pytest.raises(error, match=f"^`{argument}` must "):
        NAMES[name](**{**GOOD[name], argument: value})


def test_every_function_is_tried_with_bad_arguments():
    functions = {name for name, value in NAMES.items() if not isinstance(value, type)}
    assert functions == GOOD.keys() == {name for name, *_ in BAD}


def test_bad_argument_of_a_combination_is_named():
    schedule = schedules.linear(3)
    with pytest.raises(TypeError, match=r"^`following` must be a Schedule, got int"):
        schedule.then(3)
    for after, error in [(0, ValueError), (2.5, ValueError), ("3", TypeError)]:
        with pytest.raises(error, match=r"^`after` must be a positive integer"):
            schedule.then(schedule, after=after)
    with pytest.raises(ValueError, match=r"^`value` must be a finite nonnegative number"):
        -1.0 * schedule
    for other in ("2", None, [1.0], np.ones(2), 1j):
        with pytest.raises(TypeError, match=r"unsupported|can't multiply|does not support"):
            schedule * other
        with pytest.raises(TypeError, match=r"unsupported|can't multiply|does not support"):
            other * schedule


def test_numba_is_not_loaded_for_schedules():
    program = (
        "import sys\n"
        "from fastopt import schedules\n"
        "schedule = schedules.warmup(5).then(schedules.one_cycle(9)) * schedules.constant(0.5)\n"
        "schedule([1, 5]), schedule(3), repr(schedule), schedules.Plateau().report(1.0)\n"
        "schedules.Schedule.from_table(schedule.table)\n"
        "assert 'numba' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("module", ["fastopt.schedules._multiplier", "fastopt.schedules.compiled"])
def test_docstring_examples_hold(module):
    __import__(module)
    flags = doctest.ELLIPSIS
    assert doctest.testmod(sys.modules[module], optionflags=flags).failed == 0
