"""Tables of text, in the encoding that the output has."""

import io
import sys

import pytest

from fastopt.commands.tables import Table, print_table


@pytest.mark.parametrize("rich", [True, False])
def test_a_character_that_the_output_has_not_is_a_question_mark(rich, monkeypatch):
    if not rich:
        monkeypatch.setitem(sys.modules, "rich", None)
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", output)
    print_table(Table(columns=("name", "±"), rows=[("a", "3 µs")], title="µ", caption="±"))
    output.flush()
    text = output.buffer.getvalue().decode("ascii")
    assert "3 ?s" in text
    assert "µ" not in text
