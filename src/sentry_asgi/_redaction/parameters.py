"""The parameters of log records, which stand in an event beside the text that they have become part of."""

from __future__ import annotations

import functools
from typing import Any, Final

from sentry_asgi._sdk import events

from .glance import written
from .names import FILTERED, remarked
from .rules import Rules, Work
from .texts import PLACES, secret_values

_OF_A_LOG: Final = "sentry.message.parameter."


def hide_parameters(event: dict[str, Any], rules: Rules, *, remarks: bool) -> list[str]:
    """Takes from a log record's parameters what is secret where its text says it: `logger.error("password=%s", x)`.

    Returns those that are secret by their names, of which the text says nothing: `("in: %(token)s", {"token": x})`.
    """
    entry = events.plain(event.get("logentry"))
    given = events.plain(entry.get("params")) if isinstance(entry, dict) else None
    if not given or not isinstance(given, (list, tuple, dict)):
        return []
    said = entry.get("formatted")
    secret = set(secret_values(said, Work(PLACES, rules))) - {""} if isinstance(said, str) else None
    if secret:
        hide = functools.partial(_hidden, secret=secret, remarks=remarks)
        if isinstance(given, dict):
            entry["params"] = {name: hide(one) for name, one in given.items()}
        else:
            entry["params"] = [hide(one) for one in given]
    return _secret_by_name(given, rules) if isinstance(given, dict) else []


def clean_log(log: dict[str, Any], rules: Rules) -> tuple[dict[str, Any], list[str]]:
    """The same for a log of the SDK's: the log, and the parameters that are secret by their names."""
    body, attributes = log.get("body"), log.get("attributes")
    if not isinstance(body, str) or not isinstance(attributes, dict):
        return log, []
    given = {name: one for name, one in attributes.items() if str(name).startswith(_OF_A_LOG)}
    entry: dict[str, Any] = {"formatted": body, "params": given}
    told = hide_parameters({"logentry": entry}, rules, remarks=False)
    if entry["params"] is given:
        return log, told
    return {**log, "attributes": {**attributes, **entry["params"]}}, told


def _secret_by_name(parameters: dict[str, Any], rules: Rules) -> list[str]:
    return [str(one) for name, one in parameters.items() if rules.variables[name]]


def _hidden(value: Any, secret: set[str], *, remarks: bool) -> Any:
    said = value if isinstance(value, str) else written(value)
    if not any(map(said.startswith, secret)):
        return value
    return remarked(FILTERED, "text") if remarks else FILTERED
