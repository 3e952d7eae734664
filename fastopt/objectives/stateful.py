"""Functions whose evaluations leave a trace, such as networks with running statistics.

A method asks for values at points that it may not go to, and a trace of those would be wrong. So a
function's owner may offer two methods, which whoever evaluates it calls: in ``with owner.held():``
evaluations leave no trace, but ``owner.commit()`` makes the last one's count. Knows nothing of
what the trace is.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, runtime_checkable

__all__ = ["Stateful", "held_by", "owner_of"]


@runtime_checkable
class Stateful(Protocol):
    """What owns a function that leaves a trace of its evaluations."""

    def held(self) -> AbstractContextManager[Any]:
        """Within it, evaluations leave no trace."""

    def commit(self) -> None:
        """Make the trace of the last evaluation count, if it has not been made to already."""


def owner_of(function: Any) -> Stateful | None:
    """The owner of a bound method, if it is one that says which evaluations count.

    Examples
    --------
    >>> owner_of([].append) is None
    True
    """
    owner = getattr(function, "__self__", None)
    return owner if isinstance(owner, Stateful) else None


def held_by(owner: Stateful | None) -> AbstractContextManager[Any]:
    """What evaluations happen in that are to leave no trace, whoever owns the function."""
    return nullcontext() if owner is None else owner.held()
