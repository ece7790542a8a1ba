"""A process that forks, as gunicorn with `--preload` does: what the child must not share with its parent.

The rules:

- The child gets a transport of its own, made by the SDK of the same options. The parent's has a queue that the parent
  is about to send, one of which it waits for for ever (the thread that has it is not in the child), and a connection
  on which both would write.
- A transport that the user has made is the user's to look after.
- The child gets locks of its own (`locks`): it has no thread that would release one that was held in the parent.
"""

from __future__ import annotations

import functools
import os

import sentry_sdk

from sentry_asgi._python.locks import renew_locks

from . import clients
from .diagnostics import log_failure


@functools.cache
def register_fork_handler() -> None:
    """From now on, processes forked from this one report by themselves."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_in_child)


def _in_child() -> None:
    try:
        renew_locks()
        clients.renew_transport(sentry_sdk.get_client())
    except Exception:
        log_failure("renewing the transport after a fork")
