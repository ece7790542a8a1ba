"""One error, request, trace or envelope as compact Markdown; `brief` has the rules. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import groupby

from .brief_lines import TIMES, clock, finding_line, joined, log_line, titled, took
from .digest import Data
from .markdown import code, fenced
from .shapes import shape

FOLDED = 3
MAX_SPANS = 40

# One error.


def error_lines(data: Data) -> Iterator[str]:
    """One error."""
    yield f"# {code(titled(data))}\n"
    times = f"{TIMES}{data['count']} since {clock(data['first'])}" if data["count"] > 1 else ""
    yield joined(
        data["level"],
        data["service"] and code(data["service"]),
        data["route"] and code(data["route"]),
        clock(data["when"]),
        times,
        "new since the last reload" if data["new"] else "",
    )
    if not data["exceptions"] and data["message"] not in {"", data["title"]}:
        yield f"\n{fenced(data['message'])}"
    for number, exception in enumerate(data["exceptions"]):
        yield from _exception(exception, first=number == 0)
    if data["more_exceptions"]:
        yield f"\n{data['more_exceptions']} more exceptions"
    yield from _stack(data["stack"])
    yield from _asked(data["request"])
    yield from _statements("SQL before it", data["queries"])
    yield from _statements("Calls before it", data["calls"])
    if data["logs"]:
        yield "\n## Last logs\n"
        yield from map(log_line, data["logs"])
    if data["breadcrumbs"]:
        yield "\n## Before it\n"
        for one in data["breadcrumbs"]:
            yield f"- {clock(one['when'])} {code(one['category'])} {code(one['message'])}"
    request = f", request {data['request_id']}" if data["request_id"] else ""
    yield f"\nevent {data['event_id']}{request}\n{data['url']}{data['path']}"


def _exception(exception: Data, *, first: bool) -> Iterator[str]:
    if not first:
        title = f"{exception['type']}: {exception['value']}".strip(": ")
        yield f"\n{exception['relation'] or 'with'}: {code(title)}"
    elif "\n" in exception["value"]:
        yield f"\n{fenced(exception['value'])}"
    yield from _stack(exception)


def _stack(stack: Data) -> Iterator[str]:
    for number, frame in enumerate(stack["frames"]):
        if number == 0:
            yield ""
        of_library = " (library)" if frame["library"] else ""
        yield f"{code(_place(frame))} in {code(frame['function'])}{of_library}"
        if frame["source"]:
            yield fenced("\n".join(map(_source, frame["source"])))
        if frame["variables"]:
            yield ", ".join(code(f"{name} = {value}") for name, value in frame["variables"])
    left_out = [
        f"{stack[name]} {what}"
        for name, what in (("more_frames", "more"), ("library_frames", "of libraries"))
        if stack[name]
    ]
    if left_out:
        yield f"left out: {', '.join(left_out)}"


def _place(frame: Data) -> str:
    path = frame["file"]
    here = os.path.relpath(path) if path.startswith(os.getcwd() + os.sep) else path  # noqa: PTH109
    return f"{here}:{frame['line'] or '?'}"


def _source(line: Data) -> str:
    number = "" if line["number"] is None else f"{line['number']:4} "
    return f"{'>' if line['current'] else ' '} {number}{line['text']}".rstrip()


def _asked(request: Data | None) -> Iterator[str]:
    if request is None:
        return
    query = f"?{request['query']}" if request["query"] and "?" not in request["url"] else ""
    address = f"{request['method']} {request['url']}{query}".strip()
    yield f"\n## Request\n\n{code(address)}"
    if request["body"]:
        yield fenced(request["body"])
    if request["status"] is not None:
        answered = f"\n{fenced(request['response'])}" if request["response"] else ""
        yield f"answered {request['status']}{answered}"
    command = request["curl"].replace(" \\\n", "")
    yield f"again: {code(command)}"
    if request["curl_lacks"]:
        yield f"(not quite the same: {', '.join(request['curl_lacks'])})"


def _statements(heading: str, rows: list[Data]) -> Iterator[str]:
    if rows:
        yield f"\n## {heading}\n"
    for row in rows:
        times = f"{row['count']}{TIMES} " if row["count"] > 1 else ""
        status = f" {row['status']}" if row["status"] not in {"", "ok"} else ""
        where = f" {code(row['where'])}" if row["where"] else ""
        yield f"- {times}{code(row['statement'])} {took(row['milliseconds'])}{status}{where}"


# One request.


def request_lines(data: Data) -> Iterator[str]:
    """One request."""
    yield f"# {data['status'] or '?'} {code(data['request'])}\n"
    yield joined(
        took(data["milliseconds"]),
        data["service"] and code(data["service"]),
        data["route"] and code(data["route"]),
        clock(data["when"]),
    )
    yield from _wrong(data)
    yield from _asked(data["asked"])
    if data["moments"]:
        yield "\n## What it did\n"
    for one in data["moments"]:
        times = f"{one['count']}{TIMES} " if one["count"] > 1 else ""
        lasted = f" {took(one['milliseconds'])}" if one["kind"] not in {"log", "error"} else ""
        where = f" {code(one['where'])}" if one["where"] else ""
        yield f"- +{took(one['begins'])} {one['kind']} {times}{code(one['text'])}{lasted}{where}"
    if data["more_moments"]:
        yield f"{data['more_moments']} more"
    yield f"\nrequest {data['request_id']}, trace {data['trace_id']}\n{data['url']}{data['path']}"


def _wrong(data: Data) -> Iterator[str]:
    """Errors and findings, if there are any."""
    for heading, rows, told in (
        ("Errors", data["errors"], lambda row: f"- {code(titled(row))} {row['event_id']}"),
        ("Findings", data["findings"], finding_line),
    ):
        yield from ([f"\n## {heading}\n", *map(told, rows)] if rows else ())


# One trace.


def trace_lines(data: Data) -> Iterator[str]:
    """One trace."""
    spans = data["spans"]
    yield f"# {code(spans[0]['name'] if spans else data['trace_id'])}\n"
    services = " and ".join(map(code, data["services"]))
    yield joined(took(data["milliseconds"]), services, clock(data["when"]))
    yield from _wrong(data)
    if spans:
        yield "\n## Spans\n"
        folded = list(_folded(spans))
        yield from folded[:MAX_SPANS]
        hidden = max(0, len(folded) - MAX_SPANS) + data["more_spans"]
        yield f"{hidden} more" if hidden else ""
    if data["logs"]:
        yield "\n## Last logs\n"
        yield from map(log_line, data["logs"])
    yield f"\ntrace {data['trace_id']}\n{data['url']}{data['path']}"


def _folded(spans: list[Data]) -> Iterator[str]:
    """A line for each span; neighbours that are alike are one, from three on."""
    for (depth, op, name), equal in groupby(
        spans, lambda one: (one["depth"], one["op"], shape(one["name"]))
    ):
        run = list(equal)
        lasts = sum(one["lasts"] for one in run)
        indent = "  " * depth
        if len(run) >= FOLDED:
            yield f"{indent}- {len(run)}{TIMES} {op} {code(name)} {took(lasts)} together"
            continue
        for one in run:
            failed = f" **{one['status']}**" if one["errors"] else ""
            yield f"{indent}- {one['op']} {code(one['name'])} {took(one['lasts'])}{failed}"


def again_lines(data: Data) -> Iterator[str]:
    """A request that was sent again."""
    was, now = data["was"], data["now"]
    yield f"{code(data['request'])} was answered {was['status']}, and is now answered {now['status']}"
    if data["lacks"]:
        yield f"(not quite the same: without {', '.join(data['lacks'])})"
    for heading, body in (("Then", was["body"]), ("Now", now["body"])):
        yield from ([f"\n{heading}:", fenced(body)] if body else ())
    if data["request_id"]:
        yield f"\nrequest {data['request_id']}\n{data['url']}{data['path']}"


def envelope_lines(data: Data) -> Iterator[str]:
    """One envelope."""
    yield f"# Envelope {data['number']}\n"
    for item in data["items"]:
        yield f"- {code(item['type'])} {item['size']} bytes"
    yield f"\n{data['url']}{data['path']}"
