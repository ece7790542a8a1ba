"""Time that one client can make the middleware take from all others, by what it sends.

Each request holds 64 kB at most, which is what servers take of a head by default; the app reads its body and fails.
What is added to the bare app's time is the time for which the loop serves nobody else. The clock is the CPU time of
the process; the least of several tries counts, for what is asked is how much work there is. `sampled` is the same
request to an app that answers, with its transaction sampled; `both` fails and is sampled, which makes two events.

`crumbs` are requests that send nothing: the app logs texts of 100 kB, as one does that logs bodies.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sentry_sdk

from benchmarks import fresh
from benchmarks.contenders import BARE, CONTENDERS, OURS, SDK, start_sentry
from benchmarks.figures import Column, Effort, Result
from benchmarks.workloads import Setting, http_scope

if TYPE_CHECKING:
    from benchmarks.workloads import App, Message, Receive, Scope, Send

COLUMNS = (
    Column("failing", "failing ms", ".1f"),
    Column("sampled", "sampled ms", ".1f"),
    Column("both", "both ms", ".1f"),
    Column("sdk", "the SDK's failing", ".1f"),
)
TRIES = 3
KB = 1024


def _filled(piece: str, size: int) -> bytes:
    """As many of the numbered pieces as fit."""
    pieces, number, left = [], 0, size
    while left > 0:
        pieces.append(piece.replace("#", str(number)))
        left -= len(pieces[-1])
        number += 1
    return "".join(pieces).encode("latin-1")[:size]


def _cookie(piece: str, size: int = 60 * KB) -> dict[str, Any]:
    return {"headers": [(b"cookie", _filled(piece, size))]}


def _header(piece: str, size: int = 60 * KB, name: bytes = b"x-trace") -> dict[str, Any]:
    return {"headers": [(name, _filled(piece, size))]}


def _query(piece: str, size: int = 60 * KB) -> dict[str, Any]:
    return {"query": _filled(piece, size)}


def _body(piece: str, kind: bytes, size: int = 50 * KB) -> dict[str, Any]:
    return {"headers": [(b"content-type", kind)], "body": _filled(piece, size)}


def _headers(piece: str, count: int) -> dict[str, Any]:
    names = [piece.replace("#", str(number)).encode() for number in range(count)]
    return {"headers": [(name, b"x" * 32 + name) for name in names]}


REFUSED = "jwt\n  [type=a, input_value="
FORM = b"application/x-www-form-urlencoded"
REQUESTS: dict[str, dict[str, Any]] = {
    "8 kB cookie of refused values": _cookie("a=%252525" + REFUSED, 8 * KB),
    "60 kB cookie of refused values": _cookie("a=%252525" + REFUSED),
    "10 kB body of refused values": _body("a=%252525" + REFUSED, b"text/plain", 10 * KB),
    "10 kB octets of refused values": _body(
        "a=%252525" + REFUSED, b"application/octet-stream", 10 * KB
    ),
    "60 kB query of refused values": _query("a=%252525" + REFUSED),
    "secret cookies of one prefix": _cookie("session#=AAAAAAAAAAAAAAAAAAAA#; "),
    "short secret cookies": _cookie("session#=#abcd; "),
    "tokens in the query": _query("token#=abcdefgh#&"),
    "short tokens in the query": _query("token#=#abcd&"),
    "percents in a token": _query("token=" + "%25" * 50 + "&"),
    "one long token": _query("token=" + "%25" * 20 * KB),
    "one long odd token": _query("token=" + "\xe4'\"\\" * 15 * KB),
    "tokens in a Referer": _header("token=%25&", name=b"referer"),
    "tokens in a Referer's query": _header("https://a/?token=%25&", name=b"referer"),
    "elements in a header": _header("<password>"),
    "cookies in a header": _header("cookie: "),
    "pairs in a header": _header("token','"),
    "bearers in a header": _header("Bearer #aA#bB "),
    "URLs in a header": _header("https://a:b@c/?d "),
    "JSON web tokens in a header": _header("eyJ0eXAiOiJ#.eyJ0#.abcd "),
    "keys in a header": _header("-----BEGIN PRIVATE KEY-----"),
    "options in a header": _header("--password "),
    "assignments in a header": _header("token=abcd "),
    "brackets in a header": _header("token=[("),
    "a long Basic one": _header("YWxpY2U6", name=b"authorization"),
    "a long token header": _header("\xe4'\"\\", name=b"x-token"),
    "1,000 secret headers": _headers("x-token-#", 1_000),
    "3,000 headers": _headers("x-other-#", 1_500),
    "form of tokens": _body("token#=abcdefgh#&", FORM),
    "form of anything": _body("a#=b&", FORM),
    "form of percents": _body("a#=%2525252525token%253D&", FORM),
    "JSON of tokens": _body('{"token#":"abcdefgh#","a":', b"application/json"),
    "JSON of names": {
        "headers": [(b"content-type", b"application/json")],
        "body": b"{" + b",".join(b'"k%d":"v%d"' % (n, n) for n in range(3_500)) + b"}",
    },
    "JSON of tokens, whole": {
        "headers": [(b"content-type", b"application/json")],
        "body": b"{" + b",".join(b'"token%d":"value%d"' % (n, n) for n in range(2_000)) + b"}",
    },
    "JSON of combining marks": {
        "headers": [(b"content-type", b"application/json")],
        "body": ('{"' + "\u0315\u0300" * 12_000 + '": 1}').encode(),
    },
    "lines of passwords": _body("password: x\n", b"text/plain"),
    "many quotes": _body("'\"\\", b"text/plain"),
    "multipart names": _body(
        'Content-Disposition: form-data; name="token#"\r\n\r\nabcdefgh\r\n--x\r\n',
        b"multipart/form-data; boundary=x",
    ),
}
CRUMBS: dict[str, str] = {
    "crumbs: 100 of 100 kB, nothing secret": "abcd ",
    "crumbs: 100 of 100 kB of tokens": "token=abcd ",
}


def measure(title: str, setting: Setting, effort: Effort) -> Result:
    """Milliseconds that each request takes, and the longest."""
    # Each request is to make its event: by default the same failure makes a hundred.
    setting = replace(setting, middleware={**setting.middleware, "error_budget": None})
    traced = replace(setting, options={**setting.options, "traces_sample_rate": 1.0})
    failing = fresh.call(time_all, setting, [BARE, OURS, SDK], fails=True)
    sampled = fresh.call(time_all, traced, [BARE, OURS], fails=False)
    both = fresh.call(time_all, traced, [BARE, OURS], fails=True)
    rows = {
        name: {
            "failing": failing[name][OURS],
            "sdk": failing[name][SDK],
            "sampled": sampled[name][OURS],
            "both": both[name][OURS],
        }
        for name in failing
    }
    rows[OURS] = {
        figure: max(row[figure] for name, row in rows.items() if name in REQUESTS)
        for figure in ("failing", "sampled", "both", "sdk")
    }
    rows[OURS]["crumbs"] = max(rows[name]["failing"] for name in CRUMBS)
    note = f"Milliseconds of CPU time, the least of {TRIES}. {OURS}: the longest of all requests."
    return Result(title, COLUMNS, rows, (note,))


def time_all(
    setting: Setting, contenders: list[str], *, fails: bool
) -> dict[str, dict[str, float]]:
    """For each request, what contenders add to the bare app's milliseconds. For a fresh interpreter."""
    start_sentry(setting)
    inner = _failing if fails else _fine
    apps = {name: CONTENDERS[name].wrap(inner, setting) for name in contenders}
    for app in apps.values():  # what is loaded with the first event
        _time(app, {}, setting)
    crumbs = {name: {"crumb": piece} for name, piece in CRUMBS.items()}
    rows: dict[str, dict[str, float]] = {}
    for name, request in {**REQUESTS, **crumbs}.items():
        took = {contender: _time(app, request, setting) for contender, app in apps.items()}
        rows[name] = {contender: took[contender] - took[BARE] for contender in contenders[1:]}
    return rows


def _time(app: App, request: dict[str, Any], setting: Setting) -> float:
    return min(asyncio.run(_serve(app, request, setting)) for _ in range(TRIES))


async def _serve(app: App, request: dict[str, Any], setting: Setting) -> float:
    scope = http_scope(setting)
    scope["headers"] = [*scope["headers"], *request.get("headers", ())]
    scope["query_string"] = request.get("query", b"")
    scope["crumb"] = (request["crumb"] * 100 * KB)[: 100 * KB] if "crumb" in request else None
    messages = [{"type": "http.request", "body": request.get("body", b""), "more_body": False}]

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        pass

    start = time.process_time_ns()
    try:
        await app(scope, receive, send)
    except ValueError:
        pass
    return (time.process_time_ns() - start) / 1e6


async def _fine(scope: Scope, receive: Receive, send: Send) -> None:
    message = await receive()
    headers = dict(scope["headers"])
    if scope["crumb"] is not None:
        for number in range(100):
            sentry_sdk.add_breadcrumb(message=f"{number} {scope['crumb']}")
    if scope["path"] == "/failing":
        raise ValueError(len(headers), message["type"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


async def _failing(scope: Scope, receive: Receive, send: Send) -> None:
    scope["path"] = "/failing"
    await _fine(scope, receive, send)
