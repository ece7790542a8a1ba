"""An answer to a program's question, as a response: Markdown or JSON."""

from __future__ import annotations

import json
from http import HTTPStatus

from starlette.responses import PlainTextResponse, Response

from .brief import markdown_of
from .digest import Data


def response_of(answer: Data, ending: str, url: str) -> Response:
    """An answer as Markdown or JSON; 404 where there is none."""
    status = HTTPStatus.NOT_FOUND if answer["kind"] == "nothing" else HTTPStatus.OK
    if ending == "json":
        text, kind = json.dumps(answer), "application/json"
    else:
        text, kind = markdown_of(answer, url), "text/markdown"
    headers = {"cache-control": "no-store"}
    return PlainTextResponse(text, status, headers, kind)
