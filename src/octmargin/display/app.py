"""The routes of the display's server."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from octmargin.display.answers import as_json, problem
from octmargin.display.assets import Asset, Assets
from octmargin.display.guard import Guard, security_headers
from octmargin.display.pipe import Pipe
from octmargin.display.site import Site

_NO_CACHE = {"cache-control": "no-cache"}
"""To be kept, and asked for anew each time: the etag tells whether it is still the same."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes serve."""

    site: Site
    assets: Assets
    pipe: Pipe


def make_app(parts: Parts) -> Starlette:
    """The whole of it as an ASGI application."""
    login_required = parts.site.login == "required"
    guard = Middleware(
        Guard, headers=security_headers(parts.site.broker_websocket), local_names_only=not login_required
    )

    async def index(request: Request) -> Response:
        return _file(request, parts.assets.index)

    async def static(request: Request) -> Response:
        asset = parts.assets.get(request.path_params["path"])
        if asset is None:
            return problem(404, "there is no such file")
        return _file(request, asset)

    async def site(_: Request) -> Response:
        return as_json(parts.site)

    return Starlette(
        routes=[
            Route("/", index, methods=["GET"]),
            Route("/static/{path:path}", static, methods=["GET"]),
            Route("/api/site", site, methods=["GET"]),
            WebSocketRoute("/mqtt", parts.pipe.serve),
        ],
        middleware=[guard],
        exception_handlers={HTTPException: _refused},
    )


def _file(request: Request, asset: Asset) -> Response:
    headers = {**_NO_CACHE, "etag": asset.etag}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, headers=headers, media_type=asset.media_type)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    return problem(error.status_code, error.detail, error.headers)
