"""The routes of the display's server."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from octmargin.bus.rights import Role
from octmargin.display.answers import as_json, problem
from octmargin.display.assets import Asset, Assets
from octmargin.display.door import COOKIE, Door
from octmargin.display.gate import Gate, cookie_name, session_of
from octmargin.display.guard import Guard, security_headers
from octmargin.display.login import login_routes
from octmargin.display.pipe import Pipe
from octmargin.display.sessions import Session, Sessions
from octmargin.display.settings import DisplaySection
from octmargin.display.site import Site

_NO_CACHE = {"cache-control": "no-cache"}
"""To be kept, and asked for anew each time: the etag tells whether it is still the same."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes serve."""

    site: Site
    assets: Assets
    pipe: Pipe | None
    """None where nothing is said of a console: then there is no page of one either."""
    sessions: Sessions | None
    """None where nobody logs in."""
    of_results: list[BaseRoute]
    """Routes to what only the daemon has, or the way there."""
    door: Door | None = None
    """Of a server of one person."""


def make_app(parts: Parts, section: DisplaySection) -> Starlette:
    """The whole of it as an ASGI application."""
    nobody = Session(section.user, "", Role(section.role), 0.0, 0.0, 0.0)
    cookie = COOKIE if parts.door is not None else cookie_name(has_tls=section.has_tls)
    middleware = [
        Middleware(
            Guard,
            headers=security_headers(section.broker_websocket),
            local_names_only=parts.sessions is None,
        ),
        Middleware(Gate, sessions=parts.door or parts.sessions, nobody=nobody, cookie=cookie),
    ]

    async def index(request: Request) -> Response:
        return _file(request, parts.assets.index)

    async def static(request: Request) -> Response:
        asset = parts.assets.get(request.path_params["path"])
        if asset is None:
            return problem(404, "there is no such file")
        return _file(request, asset)

    async def site(request: Request) -> Response:
        session = session_of(request)
        if session is None:
            return as_json(parts.site)
        return as_json(msgspec.structs.replace(parts.site, user=session.user, role=session.role.value))

    routes: list[BaseRoute] = [
        Route("/static/{path:path}", static, methods=["GET"]),
        Route("/api/site", site, methods=["GET"]),
        *parts.of_results,
    ]
    if parts.pipe is not None:
        routes.append(Route("/", index, methods=["GET"]))
    if parts.pipe is not None and not section.broker_websocket:
        routes.append(WebSocketRoute("/mqtt", parts.pipe.serve))
    if parts.door is not None:
        routes.append(parts.door.route())
    if parts.sessions is not None:
        routes += login_routes(parts.sessions, has_tls=section.has_tls)
    app = Starlette(routes=routes, middleware=middleware, exception_handlers={HTTPException: _refused})
    # A path is one of ours or is not; nobody is sent elsewhere.
    app.router.redirect_slashes = False
    return app


def _file(request: Request, asset: Asset) -> Response:
    headers = {**_NO_CACHE, "etag": asset.etag}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, headers=headers, media_type=asset.media_type)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    return problem(error.status_code, error.detail, error.headers)
