"""What commands need before they begin."""

import os

import pytest

from fastopt.commands.requirements import CommandError, check_output, replacing, require_extra


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "table.md"
    path.write_text("old")
    with replacing(path) as unfinished:
        unfinished.write_text("new")
        assert unfinished.suffix == ".md"
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("stopped_by", [KeyboardInterrupt, ValueError])
def test_what_stops_the_writing_leaves_the_old_file_and_comes_out(stopped_by, tmp_path):
    path = tmp_path / "table.md"
    path.write_text("old")

    def write():
        with replacing(path) as unfinished:
            unfinished.write_text("ne")
            raise stopped_by

    with pytest.raises(stopped_by):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_one_line_that_names_the_file(tmp_path):
    path = tmp_path / "gone" / "table.md"

    def write():
        with replacing(path) as unfinished:
            unfinished.write_text("new")

    with pytest.raises(CommandError, match=r"cannot write '.*table.md': No such file"):
        write()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_closed_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(CommandError, match="--json must lie in a folder to write in"):
        check_output("--json", tmp_path / "a.json")


def test_packages_that_are_there_are_no_error_and_the_others_are_named():
    require_extra("bench", "numpy")
    with pytest.raises(CommandError, match="bench needs no-such-package, which cannot be found"):
        require_extra("bench", "numpy", "no-such-package")
