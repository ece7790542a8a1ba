"""A request is edited and sent again: what was not edited is what it was, and is shown to nobody."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from sentry_asgi.inspector import resend
from sentry_asgi.inspector.again import HEADER, UNEDITED, Memory
from sentry_asgi.inspector.editing import Form, Outgoing, as_it_was, edited, form_of, read_form
from sentry_asgi.inspector.exchanges import MAX_BODY, exchange
from sentry_asgi.inspector.merging import Asked, lacking, merged
from sentry_asgi.inspector.questions import QuestionError
from sentry_asgi.inspector.resend import Apps
from sentry_asgi.inspector.seen import Seen
from sentry_asgi.inspector.store import Store

from .support import Inspector
from .test_again import HEARD, PRICES, SECRET, Serving, asked, order_tea, serving

__all__ = ["serving"]

WAS = {
    "method": "POST",
    "path": "/orders/a b",
    "query": "page=1&token=[Filtered]",
    "request_headers": [["content-type", "application/json"], ["authorization", "[Filtered]"],
                        ["content-length", "17"]],
    "request_body": '{"name": "tea"}\n',
    "request_body_size": 17,
}  # fmt: skip


def outgoing(**changes: Any) -> Outgoing:
    return as_it_was(exchange({**WAS, **changes}))


def changed(**changes: str) -> Outgoing:
    shown = form_of(outgoing())
    fields = {name: getattr(shown, name) for name in ("method", "target", "headers", "body")}
    return edited(outgoing(), Form(**{**fields, **changes}))


def test_everything_of_a_request_can_be_edited(inspector: Inspector, serving: Serving) -> None:
    with serving() as client:
        client.get("/echo/one?a=1&token=t0ps3cr3tt0ps3cr3t", headers={**SECRET, "x-tea": "green"})
        span_id = asked(inspector)
        form = {
            "method": "PUT",
            "target": "/echo/tw%6F three/ü?b=ü 2&token=[Filtered]",
            "headers": "Authorization: [Filtered]\r\nX-Tea: black\r\nX-Tea: ü€\r\n\r\n",
            "body": "a\r\nb",
        }
        answer = inspector.post(f"/requests/{span_id}/again.json", data=form)
        assert answer.json()["lacks"] == []
        heard = HEARD[-1]
        assert (heard["method"], heard["target"]) == ("PUT", "/echo/two three/ü")
        assert heard["query"] == "b=%C3%BC%202&token=t0ps3cr3tt0ps3cr3t"
        assert heard["body"] == b"a\nb"
        names = dict(heard["headers"])
        assert names["authorization"] == SECRET["authorization"]
        teas = [value for name, value in heard["headers"] if name == "x-tea"]
        assert teas == ["black", "ü€".encode().decode("latin-1")]
        assert names["content-length"] == "3"
        assert names["host"].startswith("127.0.0.1:")
        assert not {"user-agent", "accept-encoding"} & names.keys()
        assert not [name for name in names if name.startswith("x-sentry-asgi")]


def test_a_body_that_is_no_text_goes_as_it_was(inspector: Inspector, serving: Serving) -> None:
    with serving() as client:
        client.post("/echo/", content=b"\x00\xff", headers={"content-type": "image/png"})
        span_id = asked(inspector)
        assert "that are no text: left empty" in inspector.get(f"/requests/{span_id}/edit").text
        form = {"target": "/echo/2", "body": ""}
        told = inspector.post(f"/requests/{span_id}/again.json", data=form).json()
        assert (told["lacks"], HEARD[-1]["body"]) == ([], b"\x00\xff")
        inspector.post(f"/requests/{span_id}/again.json", data={"body": "mine"})
        assert HEARD[-1]["body"] == b"mine"
    with serving():
        told = inspector.post(f"/requests/{span_id}/again.json", data=form).json()
        assert (told["lacks"], HEARD[-1]["body"]) == (["the body"], b"")


def test_what_was_filtered_in_what_was_edited_is_told_where_it_is_not_known(
    inspector: Inspector, serving: Serving
) -> None:
    with serving() as client:
        order_tea(client)
        span_id = asked(inspector)
        form = {"headers": "x-key: [Filtered]", "body": '{"other": "[Filtered]"}'}
        told = inspector.post(f"/requests/{span_id}/again.json", data=form).json()
        assert told["lacks"] == ["the header x-key", "parts of the body"]
    with serving():
        told = inspector.post(f"/requests/{span_id}/again.json", data={"method": "PUT"}).json()
        assert told["lacks"] == ["the header authorization", "parts of the body"]
        assert told["now"]["status"] == 405


@pytest.mark.parametrize(
    ("field", "text", "why"),
    [
        ("method", "GET / HTTP/1.1", "The method must be a word such as POST"),
        ("method", "X" * 21, "The method must be a word such as POST"),
        ("target", "http://evil.example/", "The path must begin with a slash"),
        ("headers", "no colon <b>", "A header must be a line `name: value`"),
        ("headers", "bad name: x", "A header must be a line `name: value`"),
        ("headers", "x: a\x00b", "A header must be a line `name: value`"),
    ],
)
def test_what_cannot_be_sent_stays_in_its_form_with_the_reason(
    inspector: Inspector, serving: Serving, field: str, text: str, why: str
) -> None:
    with serving() as client:
        client.get("/echo/")
        span_id = asked(inspector)
        answer = inspector.post(f"/requests/{span_id}/again", data={field: text})
        assert answer.status_code == 400
        assert why in answer.text
        assert "<b>" not in answer.text
        assert len(HEARD) == 1
        plain = inspector.post(f"/requests/{span_id}/again.json", data={field: text})
        assert plain.json()["detail"].startswith(why)


def test_a_form_is_one_of_the_inspectors_own_pages(inspector: Inspector, serving: Serving) -> None:
    assert inspector.get("/requests/ff/edit").status_code == 404
    with serving() as client:
        client.get("/echo/")
        span_id = asked(inspector)
        for origin in ("http://evil.example", "http://localhost:3000", "null"):
            refused = inspector.post(
                f"/requests/{span_id}/again", data={"body": "x"}, headers={"origin": origin}
            )
            assert refused.status_code == 403
        foreign = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
        assert inspector.get(f"/requests/{span_id}/edit", headers=foreign).status_code == 403
        page = inspector.get(f"/requests/{span_id}/edit", headers={"host": "evil.example"})
        assert page.status_code == 403
        assert "form-action 'self'" in page.headers["content-security-policy"]
        bad = inspector.post(f"/requests/{span_id}/again.json", content=b"method=\xff\xfe")
        assert bad.json()["detail"] == "An edited request must be a form in UTF-8."
        assert len(HEARD) == 1


def test_what_a_page_shows_cannot_leave_its_field(inspector: Inspector, serving: Serving) -> None:
    with serving() as client:
        evil = "\n</textarea><script>alert(1)</script>"
        client.post("/echo/", content=evil, headers={"content-type": "text/plain"})
        page = inspector.get(f"/requests/{asked(inspector)}/edit").text
    assert "<script>alert" not in page
    assert '<textarea name="body" rows="6" spellcheck="false">\n\n&lt;/textarea&gt;' in page


def test_a_cut_body_is_shown_as_one(inspector: Inspector, serving: Serving) -> None:
    with serving() as client:
        client.post("/echo/", content="x" * 20_000, headers={"content-type": "text/plain"})
        span_id = asked(inspector)
        assert (
            "It is the beginning of the body alone"
            in inspector.get(f"/requests/{span_id}/edit").text
        )
        told = inspector.post(f"/requests/{span_id}/again.json", data={"method": "PUT"}).json()
    assert told["lacks"] == ["the end of the body"]
    assert len(HEARD[-1]["body"]) == MAX_BODY


def test_what_was_not_edited_is_named() -> None:
    everything = {":path", ":query", ":body", "content-type", "authorization"}
    assert unedited() == everything
    assert unedited(method="PUT") == everything
    assert unedited(body='{"name": "tea"}\r\n') == everything
    assert unedited(body="") == everything - {":body"}
    assert unedited(target="/orders/a%20b?page=2") == everything - {":query"}
    assert unedited(target="/?page=1&token=[Filtered]") == everything - {":path"}
    added = changed(headers="authorization: [Filtered]\nauthorization: mine\nte: x")
    assert set(added.unedited or ()) == {":path", ":query", ":body"}
    assert [name for name, _ in added.headers] == ["authorization", "authorization"]


def unedited(**changes: str) -> set[str]:
    return set(changed(**changes).unedited or ())


def test_an_edited_body_ends_its_lines_as_the_kept_one_did() -> None:
    was = outgoing(request_body="a\r\nb", request_body_size=4)
    form = Form("POST", "/", "", "a\nb\nc")
    assert edited(was, form).body == "a\r\nb\r\nc"


def test_a_form_that_says_nothing_is_none() -> None:
    shown = form_of(outgoing())
    assert read_form(b"", shown) is None
    assert read_form(b"other=1", shown) is None
    assert read_form(b"method=", shown) == Form("", shown.target, shown.headers, shown.body)
    with pytest.raises(QuestionError):
        read_form(b"&".join([b"a=1"] * 50), shown)


def of(query: bytes = b"", body: bytes = b"", **headers: str) -> Asked:
    pairs = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    scope = {"path": "/", "query_string": query, "headers": pairs}
    return Asked(scope, body)


@pytest.mark.parametrize(
    ("now", "was", "result"),
    [
        (b"b=1&a=[Filtered]", b"a=s1&a=s2", b"b=1&a=s1"),
        (b"a=%5BFiltered%5D&a=x&a=[Filtered]", b"a=s1&a=s2&a=s3", b"a=s1&a=x&a=s3"),
        (b"other=[Filtered]", b"a=s1", b"other=[Filtered]"),
        (b"a=[Filtered]&a=[Filtered]", b"a=s1", b"a=s1&a=[Filtered]"),
        (b"a=x[Filtered]", b"a=s1", b"a=x[Filtered]"),
    ],
)
def test_a_filtered_parameter_has_its_value_and_no_others(
    now: bytes, was: bytes, result: bytes
) -> None:
    assert merged(of(now), of(was), frozenset()).scope["query_string"] == result
    form = "application/x-www-form-urlencoded; charset=utf-8"
    body = merged(of(body=now, content_type=form), of(body=was), frozenset())
    assert body.body == result
    assert dict(body.scope["headers"])[b"content-length"] == str(len(result)).encode()


@pytest.mark.parametrize(
    ("now", "was", "result"),
    [
        ({"a": "[Filtered]", "b": 2}, {"a": 7, "b": 1}, {"a": 7, "b": 2}),
        ({"b": "[Filtered]"}, {"a": 7}, {"b": "[Filtered]"}),
        ([{"a": "[Filtered]"}, "[Filtered]"], [{"a": "ü"}], [{"a": "ü"}, "[Filtered]"]),
        ({"a": ["[Filtered]"]}, {"a": {"b": "x"}}, {"a": ["[Filtered]"]}),
    ],
)
def test_filtered_json_has_its_value_at_the_same_place(now: Any, was: Any, result: Any) -> None:
    asked = of(body=json.dumps(now).encode())
    merged_body = merged(asked, of(body=json.dumps(was).encode()), frozenset()).body
    assert json.loads(merged_body) == result


@pytest.mark.parametrize("body", [b"no JSON [Filtered]", b"[" * 9000 + b"[Filtered]"])
def test_another_body_goes_as_it_was_edited(body: bytes) -> None:
    assert merged(of(body=body), of(body=b"{}"), frozenset()).body == body


def test_one_cookie_is_edited_and_the_others_are_kept() -> None:
    now, was = of(cookie="theme=dark; id=[Filtered]"), of(cookie="theme=light; id=s3cr3t")
    assert merged(now, was, frozenset()).values(b"cookie") == [b"theme=dark; id=s3cr3t"]
    plain = merged(of(cookie="id=[Filtered]"), of(), frozenset())
    assert lacking(plain) == [b"cookie"]


def test_headers_that_were_not_edited_are_all_that_they_were() -> None:
    was = of()
    was.scope["headers"] += [(b"X-A", b"1"), (b"x-a", b"2"), (b"transfer-encoding", b"chunked")]
    now = of(body=b"x", x_b="3", content_length="1", host="shop")
    result = merged(now, was, frozenset({b"x-a", b":path", b"host"}))
    assert result.scope["headers"] == [
        (b"X-A", b"1"), (b"x-a", b"2"), (b"x-b", b"3"), (b"content-length", b"1"),
    ]  # fmt: skip


def test_a_body_that_comes_in_pieces_is_edited_whole() -> None:
    pieces = [
        {"type": "http.request", "body": b"a", "more_body": True},
        {"type": "http.request", "body": b"b"},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Any:
        return pieces.pop(0)

    async def read() -> list[Any]:
        _, again, _ = await memory.restored(scope, receive)
        return [await again(), await again()]

    memory, seen = Memory(), Seen({})
    seen.span_id = "a1"
    memory.keep({"path": "/a", "headers": []}, seen)
    headers = [(HEADER, f"{memory.token}:a1".encode()), (UNEDITED, b":,:path")]
    scope = {"headers": headers, "path": "/b", "query_string": b""}
    messages = asyncio.run(read())
    assert (messages[0]["body"], messages[1]["type"]) == (b"ab", "http.disconnect")


def test_what_has_no_body_tells_no_length() -> None:
    assert dict(outgoing(method="GET", request_body=None, request_body_size=0).wire_headers()) == {
        "content-type": b"application/json"
    }
    sent = dict(outgoing(request_body=None, request_body_size=0).wire_headers())
    assert sent["content-length"] == b"0"


def test_a_page_that_does_not_come_is_not_waited_for_long(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resend, "_PAGE_MOMENT", 0.05)
    Apps(store).wait_for_page("ff")


def test_an_edited_request_keeps_the_secrets_that_nobody_edited_and_nobody_sees(
    inspector: Inspector, serving: Serving, tmp_path: Path, browser: Browser
) -> None:
    with serving() as client:
        client.post(
            "/order?page=1", json={"name": "milk", "password": "hunter2hunter2"}, headers=SECRET
        )
        span_id = asked(inspector)
        PRICES["tea"] = 3
        page = browser.new_page()
        page.goto(f"{inspector.url}/requests/{span_id}")
        page.get_by_role("link", name="Edit").click()
        assert "authorization: [Filtered]" in page.get_by_label("Headers").input_value()
        body = page.get_by_label("Body")
        assert "hunter2" not in page.content()
        body.fill(body.input_value().replace("milk", "tea"))
        page.get_by_role("button", name="Send").click()
        page.wait_for_url(f"**/requests/*?was={span_id}")
        expect(page.locator("#then .status")).to_have_text("500")
        expect(page.locator("#now .status")).to_have_text("200")
        expect(page.locator("#request")).to_contain_text("tea")
        assert "hunter2" not in page.content()
        # What it was sent with is known as well: it is sent again, too.
        newest = asked(inspector)
        told = inspector.post(f"/requests/{newest}/again.json", data={"target": "/order?page=2"})
        assert (told.json()["now"]["status"], told.json()["lacks"]) == (200, [])
        page.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"s3cr3t" not in kept
    assert b"hunter2" not in kept
