"""The locks of the package, which a forked child can take.

A thread of the parent that held a lock at the fork is not in the child, and would never release it there. So each lock
is made here, is known, and is renewed in the child. A lock can be taken again by the thread that holds it: what runs
beneath one may log, and a log handler may come back; so may the garbage collector, which runs finalizers anywhere.
"""

from __future__ import annotations

import threading
import weakref
from typing import Final


class Lock:
    """A reentrant lock. Use it in a `with` statement."""

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        try:
            self._lock.release()
        except (
            RuntimeError
        ):  # renewed since: this is a child that was forked while the lock was held
            return

    def renew(self) -> None:
        """Make the lock free, whoever holds it."""
        self._lock = threading.RLock()


_locks: Final[weakref.WeakSet[Lock]] = weakref.WeakSet()


def renew_locks() -> None:
    """Make all locks free; to be called in a forked child, before any other thread runs there."""
    for lock in list(_locks):
        lock.renew()
