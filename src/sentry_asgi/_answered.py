"""Whether a framework answers the failure that the SDK's integration for it reports, or lets it out of the app.

Some integrations report an exception where their framework catches it, and call it unhandled whatever the framework
then does. Handled is, here, what the app turns into an answer; these frameworks always do, but for the settings below.
Every name of a framework's that is used is used here, and all are public.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

_DEPTH: Final = 10  # middlewares around the framework's application


def is_answered(mechanism: Any, app: Any) -> bool:
    """Whether what is reported by this mechanism of Sentry's, `django` for instance, becomes an answer."""
    lets_out = _LETS_OUT.get(mechanism)
    if lets_out is None:
        return False
    try:
        return not lets_out(app)
    except Exception:  # another version; the integration may know better
        return False


def _never(_app: Any) -> bool:
    return False


def _django(_app: Any) -> bool:
    return bool(sys.modules["django.conf"].settings.DEBUG_PROPAGATE_EXCEPTIONS)


def _quart(app: Any) -> bool:
    for _ in range(_DEPTH):
        if hasattr(app, "config"):
            break
        app = app.app
    return bool(app.config["PROPAGATE_EXCEPTIONS"]) and not (app.debug or app.testing)


_LETS_OUT: Final[dict[Any, Callable[[Any], bool]]] = {
    "django": _django,
    "quart": _quart,
    "litestar": _never,
    "sanic": _never,
}
