"""Hundreds of kinds of secrets in every place of an event, and thousands of harmless names and texts beside them.

The tables are in `tests/secrets`. What is missed, and what is taken though it is harmless, is listed in docs/privacy.md
as it is found here: `UPDATE_DOCS=1` writes the lists.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest

from sentry_asgi import SentryMiddleware
from sentry_asgi._redaction import redact
from sentry_asgi._redaction.rules import NAMES
from sentry_asgi._redaction.shapes import SHAPES

from .secrets import each_of, lines_of, words_of
from .support import Sentry, http_scope, pii, run

PAGE = Path(__file__).parent.parent / "docs" / "privacy.md"
VALUE = "hunter2-of-alice"
HARMLESS = "rather plain"

# Where an application says something, each as an event of its own makes it.
Place = Callable[[Any], dict[str, Any]]
SAID: dict[str, Place] = {
    "message": lambda text: {"message": text},
    "log": lambda text: {"logentry": {"message": "%s", "formatted": text, "params": [text]}},
    "breadcrumb": lambda text: {"breadcrumbs": {"values": [{"message": text}]}},
    "exception": lambda text: {"exception": {"values": [{"type": "E", "value": text}]}},
    "span": lambda text: {"spans": [{"span_id": "0" * 16, "description": text}]},
}
HELD: dict[str, Place] = {
    "extra": lambda data: {"extra": {"a": data}},
    "context": lambda data: {"contexts": {"mine": {"a": data}}},
    "crumb's data": lambda data: {"breadcrumbs": {"values": [{"data": {"a": data}}]}},
    "span's data": lambda data: {"spans": [{"span_id": "0" * 16, "data": {"a": data}}]},
}


def variables(**held: Any) -> dict[str, Any]:
    frame = {"function": "f", "module": "app", "vars": held}
    return {"exception": {"values": [{"type": "E", "stacktrace": {"frames": [frame]}}]}}


VARIABLE: dict[str, Place] = {"variable": lambda text: variables(a=text)}
NAMED: dict[str, tuple[str, ...]] = {
    "header": ("extra", "context", "crumb's data", "span's data"),
    "cookie": ("extra", "context", "crumb's data", "span's data"),
    "parameter": ("extra", "context", "crumb's data", "span's data"),
    "key": ("extra", "context", "crumb's data", "span's data", "variable"),
    "variable": ("extra",),
    "environment": ("extra", "variable"),
    "option": (),
}


def cleaned(event: dict[str, Any]) -> str:
    redact.redact(event, [])
    return json.dumps(event, ensure_ascii=False, default=repr)


def in_events(where: Iterable[str], held: Any, secret: str) -> Iterator[str]:
    """Those places in which a secret stays."""
    places = {**SAID, **HELD, **VARIABLE}
    for place in where:
        if json.dumps(secret, ensure_ascii=False)[1:-1] in cleaned(places[place](held)):
            yield place


# What is missed.


def shown_forms(name: str, section: str) -> Iterator[str]:
    """How the name and value of a kind are written in texts."""
    if section == "environment":
        yield from (f"{name}={VALUE}", f"export {name}='{VALUE}'", f"- {name}={VALUE}")
    elif section == "option":
        yield from (f"run {name} {VALUE}", f"run {name}={VALUE}", repr(["run", name, VALUE]))
    elif section == "header":
        yield from (
            f"{name}: {VALUE}",
            repr({name: VALUE}),
            repr([(name.encode(), VALUE.encode())]),
        )
    elif section == "cookie":
        yield f"Cookie: {name}={VALUE}"
    elif section == "parameter":
        yield f"GET https://example.org/a?page=2&{name}={VALUE} HTTP/1.1"
    elif section == "key":
        yield from (json.dumps({name: VALUE}), repr({name: VALUE}))
    else:
        yield from (f"{name}={VALUE!r}", f"f({name}={VALUE!r})")


def missed_names() -> Iterator[tuple[str, str]]:
    for section, name in words_of("names"):
        for place in in_events(NAMED[section], {name: VALUE}, VALUE):
            yield f"{section} {name}", place
        if section == "variable" and VALUE in cleaned(variables(**{name: VALUE})):
            yield f"{section} {name}", "variable"
        for text in shown_forms(name, section):
            for place in in_events(["message", "variable"], text, VALUE):
                yield f"{section} {name}", f"{place}: {text}"


def missed_texts() -> Iterator[tuple[str, str]]:
    for section, text in texts():
        bare, secret = unmarked(text)
        for place in in_events([*SAID, *HELD, *VARIABLE], bare, secret):
            yield f"{section} {text}", place


def texts() -> Iterator[tuple[str, str]]:
    yield from lines_of("texts")
    for shape in SHAPES:
        found = shape.pattern.search(shape.example)
        assert found is not None
        secret = found[1] if shape.pattern.groups else found[0]
        yield "shape", shape.example.replace(secret, f"«{secret}»")


def unmarked(text: str) -> tuple[str, str]:
    before, _, rest = text.partition("«")
    secret, _, after = rest.partition("»")
    return before + secret + after, secret


def missed_in_requests(sentry: Sentry) -> Iterator[tuple[str, str]]:
    for section, name in words_of("names"):
        if section in {"header", "cookie", "parameter", "key"}:
            for place in requested(sentry, section, name):
                yield f"{section} {name}", place
    for section, text in texts():
        for place in carried(sentry, text):
            yield f"{section} {text}", place


def requested(sentry: Sentry, section: str, name: str) -> Iterator[str]:
    """Those places of a request with a secret of a name, and of what the app says of it, in which it stays."""
    headers, query, body = [(b"content-type", b"application/json")], b"", b""
    if section == "header":
        headers.append((name.encode(), VALUE.encode()))
    elif section == "cookie":
        headers.append((b"cookie", f"theme=dark; {name}={VALUE}".encode()))
    elif section == "parameter":
        query = f"page=2&{quote(name)}={VALUE}".encode()
        headers[0] = (b"content-type", b"application/x-www-form-urlencoded")
        body = f"page=2&{quote(name)}={VALUE}".encode()
    else:
        body = json.dumps({"page": 2, "in": {name: VALUE}}).encode()
    event = event_of(sentry, headers, query, body)
    yield from (f"request: {part}" for part, said in event.items() if VALUE in json.dumps(said))


def carried(sentry: Sentry, text: str) -> Iterator[str]:
    """Those places of a request in which the secret of a text stays, that is sent under harmless names."""
    bare, secret = unmarked(text)
    headers = [(b"content-type", b"application/json")]
    if bare.isascii() and "\n" not in bare:
        headers.append((b"x-note", bare.encode()))
    query = f"page=2&note={quote(bare)}".encode()
    event = event_of(sentry, headers, query, json.dumps({"note": bare}).encode())
    request = event["request"]
    seen = {
        "header": request["headers"].get("x-note", ""),
        "query": unquote(request["query_string"]),
        "body": request["data"]["note"],
        "exception": event["exception"]["values"][-1]["value"],
    }
    yield from (f"request: {place}" for place, said in seen.items() if secret in unquote(said))


def event_of(
    sentry: Sentry, headers: list[tuple[bytes, bytes]], query: bytes, body: bytes
) -> dict[str, Any]:
    """The event of a request that fails with what was sent in its message."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        sent = dict(scope["headers"])
        raise ValueError(sent, scope["query_string"].decode(), message["body"].decode())

    sentry.transport.envelopes.clear()
    with pytest.raises(ValueError, match="page"):
        run(
            SentryMiddleware(app, error_budget=None),
            http_scope(headers=headers, query_string=query or b"page=2"),
            [{"type": "http.request", "body": body}],
        )
    return sentry.event


def by_kind(missed: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for kind, place in missed:
        found.setdefault(kind, []).append(place)
    return found


# What is harmless.


def changed() -> Iterator[str]:
    for section, name in words_of("harmless_names"):
        held = {name: HARMLESS}
        events = [HELD["extra"](held), variables(**held), {"request": {"headers": held}}]
        if section != "headers":
            events.append({"request": {"query_string": f"{name}={quote(HARMLESS)}"}})
        for event in events:
            if "[Filtered]" in cleaned(event):
                yield name
                break
    for _, line in lines_of("harmless_lines"):
        for text in each_of(line):
            if any(text != place for place in said(text)):
                yield text


def said(text: str) -> Iterator[str]:
    for place in ("message", "breadcrumb"):
        event = SAID[place](text)
        redact.redact(event, [])
        yield (
            event["message"] if place == "message" else event["breadcrumbs"]["values"][0]["message"]
        )
    event = variables(a=text)
    redact.redact(event, [])
    (frame,) = event["exception"]["values"][0]["stacktrace"]["frames"]
    yield getattr(frame["vars"], "value", frame["vars"])["a"]


# The tests.


@functools.cache
def kinds() -> int:
    return len(set(words_of("names"))) + len(list(texts()))


def listed(found: Iterable[str]) -> str:
    lines = (one.replace("\n", "⏎") for one in found)
    return "".join(f"- `{one}`\n" for one in lines)


def agrees(part: str, listed: str) -> None:
    """Whether the page has what was found."""
    begin, end = f"<!-- {part}: begin -->\n", f"<!-- {part}: end -->"
    before, _, rest = PAGE.read_text("utf-8").partition(begin)
    written, _, after = rest.partition(end)
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(before + begin + listed + end + after, "utf-8")
        written = listed
    assert listed == written


@pytest.mark.timeout(300)
def test_of_a_hundred_kinds_of_secrets_ninety_nine_are_found_and_the_rest_is_listed(
    sentry: Sentry,
) -> None:
    sentry.init(max_request_body_size="always", **pii(on=True))
    missed = by_kind([*missed_names(), *missed_texts(), *missed_in_requests(sentry)])
    assert kinds() >= 300
    assert len(missed) <= kinds() / 100, json.dumps(missed, indent=1, ensure_ascii=False)
    agrees("missed", listed(missed))


def test_of_a_hundred_harmless_names_and_texts_ninety_nine_stay_and_the_rest_is_listed() -> None:
    count = len(list(words_of("harmless_names")))
    count += sum(len(list(each_of(line))) for _, line in lines_of("harmless_lines"))
    taken = list(dict.fromkeys(changed()))
    assert count >= 1_000
    assert len(taken) <= count / 100, "\n".join(taken)
    agrees("taken", listed(taken))


def code(patterns: Iterable[str]) -> str:
    return " ".join(f"`{one}`" for one in patterns).replace("|", "\\|")


def test_the_page_has_the_table_of_names() -> None:
    rows = [("Kind", "Anywhere in a name", "As whole words", "As whole words, but of variables")]
    rows += [("---",) * 4]
    rows += [
        (
            row.kind,
            code(row.parts.split()),
            code(row.words.split()),
            code(row.words_of_keys.split()),
        )
        for row in NAMES
    ]
    agrees("names", "".join(f"| {' | '.join(row)} |\n" for row in rows))


def test_the_page_has_the_table_of_shapes() -> None:
    rows = [("Kind", "Rule"), ("---", "---"), *((one.kind, f"`@{one.rule}`") for one in SHAPES)]
    agrees("shapes", "".join(f"| {' | '.join(row)} |\n" for row in rows))
