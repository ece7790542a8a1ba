"""What is copied from a page, pasted elsewhere, is what it claims to be and nothing else."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from sentry_asgi.inspector.curl import curl
from sentry_asgi.inspector.editor import EDITORS, opener
from sentry_asgi.inspector.markdown import markdown
from sentry_asgi.inspector.views import event_view, summarize

from .support import Inspector
from .test_views import EVENT

# bash without its start files; curl is a function that prints its words.
SHELL = ["bash", "--norc", "-c"]


def words(command: str) -> list[str]:
    """What curl is called with, if a shell runs this."""
    script = f'curl() {{ printf "%s\\0" "$@"; }}\n{command}'
    result = subprocess.run([*SHELL, script], capture_output=True, check=True, timeout=10)
    assert result.stderr == b""
    return result.stdout.decode().split("\0")[:-1]


def command(**request: Any) -> str:
    view = event_view({"request": request}).request
    assert view is not None
    return curl(view).text


def lacks(**request: Any) -> tuple[str, ...]:
    view = event_view({"request": request}).request
    assert view is not None
    return curl(view).lacks


def test_a_request_is_sent_again_with_its_method_headers_cookies_and_body() -> None:
    assert words(command(
        method="POST", url="http://shop/o'rders", query_string="a=1&b", data={"cups": 2},
        headers={"Content-Type": "application/json", "Host": "shop", "Content-Length": "9", "Cookie": "old"},
        cookies={"id": "7"},
    )) == [
        "-X", "POST", "http://shop/o'rders?a=1&b", "-H", "Content-Type: application/json",
        "-H", "Cookie: id=7", "--data-raw", json.dumps({"cups": 2}, indent=2),
    ]  # fmt: skip


def test_a_plain_request_is_a_plain_command() -> None:
    assert command(method="GET", url="http://shop/") == "curl \\\n  http://shop/"
    assert words(command(url="http://shop/?a=1", query_string="a=1")) == ["http://shop/?a=1"]


@pytest.mark.parametrize(
    "evil",
    ["$(touch /tmp/x)", "`id`", "'; id; '", "a\nid\n", "\x1b[201~id\r", "\\'", "!!", "\u0085"],
)
def test_what_is_hostile_is_one_word(evil: str) -> None:
    sent = words(command(method=evil, url=f"http://x/{evil}", headers={"X": evil}, data=evil))
    assert sent[-1] == evil
    assert f"X: {evil}" in sent
    line = command(data=evil, url="u")
    assert not any(ord(character) < 32 and character != "\n" for character in line)


@pytest.mark.parametrize("query", ["ids=[1-500]", "ids={1,2}", "session=[Filtered]", "a]b"])
def test_one_request_is_sent_whatever_the_url_looks_like(query: str) -> None:
    assert words(command(url="http://x/", query_string=query)) == [
        "--globoff",
        f"http://x/?{query}",
    ]
    assert "--globoff" in words(command(url="http://[::1]/"))


def test_curl_sends_one_request_to_the_address_as_it_was(inspector: Inspector) -> None:
    address = f"{inspector.url}/nowhere"
    sent = command(url=address, query_string="ids=[1-3]&x={a,b}", headers={"Accept": "text/plain"})
    script = sent.replace("curl", "curl --silent --write-out ' %{http_code}'", 1)
    told = subprocess.run([*SHELL, script], capture_output=True, check=True, timeout=20)
    assert told.stdout.decode().count("404") == 1


def test_forms_are_sent_as_forms() -> None:
    fields = {"tea": "green & hot", "cup": ["1", "2"], "@file": "@/etc/passwd"}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    sent = words(command(method="POST", url="http://x/", data=fields, headers=form))
    assert sent[-2:] == ["--data-raw", "tea=green+%26+hot&cup=1&cup=2&%40file=%40%2Fetc%2Fpasswd"]
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    photo = {"filename": "/etc/passwd", "content_type": None, "size": 3}
    request = {
        "method": "POST",
        "url": "http://x/",
        "data": {**fields, "photo": photo},
        "headers": form,
    }
    sent = words(command(**request))
    assert sent == [
        "-X", "POST", "http://x/", "--form-string", "tea=green & hot", "--form-string", "cup=1",
        "--form-string", "cup=2", "--form-string", "@file=@/etc/passwd",
    ]  # fmt: skip
    assert lacks(**request) == ("the file photo is not kept",)


@pytest.mark.parametrize(
    ("request_", "missing"),
    [
        ({"url": "http://x/"}, ()),
        ({"url": "http://x/", "query_string": "a=1&session=[Filtered]"}, ("the parameter session is filtered",)),
        (
            {"headers": {"Authorization": "[Filtered]"}, "cookies": {"id": "[Filtered]"}},
            ("the header Authorization is filtered", "the cookie id is filtered"),
        ),
        ({"method": "POST", "data": {"password": "[Filtered]"}}, ("parts of the body are filtered",)),
        ({"method": "POST", "headers": {"Content-Type": "multipart/form-data"}}, ("the body is not kept",)),
        ({"method": "PUT", "headers": {"Content-Length": "7"}}, ("the body is not kept",)),
        ({"method": "PUT", "headers": {"Transfer-Encoding": "chunked"}}, ("the body is not kept",)),
        ({"method": "PUT", "headers": {"Content-Length": "0", "Content-Type": "a/b"}}, ()),
        ({"method": "GET", "headers": {"Content-Type": "a/b"}}, ()),
        ({"method": "DELETE"}, ()),
    ],
)  # fmt: skip
def test_what_a_command_lacks_is_told(request_: dict[str, Any], missing: tuple[str, ...]) -> None:
    assert lacks(**request_) == missing


def test_what_looks_like_an_option_is_none() -> None:
    assert words(command(url="-o/etc/passwd")) == ["./-o/etc/passwd"]


def test_markdown_tells_what_an_assistant_needs() -> None:
    frame = {
        "function": "brew", "lineno": 3, "abs_path": "/tea.py", "context_line": "boil()", "vars": {"cups": "2"},
        "in_app": True, "pre_context": ["cups = 2"], "post_context": ["pour()"],
    }  # fmt: skip
    library = {"function": "serve", "module": "http", "in_app": False, "context_line": "run()"}
    event = {
        "exception": {"values": [
            {"type": "OSError", "value": "cold"},
            {"type": "TeaError", "value": "no\ntea", "stacktrace": {"frames": [library, frame]}},
        ]},
        "message": "Tea is late", "transaction": "tea.brew", "tags": {"room": "kitchen"},
        "request": {"method": "POST", "url": "http://tea/", "data": "2 cups"},
        "breadcrumbs": [{"message": "woke", "category": "day"}],
    }  # fmt: skip
    text = markdown(event_view(event), summarize(event))
    for part in (
        "# TeaError", "`tea.brew`", "## Message", "```\nno\ntea\n```", "- `brew` in `/tea.py:3`\n",
        "  ```python\n       2 cups = 2\n  >    3 boil()\n       4 pour()\n  ```", "`cups` = `2`", "`serve` in `http:?` (library)", "## OSError: cold",
        "caused by", "`POST http://tea/`", "```\n2 cups\n```", "`day` `woke`", "- room: `kitchen`",
    ):  # fmt: skip
        assert part in text, part
    assert "run()" not in text


def test_what_is_fenced_stays_within_its_fence() -> None:
    event = {"message": "a\n```\n# no heading", "exception": [{"type": "`x`", "value": "``"}]}
    text = markdown(event_view(event), summarize(event))
    assert "````\na\n```\n# no heading\n````" in text
    assert "# \\`x\\`" in text


def test_a_breadcrumb_that_says_nothing_leaves_no_empty_code() -> None:
    event = {"breadcrumbs": [{"category": "click", "message": ""}]}
    assert "`click`" in markdown(event_view(event), summarize(event))
    assert "``" not in markdown(event_view(event), summarize(event))


@settings(max_examples=60, deadline=None)
@given(EVENT)
def test_any_event_has_its_markdown_and_its_command(event: dict[str, Any]) -> None:
    view = event_view(event)
    assert markdown(view, view.summary).startswith("# ")
    if view.request:
        assert curl(view.request).text.startswith("curl \\\n")


@pytest.mark.parametrize("editor", EDITORS)
def test_links_open_a_file_at_a_line_in_the_chosen_editor(editor: str) -> None:
    link = opener(editor)('/srv/my shop/or"ders.py', 7)
    if editor == "none":
        assert link == ""
    else:
        assert "/srv/my%20shop/or%22ders.py" in link
        assert link.endswith("7")
    assert opener(editor)("", 7) == ""


def test_a_windows_path_is_one_too() -> None:
    assert opener("vscode")("C:\\shop\\a.py", None) == "vscode://file/C:/shop/a.py:1"


@given(st.text(min_size=1))
def test_no_path_leaves_its_link(path: str) -> None:
    link = opener("vscode")(path.encode("utf-8", "replace").decode(), 1)
    assert link.startswith("vscode://file/")
    assert not set(link) & set("\"'<> \n")
