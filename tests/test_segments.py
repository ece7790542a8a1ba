"""What a streamed segment tells of its request, without secrets: most are told to be harmless without a closer look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from sentry_asgi import SentryMiddleware
from sentry_asgi._redaction import redact
from sentry_asgi._redaction.hints import is_plain_path, is_plain_query, remember_harmless
from sentry_asgi._redaction.names import FILTERED
from sentry_asgi._redaction.rules import Rules
from sentry_asgi.privacy import Secrets

from .secrets import each_of, lines_of
from .support import SDK_VERSION, THOROUGH, Scope, Sentry, http_scope, pii, respond, run, share
from .test_secret_kinds import texts, unmarked


async def respond_ok(scope: Scope, receive: Any, send: Any) -> None:
    await respond(send)


HIDDEN = "0a1B2c3D4e5F6g7H"


@pytest.fixture
def streaming(sentry: Sentry) -> Sentry:
    if SDK_VERSION < (2, 75):
        pytest.skip("streamed spans are younger")
    lifecycle = {"trace_lifecycle": "stream"} if SDK_VERSION < (3, 0) else {}
    sentry.init(traces_sample_rate=1.0, **lifecycle, **pii(on=True))
    return sentry


def told(sentry: Sentry, scope: Scope, **options: Any) -> dict[str, Any]:
    """What the segment of a request tells, and its name."""
    sentry.transport.envelopes.clear()
    run(SentryMiddleware(respond_ok, **options), scope)
    (segment,) = sentry.segments
    facts = {name: one["value"] for name, one in segment["attributes"].items()}
    changing = ("http.request.time_to_first_byte", "sentry.segment.id", "thread.id")
    return {
        "name": segment["name"],
        **{name: facts[name] for name in facts if name not in changing},
    }


PLACES: tuple[Callable[[str], Scope], ...] = (
    lambda said: http_scope("/a", headers=[(b"host", b"example.org"), (b"x-said", said.encode())]),
    lambda said: http_scope(f"/a/{said}"),
    lambda said: http_scope("/a", query_string=f"q={quote(said)}".encode()),
    lambda said: http_scope("/a", query_string=said.encode()),
)


def requests() -> Iterator[tuple[str, Scope]]:
    """One for each line, in one place after the other."""
    lines = [unmarked(text)[0] for _, text in texts()]
    lines += [one for _, line in lines_of("harmless_lines") for one in each_of(line)]
    for number, line in enumerate(lines):
        yield line, PLACES[number % 4](line.replace("\n", " "))


def test_what_is_told_to_be_harmless_is_what_a_closer_look_leaves(
    streaming: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Twice: what is remembered of the first is asked of the second.
    made = share(requests())
    short = [[(name, told(streaming, scope)) for name, scope in made] for _ in range(2)]
    monkeypatch.setattr(redact, "may_hold_secrets", lambda *_: True)
    closer = [(name, told(streaming, scope)) for name, scope in made]
    assert len(closer) > 500 / (1 if THOROUGH else 3)
    for found in short:
        assert [one for one, other in zip(found, closer, strict=True) if one != other] == []


@pytest.mark.parametrize("name", ["name", "url.path", "url.full", "http.request.header.x-said"])
def test_a_secret_that_recurs_goes_wherever_it_is_told(streaming: Sentry, name: str) -> None:
    headers = [(b"host", b"example.org"), (b"x-said", f"in {HIDDEN} there".encode())]
    scope = http_scope(f"/a/{HIDDEN}", headers=headers)
    assert HIDDEN in str(
        told(streaming, scope)[name]
    )  # nobody knows it for a secret, and the header is now known as harmless
    facts = told(
        streaming, {**scope, "headers": [*headers, (b"cookie", f"session={HIDDEN}".encode())]}
    )
    assert HIDDEN not in repr(facts)
    assert FILTERED in str(facts[name])


def test_a_password_in_the_host_is_found_in_the_url(streaming: Sentry) -> None:
    facts = told(streaming, http_scope("/a", headers=[(b"host", b"bob:hunter2@example.org")]))
    assert "hunter2" not in str(facts["url.full"])


def test_what_an_application_adds_is_looked_for_in_what_is_plain(streaming: Sentry) -> None:
    own = Secrets(shapes=["acme-[0-9]{4}"])
    facts = told(streaming, http_scope("/a/acme-1234"), secrets=own)
    assert facts["name"] == facts["url.path"] == f"/a/{FILTERED}"


@pytest.mark.parametrize("path", ["", "/", "/items/42", "/a.b/c-d_e", "items"])
def test_plain_paths(path: str) -> None:
    assert is_plain_path(path)


@pytest.mark.parametrize(
    "path", ["/a b", "/a%20b", "/a:b", "/a=b", "/0123456789abcde", "/é", "/a\n"]
)
def test_other_paths_are_not_plain(path: str) -> None:
    assert not is_plain_path(path)


@pytest.mark.parametrize("query", ["", "page=2", "page=2&size=;q=x"])
def test_plain_queries(query: str) -> None:
    assert is_plain_query(query)


@pytest.mark.parametrize(
    "query", ["q=0123456789abcde", "a=b=c", "a=%20", "a=b+c", "a=é", "a=b\n", "a"]
)
def test_other_queries_are_not_plain(query: str) -> None:
    assert not is_plain_query(query)


def test_no_client_makes_the_memory_of_harmless_values_grow_or_forget_what_comes_all_the_time() -> (
    None
):
    rules = Rules()
    for number in range(5 * rules.harmless.most):
        remember_harmless(["text/html", f"agent {number}"], rules)
        assert "text/html" in rules.harmless or "text/html" in rules.harmless.older
    assert len(rules.harmless) + len(rules.harmless.older) <= 2 * rules.harmless.most
    remember_harmless(["x" * 257, "token=abcdefgh"], rules)
    assert not {"x" * 257, "token=abcdefgh"} & rules.harmless.keys()
