"""What a command needs before it begins: packages, and places where it may write.

Owns the refusals. A command that measures for a minute and then cannot save has wasted it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

__all__ = ["CommandError", "check_output", "check_picture", "replacing", "require_extra"]


class CommandError(Exception):
    """The command cannot run, for a reason that one line tells."""


def require_extra(command: str, *packages: str) -> None:
    modules = {"scikit-learn": "sklearn"}
    missing = [name for name in packages if find_spec(modules.get(name, name)) is None]
    if missing:
        raise CommandError(
            f"{command} needs {', '.join(missing)}, which cannot be found: "
            "pip install 'fastopt[demo]'"
        )


def check_picture(option: str, path: Path) -> Path:
    """`path`, with a suffix if it had none, where a picture of that format can be saved."""
    from matplotlib.figure import Figure

    check_output(option, path)
    if not path.suffix:
        path = path.with_suffix(".png")
        check_output(option, path)
    formats = Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise CommandError(f"{option} must end in one of {', '.join(formats)}, got {str(path)!r}")
    return path


def check_output(option: str, path: Path) -> None:
    if not path.parent.is_dir():
        raise CommandError(f"{option} must lie in an existing folder, got {str(path)!r}")
    if path.is_dir():
        raise CommandError(f"{option} must be a file, got the folder {str(path)!r}")
    if not os.access(path.parent, os.W_OK):
        raise CommandError(f"{option} must lie in a folder to write in, got {str(path)!r}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what becomes `path` at the end: all of it, or nothing."""
    unfinished = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        yield unfinished
        unfinished.replace(path)
    except OSError as error:
        raise CommandError(f"cannot write {str(path)!r}: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
