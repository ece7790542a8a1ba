"""Which task of Trio's runs here, asked without importing Trio, and of any version of it."""

from __future__ import annotations

import sys
from typing import Any


def trio_task() -> Any:
    """Return the task of Trio's that runs here; None outside of any, and where nobody has imported Trio."""
    trio: Any = sys.modules.get("trio")
    try:
        return trio.lowlevel.current_task()
    except (AttributeError, RuntimeError):  # it is absent or half imported; it runs no task here
        return None
