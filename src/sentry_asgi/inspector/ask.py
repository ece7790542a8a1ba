"""Asking an inspector that runs: from the shell, and for assistants that talk over stdio.

The rules:

- What is asked are the inspector's `.json` pages; Markdown is made here, of the same data.
- An exit status says what grep's does: 0 there is something, 1 there is nothing, 2 it could not be asked.
- What an event contains moves no cursor and colours nothing: control characters are replaced.
"""

from __future__ import annotations

import json
import re
import urllib.error
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, urlencode

from .brief import markdown_of
from .digest import Data
from .local import fetch

_PATIENCE = 70.0
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

# Where a question stands that names one thing.
_ONE = {"show": "/show/"}


class AskError(Exception):
    """The inspector could not be asked, or did not understand; the text says which."""


def ask(url: str, question: str, params: Mapping[str, Any]) -> Data:
    """The answer of the inspector at `url`, as data; of kind `nothing` where there is none.

    Raises AskError.
    """
    given = {name: value for name, value in params.items() if value not in {None, ""}}
    path = _ONE.get(question, f"/{question}")
    name = quote(str(given.pop("id", "")), safe="")
    address = f"{url}{path}{name}.json?{urlencode(given)}"
    if question == "again":
        address = f"{url}/requests/{name}/again.json"
    try:
        data = b"" if question == "again" else None
        status, answer = _asked(address, data, _PATIENCE + float(given.get("timeout") or 0))
    except (OSError, HTTPException, ValueError) as error:
        raise AskError(
            f"No inspector answers at {url}. `sentry-asgi dev` or `sentry-asgi inspect` starts one."
        ) from error
    if status == HTTPStatus.OK or (status == HTTPStatus.NOT_FOUND and _is_answer(answer)):
        return answer
    raise AskError(str(answer.get("detail") or f"{url} answers {status}."))


def _asked(address: str, data: bytes | None, patience: float) -> tuple[int, Data]:
    try:
        with fetch(address, data, timeout=patience) as response:
            return response.status, _read(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _read(error.read())


def _is_answer(answer: Data) -> bool:
    return answer.get("kind") == "nothing"


def _read(body: bytes) -> Data:
    answer = json.loads(body)
    return answer if isinstance(answer, dict) else {}


def printed(answer: Data, url: str, *, as_json: bool) -> str:
    """An answer for a terminal or a pipe."""
    if as_json:
        return json.dumps(answer)
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", markdown_of(answer, url).rstrip())


def found_something(answer: Data) -> bool:
    """Whether there is what was asked for."""
    rows = answer.get("routes" if answer["kind"] == "figures" else answer["kind"])
    return bool(rows) if isinstance(rows, list) else answer["kind"] != "nothing"
