"""Which request a task of an MCP server's session works for.

With mcp 1.x the tasks of a session run in the context of the request that has opened it, which is over, whichever
request they work for. That one is told by `request_ctx` of `mcp.server.lowlevel.server` (the server's
`request_context`): a Starlette request, whose `receive` is the connection's own, or wrapped around it. mcp 2 has
each request's work in its own context.
"""

from __future__ import annotations

import sys
from types import CellType
from typing import Any, Final

_LOOKED_AT: Final = 20
"""Callables, at most: a `receive` may be wrapped, in methods (BaseHTTPMiddleware's) and in functions (mcp's own)."""


def served_here(kind: type) -> Any:
    """Return the connection, an object of this kind, that this runs for; None if no MCP server tells."""
    try:
        receive = sys.modules["mcp.server.lowlevel.server"].request_ctx.get().request.receive
    except (KeyError, LookupError, AttributeError):
        return None
    left = [receive]
    for _ in range(_LOOKED_AT):
        wrapper = left.pop(0)
        owner = getattr(wrapper, "__self__", None)
        if isinstance(owner, kind):
            return owner
        left.append(getattr(owner, "receive", None))
        left.extend(filter(callable, map(_content, getattr(wrapper, "__closure__", None) or ())))
    return None


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return None
