"""What functions refer to by name."""

import math

import numpy as np
from numba import njit

from fastopt.core.call_graph import reached_from

LEVEL = 3.0


def level():
    return LEVEL


def deeper(x):
    def inner(each):
        return level() + each

    return [inner(each) * math.pi for each in x]


def names_of(*functions):
    return {function.__name__ for function in reached_from(functions).functions}


def test_functions_are_found_in_closures_comprehensions_and_inner_functions():
    outer = njit(lambda x: deeper(x))

    def closure(x):
        return outer(x)

    assert names_of(closure) == {"closure", "<lambda>", "deeper", "level"}


def test_constants_are_found_in_this_module_and_in_others():
    assert reached_from([deeper]).constants == {
        (__name__, "LEVEL"): 3.0,
        ("math", "pi"): math.pi,
    }


def test_only_jitted_functions_of_modules_are_followed():
    def fun(x):
        return np.sum(x)

    assert names_of(fun) == {"fun"}


def test_what_is_no_function_is_passed_over_and_so_are_packages_to_skip():
    assert reached_from([3, math.sin, int]).functions == set()
    assert reached_from([reached_from], skip=("fastopt",)).functions == set()


def test_functions_that_call_each_other_are_found_once():
    def even(n):
        return n == 0 or odd(n - 1)

    def odd(n):
        return n != 0 and even(n - 1)

    assert names_of(even) == {"even", "odd"}
