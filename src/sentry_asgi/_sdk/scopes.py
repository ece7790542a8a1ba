"""The SDK's scopes: its context variables, the slots of a scope, and what a scope is asked beyond its documented names.

Read once, at import. `LAZY_SCOPES` is None where the installed SDK no longer has what the lazy scopes stand on;
`isolation` then takes the SDK's public way, which is slower and as right.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import Any, Final, NamedTuple, TypeAlias

import sentry_sdk.scope
import sentry_sdk.tracing_utils
from sentry_sdk.scope import Scope

from .clients import CUTS_OFF


class ScopeVariables(NamedTuple):
    """The context variables in which the SDK keeps its scopes, and the names of a scope's slots."""

    isolation: ContextVar[Scope | None]
    current: ContextVar[Scope | None]
    slots: tuple[str, ...]


def _scope_variables() -> ScopeVariables | None:
    isolation = getattr(sentry_sdk.scope, "_isolation_scope", None)
    current = getattr(sentry_sdk.scope, "_current_scope", None)
    slots = getattr(Scope, "__slots__", None)
    if not isinstance(isolation, ContextVar) or not isinstance(current, ContextVar):
        return None
    if not isinstance(slots, tuple) or "__dict__" in dir(Scope):
        return None
    if not hasattr(Scope, "_propagation_context") or not hasattr(
        sentry_sdk.tracing_utils.PropagationContext, "from_incoming_data"
    ):
        return None
    return ScopeVariables(isolation, current, slots)


LAZY_SCOPES: Final = _scope_variables()

# Of a request's current scope, what must not come from whatever surrounds the request: the
# span that is active there, and a trace that would go before the request's own.
UNINHERITED: Final = tuple(
    name for name in ("_span", "_profile", "_propagation_context") if hasattr(Scope, name)
)

# The slots of a span, a trace and a session: descriptors, by which they are read and written without any property.
SPAN: Final[Any] = getattr(Scope, "_span", None)
TRACE: Final[Any] = getattr(Scope, "_propagation_context", None)
SESSION: Final[Any] = getattr(Scope, "_session", None)


def trace_set_on(scope: Any) -> Any:
    """The trace that has been set on a scope itself; None if it has none of its own."""
    return getattr(scope, "_propagation_context", None)


Nesting: TypeAlias = ContextVar[bool] | None


def nestings() -> tuple[Nesting, Nesting]:
    """Return what the SDK's ASGI middlewares, and its WSGI ones, ask whether another is around them.

    None where nobody has imported them, which takes long, or where they ask something else. Flask's integration puts
    one for WSGI around each app.
    """
    return (
        _variable(CUTS_OFF, "_asgi_middleware_applied"),
        _variable("sentry_sdk.integrations.wsgi", "_wsgi_middleware_applied"),
    )


def _variable(module: str, name: str) -> Nesting:
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, ContextVar) else None


def has_event_processors(scope: Any) -> bool:
    """Whether a scope has event processors; where that cannot be told, it may."""
    return bool(getattr(scope, "_event_processors", True))


def forget_name(scope: Any) -> None:
    """Forget the name that a scope gives to events: of the process's, with SDK 3, its last root span's."""
    for slot, value in (("_transaction", None), ("_transaction_info", {})):
        if hasattr(scope, slot):
            setattr(scope, slot, value)


def set_default_user(scope: Any, user: dict[str, Any]) -> None:
    """Sets the user of a scope that has none; not where the SDK keeps it elsewhere."""
    if getattr(scope, "_user", user) is None:
        scope._user = user  # noqa: SLF001


def set_root_span(scope: Any, span: Any) -> None:
    """Makes a span, or None, what is active on a scope where nothing further in is."""
    set_root = getattr(scope, "asgi_set_root_span", None)
    if set_root is None:
        scope.span = span
    else:
        set_root(span)
