"""First-order methods, each as one scalar function; `table` describes them, `steps` compiles them.

A rule is written once, for one parameter::

    new_x, *new_slots = rule(x, grad, *slots, *coefficients)
    coefficients = rule_coefficients(t, *hyperparameters)

``x`` is a parameter, ``grad`` its derivative, and the slots are what the method remembers of it
(zero before the first step). The coefficients are what the whole vector shares at step ``t`` (1 is
the first): they are computed once per step, in double precision, whatever the precision of ``x``.

To add a rule: a module with these two functions, decorated with ``RULE``, and a row in
``table.RULES``. The rule holds no number, so that float32 stays float32; numbers belong to the
coefficients.
"""
