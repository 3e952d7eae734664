"""A rule as solvers and training loops step it: compiled, with its numbers and its schedule.

Owns what keeps the addresses in a `RuleStep` valid. Knows nothing of vectors.
"""

import numpy as np

cimport numpy as cnp
from libc.math cimport INFINITY

from fastopt.core.abi cimport multiplier_fn, rule_step_f32_fn, rule_step_fn
from fastopt.core.rule_step cimport MOST_HYPERPARAMETERS

from fastopt.rules.table import find_rule

cnp.import_array()


cdef class BoundRule:
    """A compiled rule.

    Parameters
    ----------
    settings : dict
        Checked: ``rule`` and, if it is not the textbook's, ``flavor``; ``hyperparameters``, a
        tuple in the table's order; and if they are wanted, ``schedule``, ``clip_norm``,
        ``clip_value`` and ``weight_decay``.
    dtype : float32 or float64
        That of the parameters.
    """

    def __cinit__(self, dict settings not None, dtype):
        from fastopt.rules.steps import c_step      # loads Numba

        flavor = settings.get("flavor", "textbook")
        row = find_rule(settings["rule"], flavor)
        names = tuple([each.name for each in row.hyperparameters])
        self.hyperparameters = names
        if len(names) > MOST_HYPERPARAMETERS:
            raise ValueError(f"a rule has at most {MOST_HYPERPARAMETERS} hyperparameters")
        self.compiled = c_step(settings["rule"], flavor, dtype)
        if np.dtype(dtype) == np.float32:
            self.rule.step_f32 = <rule_step_f32_fn><size_t>self.compiled.address
        else:
            self.rule.step = <rule_step_fn><size_t>self.compiled.address
        self.rule.slots = row.slots
        self.rule.count = len(names)
        for k, value in enumerate(settings["hyperparameters"]):
            self.rule.hyperparameters[<Py_ssize_t>k] = value
        self.rule.has_lr = "lr" in names
        self.rule.scheduled = sum([1 << names.index(name) for name in row.scheduled])
        self.rule.clip_norm = settings.get("clip_norm", INFINITY)
        self.rule.clip_value = settings.get("clip_value", INFINITY)
        self.rule.weight_decay = settings.get("weight_decay", 0.0)
        self.rule.decoupled = flavor == "keras"
        if settings.get("schedule") is not None:
            self.set_schedule(settings["schedule"])

    def get(self, str name not None):
        """A hyperparameter by its name, or the gradient's ``weight_decay``."""
        return self.place(name)[0]

    def set(self, str name not None, double value):
        """Set it, for the next step."""
        self.place(name)[0] = value

    cdef double* place(self, str name) except NULL:
        if name in self.hyperparameters:
            return &self.rule.hyperparameters[<Py_ssize_t>self.hyperparameters.index(name)]
        if name == "weight_decay":
            return &self.rule.weight_decay
        raise AttributeError(f"the rule has no hyperparameter called {name!r}")

    cdef int set_schedule(self, schedule) except -1:
        from fastopt.schedules.compiled import c_multiplier

        self.multiplier = c_multiplier()
        self.table = np.ascontiguousarray(schedule.table, np.float64)
        self.rule.multiplier = <multiplier_fn><size_t>self.multiplier.address
        self.rule.schedule = <const double*>cnp.PyArray_DATA(<cnp.ndarray>self.table)
        self.rule.rows = len(self.table)
        return 0
