"""The routes by which a request is sent again: as it was, or as a form has it. In the inspector.

The rules:

- What is posted is a form's fields: `method`, `target`, `headers` (lines), `body`. One that is missing is as it was.
- What cannot be sent stays in its form, with the reason.
- After it is sent, the page of the new request is shown, with what was answered then beside what is now.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from .digest import Data
from .pages import Pages
from .questions import QuestionError
from .resend import Apps
from .responses import response_of
from .uploads import Uploads
from .values import as_id

_UNKNOWN = "It was sent, and the app does not tell which request it was."
_GONE = "There is no such request of which `dev` told."

Ask = Callable[[str, Mapping[str, Any]], Awaitable[Data]]


def sending_routes(ask: Ask, apps: Apps, pages: Pages, uploads: Uploads) -> list[BaseRoute]:
    """Routes by which apps say where they are, and requests are sent to them again."""
    sending = _Sending(ask, apps, pages, uploads)
    return [
        Route("/requests/{id}/edit", sending.edit, methods=["GET"]),
        Route("/requests/{id}/again", sending.again, methods=["POST"]),
        Route("/requests/{id}/again.md", sending.markdown, methods=["POST"]),
        Route("/requests/{id}/again.json", sending.json, methods=["POST"]),
        Route("/api/local/app", sending.register, methods=["POST"]),
    ]


class _Sending:
    def __init__(self, ask: Ask, apps: Apps, pages: Pages, uploads: Uploads) -> None:
        self._ask = ask
        self._apps = apps
        self._pages = pages
        self._uploads = uploads

    async def register(self, request: Request) -> Response:
        async with self._uploads.body(request) as body:
            self._apps.register(body)
        return JSONResponse({})

    async def edit(self, request: Request) -> Response:
        return await to_thread.run_sync(self._form, request.path_params["id"])

    async def again(self, request: Request) -> Response:
        name = request.path_params["id"]
        async with self._uploads.body(request) as form:
            try:
                answer = await self._ask("again", {"id": name, "form": form})
            except QuestionError as error:
                if not form:
                    raise HTTPException(HTTPStatus.BAD_REQUEST, str(error)) from error
                return await to_thread.run_sync(self._form, name, form, str(error))
        if not answer.get("path"):
            raise HTTPException(HTTPStatus.NOT_FOUND, str(answer.get("detail") or _UNKNOWN))
        await to_thread.run_sync(self._apps.wait_for_page, answer["request_id"])
        lacks = "&lacks=yes" if answer["lacks"] else ""
        address = f"{answer['path']}?was={as_id(name)}{lacks}"
        return RedirectResponse(address, HTTPStatus.SEE_OTHER)

    def _form(self, name: str, given: bytes = b"", why: str = "") -> Response:
        found = self._apps.form(name, given)
        if found is None:
            return HTMLResponse(self._pages.missing(_GONE), HTTPStatus.NOT_FOUND)
        status = HTTPStatus.BAD_REQUEST if why else HTTPStatus.OK
        return HTMLResponse(self._pages.edit(*found, why), status)

    async def markdown(self, request: Request) -> Response:
        return await self._plain(request, "md")

    async def json(self, request: Request) -> Response:
        return await self._plain(request, "json")

    async def _plain(self, request: Request, ending: str) -> Response:
        async with self._uploads.body(request) as form:
            try:
                params = {"id": request.path_params["id"], "form": form}
                answer = await self._ask("again", params)
            except QuestionError as error:
                return JSONResponse({"detail": str(error)}, HTTPStatus.BAD_REQUEST)
        return response_of(answer, ending, str(request.base_url).rstrip("/"))
