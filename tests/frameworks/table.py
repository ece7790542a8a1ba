"""Judges what the matrix's runs have found, and writes docs/frameworks.md.

    python -m tests.frameworks.table <directory of results>          judges
    python -m tests.frameworks.table <directory of results> --write  and writes the page

Each cell is to have exactly one event (none where the client left), with the right exception, request, route and
`handled`. What falls short is named in `SHORT`, with the reason; anything else that does fails the run, and so does
a reason that holds no longer.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from .drive import CELLS

KNOWN = Path(__file__).parents[1] / "invariants" / "known.json"
PAGE = Path(__file__).parents[2] / "docs" / "frameworks.md"

TITLES = {
    "raise": "raises",
    "sync": "in a `def`",
    "mounted": "mounted",
    "websocket": "websocket",
    "startup": "start-up",
    "background": "background",
    "stream": "mid-stream",
    "handled": "own handler",
    "left": "client left",
}

# What handlers are called that are not called as their cell.
HANDLERS = {"raising", "connected", "Consumer", "on_get", "on_websocket"}

# (framework, cell): why. A cell that is short only beside the SDK's integrations has "auto" as a third.
SHORT: dict[tuple[str, ...], str] = {}


def verdict(cell: str, found: Any) -> str | None:
    """What is wrong with a cell; None if nothing is."""
    events = found["events"]
    if len(events) != (cell != "left"):
        return f"{len(events)} events"
    wrong = [_wrong(cell, event, found) for event in events]
    return next((what for what in wrong if what is not None), None)


def _wrong(cell: str, event: Any, found: Any) -> str | None:
    if not any(told.endswith(f": {cell}") for told in event["exceptions"]):
        return "another exception"
    if cell == "startup":  # belongs to no request
        return None
    if event["handled"] is found["raised"]:
        return "handled is wrong"
    if not (event["url"] or "").endswith(path_of(cell)):
        return "no request"
    return _misnamed(cell, event, found["template"])


def _misnamed(cell: str, event: Any, template: str) -> str | None:
    if event["transaction"] != template:
        return "not named by its route"
    # What asyncio reports of background work is known to be the request's later than the handler is looked for here.
    if cell != "background" and not names_handler(event["handler"], cell):
        return "not named by its handler"
    return None


def path_of(cell: str) -> str:
    return "/sub/42/raise" if cell == "mounted" else f"/{cell}"


def names_handler(handler: Any, cell: str) -> bool:
    """Whether it is the function, or the class, that the framework's application has for the cell."""
    module, _, name = (handler or "").rpartition(".")
    return module.startswith("tests.frameworks.apps.") and name in {cell, *HANDLERS}


def reason(framework: str, cell: str, auto: bool) -> str | None:
    return SHORT.get((framework, cell)) or (SHORT.get((framework, cell, "auto")) if auto else None)


def judge(results: dict[str, dict[bool, Any]]) -> list[str]:
    """What is not as it should be, or not as it is said to be."""
    wrong: list[str] = []
    for framework, ways in results.items():
        for auto, result in ways.items():
            for cell, found in result["cells"].items():
                said, seen = reason(framework, cell, auto), verdict(cell, found)
                where = f"{framework}, {cell}, {'auto' if auto else 'plain'}"
                if seen and not said:
                    wrong.append(f"{where}: {seen}: {found['events']}")
                if said and not seen:
                    wrong.append(f"{where}: is well, though it is said not to be")
    return wrong


def page(results: dict[str, dict[bool, Any]]) -> str:
    lines = [
        "# Frameworks",
        "",
        *INTRODUCTION,
        "",
        "| | " + " | ".join(TITLES[cell] for cell in CELLS) + " |",
        "|---|" + "---|" * len(CELLS),
    ]
    notes: list[str] = []
    for framework, ways in results.items():
        cells = [_shown(framework, cell, ways, notes) for cell in CELLS]
        lines.append(f"| {framework} {ways[True]['version']} | " + " | ".join(cells) + " |")
    shown = [f"- **{chr(97 + index)}** {note}" for index, note in enumerate(notes)]
    lines += ["", *shown, *([""] if shown else [])]
    lines += [*_known(), *ABOUT]
    return "\n".join(lines)


def _known() -> list[str]:
    """Return the section that tells which invariants are known to be broken, and where."""
    entries = json.loads(KNOWN.read_text())
    if not entries:
        return []
    lines = ["## What does not hold everywhere", ""]
    for entry in entries:
        where = "; ".join(f"{name}: {', '.join(values)}" for name, values in entry["where"].items())
        lines.append(f"- {entry['reason']} ({where})")
    return [*lines, ""]


def _shown(framework: str, cell: str, ways: dict[bool, Any], notes: list[str]) -> str:
    if cell not in ways[True]["cells"]:
        return "-"
    figures = []
    for auto in (True, False):
        said = reason(framework, cell, auto)
        count = str(len(ways[auto]["cells"][cell]["events"]))
        if said:
            if said not in notes:
                notes.append(said)
            count += f" ({chr(97 + notes.index(said))})"
        figures.append(count)
    return figures[0] if figures[0] == figures[1] else " / ".join(figures)


INTRODUCTION = [
    "Written by `scripts/matrix --write` from a run of each framework in an environment of its own, on CPython 3.13: an",
    "endpoint raises, and so on. **1** is one event, with the right exception, request, route and `handled`; **0**, where the",
    "client has left, none. With the SDK's integrations for what is installed enabled by the SDK itself, and without them; two",
    "figures where these differ. A letter leads to what falls short; `-`: the framework has no such thing (Channels' HTTP is",
    "Django's; Emmett's websockets take its own server).",
]

ABOUT = [
    "## What else is run",
    "",
    "`scripts/invariants` has requests overlap, in combinations of a framework, the middlewares' order, the SDK's version,",
    "integrations and tracing; of these frameworks, and of Django REST framework, Django Ninja, Strawberry, Ariadne, an MCP server,",
    "Socket.IO around Starlette, and Flask behind a2wsgi; with OpenTelemetry, too, and the SDK's `OTLPIntegration`.",
    "",
    "## Servers",
    "",
    "The same run has uvicorn (h11 and httptools, asyncio and uvloop), Hypercorn, Granian and Daphne serve the Starlette",
    "application in processes of their own, and receives what is reported over HTTP: an error, one that the app handles, one",
    "mid-stream, one in a websocket, one right before a SIGTERM, and a start-up that fails make one event each, with its request;",
    "a client that leaves makes none. Daphne opens no lifespan.",
    "",
    "## What makes an event",
    "",
    "- An exception that leaves the app: `handled` is false.",
    "- A response with a status of `failed_request_status_codes` (500 to 599), or a websocket closed for a failure (1011, 1013,",
    "  1014, or the status itself, as 4500): the exception behind it, `handled` true. Where a framework closes with 1000 whatever",
    "  has happened, only an exception that it swallowed makes one.",
    "- A lifespan that fails, raised or sent; flushed before the server learns of it.",
    "- A start-up or shutdown hook whose exception the framework swallows, to go on as if nothing were: `handled` true.",
    "- A failure within an answer of 200, as GraphQL, JSON-RPC and MCP have it: the exception that the resolver or tool raised,",
    "  `handled` true (CPython 3.12; before, what the library logs, or the SDK's integration for it reports).",
    "- What a framework or the SDK's integration for it reports first is the one event; ours is not made then. `handled` tells",
    "  whether the app returned, whatever that integration says.",
    "",
    "`contexts.asgi.phase` says when: `before response`, `during response` (mid-stream), `after response` (background work).",
    "",
    "Finding an exception that the framework swallowed, and that is not being handled when the response starts, takes CPython 3.12",
    "or newer and one free tool id of `sys.monitoring` (3 or 4). Without them the SDK's own integrations, and its logging",
    "integration, still see what they see; said once in the log of `sentry_asgi`, at DEBUG.",
    "",
]


def main(directory: Path, write: bool) -> int:
    results: dict[str, dict[bool, Any]] = {}
    for path in sorted(directory.glob("*.json")):
        framework, _, way = path.stem.partition("-")
        results.setdefault(framework, {})[way == "auto"] = json.loads(path.read_text())
    wrong = judge(results)
    for line in wrong:
        print(line)
    if write:
        PAGE.write_text(page(results))
    cells = sum(len(way["cells"]) for ways in results.values() for way in ways.values())
    print(f"{len(results)} frameworks, {cells} cells, {len(wrong)} not as they should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), "--write" in sys.argv))
