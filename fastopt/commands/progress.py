"""A bar that tells how far a command is, on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[str], None]]:
    """``begin(label)``: the next of `total` pieces of work begins."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    # Drawn between solves only: a thread that refreshes it would be timed with them.
    console = Console(stderr=True)
    with Progress(
        *columns,
        console=console,
        auto_refresh=False,
        transient=True,
        disable=not console.is_terminal,  # a file would keep every bar
    ) as progress:
        task = progress.add_task("", total=total, completed=-1, visible=False)

        def begin(label: str) -> None:
            progress.update(task, advance=1, description=label, visible=True, refresh=True)

        yield begin
