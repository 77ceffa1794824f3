"""Logging in and out."""

from __future__ import annotations

from typing import Annotated

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from octmargin.display.answers import as_json, problem
from octmargin.display.bodies import BodyRefusedError, read_body
from octmargin.display.gate import address_of, cookie_name, token_of
from octmargin.display.sessions import Refused, Sessions

_MOST_BYTES = 4096


class _Login(msgspec.Struct, forbid_unknown_fields=True):
    user: Annotated[str, msgspec.Meta(max_length=64)]
    password: Annotated[str, msgspec.Meta(max_length=256)]


def login_routes(sessions: Sessions, *, has_tls: bool) -> list[BaseRoute]:
    """`POST /api/login` with user and password, and `POST /api/logout`."""
    name = cookie_name(has_tls=has_tls)

    async def log_in(request: Request) -> Response:
        # Only a script of this page can send this: a form of another one cannot.
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return problem(415, "send user and password as application/json")
        try:
            wanted = msgspec.json.decode(await read_body(request, _MOST_BYTES), type=_Login)
        except BodyRefusedError as error:
            return problem(error.status, str(error))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return problem(400, 'send {"user": "...", "password": "..."}')
        token = await sessions.log_in(wanted.user, wanted.password, address_of(request.scope))
        if isinstance(token, Refused):
            wait = {} if token.retry_after_s is None else {"retry-after": str(token.retry_after_s)}
            return problem(token.status, token.reason, wait)
        answer = as_json({"user": wanted.user})
        answer.set_cookie(name, token, httponly=True, samesite="strict", secure=has_tls, path="/")
        return answer

    async def log_out(request: Request) -> Response:
        sessions.log_out(token_of(Headers(scope=request.scope), name))
        answer = as_json({})
        answer.delete_cookie(name, httponly=True, samesite="strict", secure=has_tls, path="/")
        return answer

    return [
        Route("/api/login", log_in, methods=["POST"]),
        Route("/api/logout", log_out, methods=["POST"]),
    ]
