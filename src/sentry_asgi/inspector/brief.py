"""Answers as compact Markdown, for assistants and terminals. Pure.

The rules:

- One function for each kind of answer, over the same data that is given as JSON.
- The failing line is marked with `>`; of libraries' frames there is the number; what is equal is folded.
- Whatever an event contains stands in a line of code or in a block that it cannot end.
- What a reader may want next is named by what to ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .brief_lines import TIMES, clock, finding_line, joined, log_line, titled, took
from .brief_one import again_lines, envelope_lines, error_lines, request_lines, trace_lines
from .digest import Data
from .markdown import code


def markdown_of(data: Data, url: str = "") -> str:
    """An answer as Markdown; `url` is the inspector's, for links."""
    lines = _MAKERS[data["kind"]]({**data, "url": url})
    return "\n".join(lines).strip() + "\n"


def _index(data: Data) -> Iterator[str]:
    for told in data["lists"]:
        yield from (f"## {told['kind'].capitalize()}\n", markdown_of(told, data["url"]))


def _errors(data: Data) -> Iterator[str]:
    rows = data["errors"]
    yield f"{_count(rows, 'error', data)}, the newest first\n" if rows else "No errors."
    for row in rows:
        times = f" {TIMES}{row['count']}" if row["count"] > 1 else ""
        since = f", first {clock(row['first'])}" if row["count"] > 1 else ""
        yield joined(
            f"- {code(titled(row))}{times}",
            code(row["place"]),
            row["service"] and code(row["service"]),
            row["route"] and code(row["route"]),
            f"{clock(row['when'])}{since}",
            row["event_id"],
        )


def _requests(data: Data) -> Iterator[str]:
    rows = data["requests"]
    yield _count(rows, "request", data) if rows else "No requests."
    for row in rows:
        yield _request_line(row)


def _request_line(row: Data) -> str:
    wrong = ", ".join(f"{one['rule']} {code(one['subject'])}" for one in row["findings"])
    return joined(
        f"- {row['status'] or '?'} {code(row['request'])}",
        took(row["milliseconds"]),
        row["service"] and code(row["service"]),
        clock(row["when"]),
        row["request_id"],
        wrong,
    )


def _logs(data: Data) -> Iterator[str]:
    rows = data["logs"]
    yield f"{_count(rows, 'log', data)}, the newest first\n" if rows else "No logs."
    yield from map(log_line, rows)


def _findings(data: Data) -> Iterator[str]:
    rows = data["findings"]
    yield (
        _count(rows, "finding", data) if rows else "Nothing stands out"
    ) + f" in the {data['looked_at']} newest requests."
    for row in rows:
        requests = row["requests"]
        several = f"in {requests} requests" if requests > 1 else "in"
        request = row["request"]
        yield f"{finding_line(row)} {several} {code(request['request'])} {request['request_id']}"


def _figures(data: Data) -> Iterator[str]:
    if not data["routes"]:
        yield "No requests."
        return
    yield "## Routes, those that take most time first\n"
    for row in data["routes"]:
        before = row["before"]
        then = f"before the reload {_times(before)}" if before else ""
        yield joined(f"- {code(row['name'])}", code(row["service"]), _times(row["times"]), then)
    if data["queries"]:
        yield "\n## SQL, what takes most time first\n"
    for row in data["queries"]:
        yield joined(
            f"- {row['count']}{TIMES} {code(row['shape'])}",
            f"{took(row['total'])} together, slowest {took(row['slowest'])}",
            row["place"] and code(row["place"]),
            row["request_id"] and f"request {row['request_id']}",
        )
    yield f"\n{data['url']}{data['path']}"


def _times(times: Data) -> str:
    failed = f", {times['failed']} failed" if times["failed"] else ""
    queries = f", {times['queries']:.1f} queries each" if times["queries"] else ""
    p50, p95, slowest = (took(times[name]) for name in ("p50", "p95", "slowest"))
    return f"{times['count']} requests{failed}, p50 {p50}, p95 {p95}, max {slowest}{queries}"


def _nothing(data: Data) -> Iterator[str]:
    yield data["detail"]


_MAKERS: dict[str, Callable[[Data], Iterator[str]]] = {
    "index": _index,
    "errors": _errors,
    "requests": _requests,
    "logs": _logs,
    "findings": _findings,
    "figures": _figures,
    "request": request_lines,
    "error": error_lines,
    "trace": trace_lines,
    "envelope": envelope_lines,
    "again": again_lines,
    "nothing": _nothing,
}


def _count(rows: list[Data], name: str, data: Data) -> str:
    several = "" if len(rows) == 1 else "s"
    return f"{len(rows)}{'+' if data['more'] else ''} {name}{several}"
