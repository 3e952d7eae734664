"""The command line: ``python -m fastopt demo | bench | info | methods``.

Owns how a command ends: its exit code, and what is said of an error. The commands are in
`fastopt.commands`; everything they measure or report goes through what users call.
"""

from __future__ import annotations

import sys

INTERRUPTED = 130  # as shells number an end by SIGINT


def is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is what it comes from: a module whose loading it stops may raise another."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def report_interrupt() -> int:
    print("Interrupted.", file=sys.stderr)
    return INTERRUPTED


# For most commands, to load these is most of the time in which Ctrl-C can come.
try:
    import os
    from collections.abc import Sequence

    from fastopt.commands.parser import make_parser
    from fastopt.commands.requirements import CommandError
except BaseException as error:
    if not is_interrupt(error):
        raise
    sys.exit(report_interrupt())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    parser = make_parser()
    try:
        options = parser.parse_args(arguments)
        options.command(options)
        # What is still buffered fails here, where it is handled, if the reader has gone.
        sys.stdout.flush()
    except CommandError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # As in ``python -m fastopt info | head -1``; Python would complain again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BaseException as error:
        if not is_interrupt(error):
            raise
        return report_interrupt()
    return 0


if __name__ == "__main__":
    sys.exit(main())
