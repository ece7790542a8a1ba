"""The removal of secrets: what an application adds to its rules, and the means for hooks of its own.

`Secrets` is what `SentryMiddleware(app, secrets=...)` takes. `scrub` cleans what leaves the process in another way than
through Sentry's SDK.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

from ._events import event as _event
from ._redaction import parameters, redact
from ._redaction.names import FILTERED
from ._redaction.rules import RULES, Rules
from ._scopes.here import connection_here
from ._sdk.diagnostics import log_failure

__all__ = ["FILTERED", "Secrets", "scrub"]

T = TypeVar("T")


@dataclass(frozen=True)
class Secrets:
    """What an application knows of its secrets, beside what is known of all.

    Args:
        names: more names of headers, cookies, parameters, keys and variables whose values are secret. A name is found
            as whole words of another, whatever its case: `"tenant-code"` in `x_tenant_code` and `tenantCode`.
        unless: names whose values are none, though they sound like it; each is a whole name: `"session_kind"`.
        shapes: regular expressions for credentials by their own looks, wherever they stand. If one has a group, the
            group is the secret, and the rest may stay. What is matched takes its time: bound what repeats.

    Raises:
        TypeError: if one of these is no list of names, or of regular expressions.
        ValueError: if a name is empty, or a regular expression is none, or matches a text of no characters.

    """

    names: Iterable[str] = ()
    unless: Iterable[str] = ()
    shapes: Iterable[str | re.Pattern[str]] = ()
    _rules: Rules = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", _names("names", self.names))
        object.__setattr__(self, "unless", _names("unless", self.unless))
        object.__setattr__(self, "shapes", tuple(map(_shape, _listed("shapes", self.shapes))))
        rules = Rules(self.names, self.unless, cast("tuple[re.Pattern[str], ...]", self.shapes))
        object.__setattr__(self, "_rules", rules)


_EXAMPLES: Final = {"names": "tenant_code", "unless": "session_kind", "shapes": r"acme_[a-z]{20}"}


def _listed(argument: str, given: Any) -> tuple[Any, ...]:
    if isinstance(given, (str, bytes, re.Pattern)) or not isinstance(given, Iterable):
        raise TypeError(
            f"{argument} must be a list, such as [{_EXAMPLES[argument]!r}], got {given!r}"
        )
    return tuple(given)


def _names(argument: str, given: Any) -> tuple[str, ...]:
    names = _listed(argument, given)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{argument} must hold names, such as 'tenant_code', got {name!r}")
        if not name.strip():
            raise ValueError(f"{argument} must hold names with letters, got {name!r}")
    return names


def _shape(given: Any) -> re.Pattern[str]:
    try:
        pattern = re.compile(given)
    except (TypeError, re.error) as error:
        kind = ValueError if isinstance(error, re.error) else TypeError
        raise kind(f"shapes must hold regular expressions, got {given!r}: {error}") from None
    if not isinstance(pattern.pattern, str):
        raise TypeError(f"shapes must hold expressions for texts, not for bytes, got {given!r}")
    if pattern.match(""):
        raise ValueError(f"shapes must match one character at least, got {given!r}")
    return pattern


def rules_of(secrets: Secrets | None) -> Rules:
    """The rules that an application's secrets make; for `SentryMiddleware`."""
    if secrets is None:
        return RULES
    if not isinstance(secrets, Secrets):
        raise TypeError(f"secrets must be a sentry_asgi.privacy.Secrets or None, got {secrets!r}")
    return secrets._rules  # noqa: SLF001


def scrub(value: T, secrets: Secrets | None = None) -> T:
    """Return a value without its secrets, as an event of the request would show it.

    `value` is a text, a number, None, or dicts, lists and tuples of these, with whatever keys; or a log. It is not
    changed. What is secret by its name, or by its looks, is replaced by `[Filtered]`; within a request, so are the
    request's own secrets, wherever they recur. What holds none of this is given back itself. Never raises: a value that
    cannot be looked at is replaced as a whole. Without `secrets`, those of the request's `SentryMiddleware` count.
    """
    try:
        connection = connection_here()
        rules = rules_of(secrets)
        if connection is not None and secrets is None:
            rules = connection.settings.rules
        known = [] if connection is None else _event.known_secrets(connection)
        given: Any = value
        told: list[str] = []
        if isinstance(value, dict):
            given, told = parameters.clean_log(value, rules)
        event: dict[str, Any] = {"extra": {"value": given}}
        redact.redact(event, [*known, *told], rules)
        scrubbed: T = event["extra"]["value"]
    except Exception:
        log_failure("removing secrets from a value")
        scrubbed = cast("T", FILTERED)
    return scrubbed
