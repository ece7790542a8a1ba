"""Logs, metrics and streamed spans, cleaned in the SDK's hooks for them: no event processor sees these.

The rules:

- `before_send_log`, `before_send_metric` and `before_send_span` of each client that is served are put in front of the
  user's own, which are given what is cleaned. Once put, they stay.
- Within a request, its own secrets go, and its middleware's rules hold; elsewhere those of the middleware that came
  first.
- What cannot be looked at goes without its texts. A user's hook that raises loses a log or metric, as the SDK has it;
  of a span the SDK would send what was before all hooks, so the cleaned one goes on.
- The SDK writes a span's attributes anew, one by one, for each span that a hook gives back, and keeps those of one for
  which it gives back none. So a span in which nothing is found is not given back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sentry_asgi._connection.request import Connection
from sentry_asgi._redaction import parameters, redact
from sentry_asgi._redaction.names import FILTERED, is_nothing
from sentry_asgi._redaction.rules import Rules
from sentry_asgi._redaction.secrets import Found
from sentry_asgi._sdk.diagnostics import log_failure
from sentry_asgi._sdk.spans import streams_to_hooks

from .event import known_secrets

_HOOKS: Final = ("before_send_log", "before_send_metric", "before_send_span")
# What holds text of the application's, beside the attributes. A metric has a name of the code's.
_SAYING: Final = ("name", "body")

# What the SDK, and this project, write of themselves and of the process; ids join what belongs together.
_OF_THE_SDK: Final = frozenset(
    f"{group}.{name}"
    for group, names in (
        ("sentry", "origin op platform environment release dist trace_lifecycle is_localhost"),
        ("sentry.sdk", "name version integrations"),
        ("sentry.segment", "id name.source"),
        ("sentry", "severity_number severity_text status"),
        ("process.runtime", "name version description"),
        ("thread", "id name"),
        ("network.protocol", "name version"),
        ("http", "request.method response.status_code"),
    )
    for name in names.split()
)

Here = Callable[[], Connection | None]


def clean_all(client: Any, rules: Rules, here: Here) -> None:
    """Has what a client sends of its logs, metrics and streamed spans cleaned; `here` finds the connection in force."""
    for name in _HOOKS:
        if name == "before_send_span" and not streams_to_hooks(client.options):
            continue  # there are none, or the SDK has no hook for them
        if not isinstance(client.options.get(name), _Hook):
            is_span = name == "before_send_span"
            client.options[name] = _Hook(
                given_hook(client.options, name), client, rules, here, is_span=is_span
            )


def cleans_spans(options: Mapping[str, Any]) -> bool:
    """Whether a client's streamed spans are cleaned when they are sent."""
    return isinstance(options.get("before_send_span"), _Hook)


def given_hook(options: Mapping[str, Any], name: str) -> Any:
    """The user's own hook, or None."""
    hook = options.get(name) or (options.get("_experiments") or {}).get(name)
    return hook.given if isinstance(hook, _Hook) else hook


class _Hook:
    def __init__(self, given: Any, client: Any, rules: Rules, here: Here, *, is_span: bool) -> None:
        self.given = given
        self._client = client
        self._rules = rules
        self._here = here
        self._is_span = is_span

    def __call__(self, item: dict[str, Any], hint: Any) -> Any:
        cleaned = self._cleaned(item)
        if self.given is None:
            quiet = self._is_span and cleaned is item and not self._client.options.get("debug")
            return None if quiet else cleaned
        try:
            return self.given(cleaned, hint)
        except Exception:
            if not self._is_span:
                raise
            log_failure("calling before_send_span")
            return cleaned

    def _cleaned(self, item: dict[str, Any]) -> dict[str, Any]:
        try:
            connection = self._here()
            if not isinstance(connection, Connection):
                return clean(item, Found(), self._rules)
            return clean(item, known_secrets(connection), connection.settings.rules)
        except Exception:
            log_failure("removing secrets from a log, metric or span")
            return {**item, **{key: FILTERED for key in _SAYING if key in item}, "attributes": {}}


def clean(item: dict[str, Any], known: Found, rules: Rules) -> dict[str, Any]:
    """A log, metric or span without its secrets; the very same one if it has none."""
    attributes: dict[str, Any] = item.get("attributes") or {}
    said: dict[str, Any] = {key: item[key] for key in _SAYING if key in item}
    texts = list(said.values())
    kinds, named = rules.keys, False
    for key, value in attributes.items():
        if key in _OF_THE_SDK:
            continue
        if value.__class__ is str:
            texts.append(value)
        elif value.__class__ is list:
            texts += map(str, value)
        named = named or (kinds[key] != "" and not is_nothing(value))
    if not named and not redact.may_hold_secrets(texts, known, rules):
        return item
    return _cleaned(item, said, known, rules)


def _cleaned(
    item: dict[str, Any], said: dict[str, Any], known: Found, rules: Rules
) -> dict[str, Any]:
    item, told = parameters.clean_log(item, rules)
    attributes: dict[str, Any] = item.get("attributes") or {}
    others = {key: one for key, one in attributes.items() if key not in _OF_THE_SDK}
    before = {"said": said, "attributes": others}
    event: dict[str, Any] = {"extra": before}
    redact.redact(event, Found([*known, *told]) if told else known, rules)
    after = event["extra"]
    if after is before:
        return item
    kept = {key: one for key, one in attributes.items() if key in _OF_THE_SDK}
    return {**item, **after["said"], "attributes": {**kept, **after["attributes"]}}
