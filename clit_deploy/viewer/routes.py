"""The viewer over HTTP: its page, and the answers of its service."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clit_deploy.errors import (
    BusyError,
    CancelledError,
    ClitDeployError,
    ClosedError,
    CoordinateError,
    MemoryBudgetError,
    MissingFileError,
    OptionError,
    UploadError,
    error_message,
)
from clit_deploy.viewer.render_queue import View
from clit_deploy.viewer.saved_window import SavedWindow
from clit_deploy.viewer.service import Pending, Service, TileKey

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    Endpoint = Callable[[Request], Awaitable[Response]]

log = logging.getLogger(__name__)

PAGE = resources.files("clit_deploy.viewer") / "page"
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
STATUS = {
    CoordinateError: 404,
    MissingFileError: 410,
    UploadError: 413,
    BusyError: 503,
    ClosedError: 503,
    MemoryBudgetError: 507,
}
"""HTTP status of errors; 422 for all others."""
MOST_JSON = 10_000
"""Bytes of a request."""
NO_STORE = {"Cache-Control": "no-store"}


def application(service: Service) -> Starlette:
    """The application behind the guard."""
    endpoints: list[tuple[str, str, Callable[[Service, Request], Awaitable[Response]]]] = [
        ("GET", "/", _page),
        ("GET", "/page/{name:str}", _page),
        ("GET", "/state", _state),
        ("GET", "/tiles/{image:int}/{layer:str}/{level:int}/{col:int}/{row:int}.png", _tile),
        ("GET", "/attention/{image:int}/{plan:int}", _attention),
        ("POST", "/save", _save),
        ("POST", "/images", _upload),
    ]
    return Starlette(
        routes=[
            Route(path, _with_sentences(functools.partial(endpoint, service)), methods=[method])
            for method, path, endpoint in endpoints
        ]
    )


def _with_sentences(endpoint: Endpoint) -> Endpoint:
    """The endpoint with errors as JSON: `{"error": "a sentence"}`."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except (CancelledError, ClientDisconnect):
            return Response(status_code=204)  # a page that has moved on; browsers log errors
        except ClitDeployError as error:
            codes = (code for kind, code in STATUS.items() if isinstance(error, kind))
            return _failure(error_message(error), next(codes, 422))
        except OSError as error:
            return _failure(f"{error.strerror or error}.", 410)
        except Exception as error:
            log.warning("The viewer could not answer: unexpected %s.", type(error).__name__)
            log.debug("traceback of the error above", exc_info=error)
            return _failure(f"Unexpected {type(error).__name__}.", 500)

    return answer


def _failure(sentence: str, status: int) -> Response:
    return JSONResponse({"error": sentence}, status, headers=NO_STORE)


async def _page(_: Service, request: Request) -> Response:
    name = request.path_params.get("name", "index.html")
    found = {file.name: file for file in PAGE.iterdir()}
    if name not in found:
        return _failure("There is no such page.", 404)
    kind = TYPES[name.rpartition(".")[2]]
    return Response(
        found[name].read_bytes(), media_type=kind, headers={"Cache-Control": "no-cache"}
    )


async def _state(service: Service, _: Request) -> Response:
    return JSONResponse(service.state(), headers=NO_STORE)


async def _tile(service: Service, request: Request) -> Response:
    key = TileKey(**request.path_params)
    content = service.finished(key)
    tag = service.tag(key)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if content is None:
        view = View.parse(request.headers.get("x-view"))
        content = await _unless_gone(request, service.draw(key, view))
    return Response(content, media_type="image/png", headers=headers)


async def _attention(service: Service, request: Request) -> Response:
    try:
        x, y, scale = (float(request.query_params[name]) for name in ("x", "y", "scale"))
    except (KeyError, ValueError):
        return _failure("The numbers x, y and scale are needed.", 422)
    image, plan = request.path_params["image"], request.path_params["plan"]
    found = await _unless_gone(request, service.attention(image, plan, (x, y), scale))
    return JSONResponse(found, headers=NO_STORE)


async def _save(service: Service, request: Request) -> Response:
    content = await _json(request)
    window = SavedWindow.parse(content)
    try:
        image, plan = int(content["image"]), int(content["plan"])
    except (KeyError, TypeError, ValueError) as error:
        raise OptionError("The image or the plan is missing.") from error
    made = await _unless_gone(request, service.save(image, plan, window))
    name = quote(window.name(service.gallery.known(image).name))
    return Response(made, media_type="application/octet-stream", headers={"X-Name": name})


async def _upload(service: Service, request: Request) -> Response:
    number = await service.uploads.receive(
        unquote(request.headers.get("x-name", "")), request.stream()
    )
    return JSONResponse({"id": number})


async def _json(request: Request) -> Any:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_JSON:
            raise OptionError(f"The request has more than {MOST_JSON:,} bytes.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise OptionError("The request is not JSON.") from error


async def _unless_gone(request: Request, pending: Pending) -> Any:
    """Wait for an answer; drop it if the client disconnects before.

    Raises:
        CancelledError: it did.
    """
    answer = asyncio.wrap_future(pending.future)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((answer, leaving), return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise CancelledError("The client has disconnected.")
    finally:
        leaving.cancel()
        answer.cancel()
        pending.drop()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
