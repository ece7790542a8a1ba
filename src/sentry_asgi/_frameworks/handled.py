"""Whether a framework makes a response of an exception, instead of letting it out to the server.

The rules:

- `handled` tells whether the app answers. Some of the SDK's integrations report an exception where their framework
  catches it, and call it unhandled whatever becomes of it: `is_answered` knows those frameworks, which always answer,
  but for the settings below. Integrations that report and raise again (clients of other services, tasks) are not
  among them: what becomes of their exceptions is open.
- The middleware may stand within a framework, as one of its own middlewares. An exception of that framework's that
  has a status of its own is then answered further out, by the framework's code for exceptions: `is_answered_outside`.
- Every name of a framework's that is used is used here, and all are public.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Container
from traceback import walk_stack
from typing import Any, Final

from sentry_asgi._python.exceptions import attribute_of, names_of
from sentry_asgi._python.in_app import library


def is_answered(mechanism: Any) -> bool:
    """Whether what is reported by this mechanism of Sentry's, `django` for instance, becomes an answer."""
    lets_out = _LETS_OUT.get(mechanism)
    if lets_out is None:
        return False
    try:
        return not lets_out()
    except Exception:  # another version; the integration may know better
        return False


def _never() -> bool:
    return False


def _django() -> bool:
    return bool(sys.modules["django.conf"].settings.DEBUG_PROPAGATE_EXCEPTIONS)


# These may be mounted anywhere, and wrapped in anything.


def _quart() -> bool:
    app = sys.modules["quart"].current_app
    return bool(app.config["PROPAGATE_EXCEPTIONS"]) and not (app.debug or app.testing)


def _flask() -> bool:
    app = sys.modules["flask"].current_app
    propagates = app.config["PROPAGATE_EXCEPTIONS"]
    return bool(app.debug or app.testing if propagates is None else propagates)


def is_answered_outside(exception: Exception, failing: Container[int]) -> bool:
    """Return whether the framework around the middleware answers an exception with a status that is no failure."""
    status = attribute_of(exception, "status_code")
    if not isinstance(status, int) or status in failing:
        return False
    packages = {names_of(kind)[0].split(".")[0] for kind in type(exception).__mro__}
    for frame, _ in walk_stack(sys._getframe(1)):  # noqa: SLF001
        filename = frame.f_code.co_filename.replace("\\", "/")
        package = library(filename)
        if package in packages and "exception" in filename.rpartition(f"/{package}/")[2]:
            return True
    return False


_LETS_OUT: Final[dict[Any, Callable[[], bool]]] = {
    "django": _django,
    "quart": _quart,
    "flask": _flask,
    **dict.fromkeys(
        ("ariadne", "falcon", "graphene", "litestar", "mcp", "sanic", "strawberry"), _never
    ),
}
