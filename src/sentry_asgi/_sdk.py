"""Where SDKs differ, and every private name of `sentry_sdk` in use, with what it takes to do without.

Read once, at import. `LAZY_SCOPES` is None where the installed SDK no longer has what the lazy scopes
stand on; `_isolation` then takes the SDK's public way, which is slower and as right. A test names
each of these, so that a new SDK that moves one is seen before users see it.
"""

from __future__ import annotations

import inspect
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

import sentry_sdk
import sentry_sdk.scope
import sentry_sdk.utils
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.scope import Scope


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
    return ScopeVariables(isolation, current, slots)


LAZY_SCOPES: Final = _scope_variables()

# Of a request's current scope, what must not come from whatever surrounds the request: the
# span that is active there, and a trace that would go before the request's own.
UNINHERITED: Final = tuple(
    name for name in ("_span", "_profile", "_propagation_context") if hasattr(Scope, name)
)


_event_from_exception: Final[Any] = sentry_sdk.utils.event_from_exception
_TAKES_OPTIONS: Final = "client_options" in inspect.signature(_event_from_exception).parameters


def event_from_exception(
    exception: BaseException, mechanism: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The SDK's event and hint for an exception; 3.x takes the options from the client by itself."""
    options = {"client_options": sentry_sdk.get_client().options} if _TAKES_OPTIONS else {}
    event, hint = _event_from_exception(exception, mechanism=mechanism, **options)
    return event, hint


def forget_last_exception() -> None:
    """The SDK's Dedupe integration keeps the last exception, and its frames, in the context; from now on not."""
    dedupe = sentry_sdk.get_client().get_integration(DedupeIntegration)
    last_seen = getattr(dedupe, "_last_seen", None)
    if last_seen is not None:
        last_seen.set(None)
